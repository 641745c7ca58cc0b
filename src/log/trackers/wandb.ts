/**
 * Weights & Biases over its HTTP API: the run is made (or found again) by a GraphQL mutation, metrics are lines appended to the
 * run's history file, samples are files beside it. Key and server come from WANDB_API_KEY and WANDB_BASE_URL or ~/.netrc.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { UserError } from "../../errors.ts";
import { RequestQueue } from "./requests.ts";
import type { Metrics, RunDescription, TrackedSample, Tracker } from "./tracker.ts";

export interface WandbConfig {
  project: string | null;
  name: string | null;
  group: string | null;
  with_media_logging?: boolean;
}

const UPSERT = `mutation UpsertBucket($id: String, $entity: String, $project: String, $displayName: String, $groupName: String, $config: JSONString) {
  upsertBucket(input: {name: $id, entityName: $entity, modelName: $project, displayName: $displayName, groupName: $groupName, config: $config}) {
    bucket { id name historyLineCount project { name entity { name } } }
  }
}`;

const CREATE_FILES = `mutation CreateRunFiles($entity: String!, $project: String!, $run: String!, $files: [String!]!) {
  createRunFiles(input: {entityName: $entity, projectName: $project, runName: $run, files: $files}) {
    files { name uploadUrl }
  }
}`;

interface Bucket {
  historyLineCount: number | null;
  project: { name: string; entity: { name: string } };
}

export class WandbTracker implements Tracker {
  private readonly queue: RequestQueue;
  private readonly server: string;
  private readonly headers: Record<string, string>;
  private readonly run: RunDescription;
  /** Known once the run has been made. */
  private place: { entity: string; project: string } | null = null;
  private lines = 0;
  private summary: Record<string, unknown> = {};

  /** @throws UserError without a key */
  constructor(config: WandbConfig, run: RunDescription, options: { delays?: number[] } = {}) {
    this.server = (process.env.WANDB_BASE_URL ?? "https://api.wandb.ai").replace(/\/+$/, "");
    const key = process.env.WANDB_API_KEY ?? netrcPassword(new URL(this.server).hostname);
    if (!key) {
      throw new UserError(
        "logging.log_wandb=true needs a key: set WANDB_API_KEY, or put it into ~/.netrc as `wandb login` does",
      );
    }
    this.headers = { authorization: `Basic ${Buffer.from(`api:${key}`).toString("base64")}` };
    this.run = run;
    this.queue = new RequestQueue({ service: "wandb", log: run.log, ...options });
    this.queue.add(() => this.open(config));
  }

  metrics(stage: string, metrics: Metrics, epoch: number): void {
    const values = Object.entries(metrics).map(([name, value]) => [`${stage}/${name}`, value]);
    this.append({ epoch, ...Object.fromEntries(values) });
  }

  sample({ name, caption, wav }: TrackedSample, epoch: number): void {
    const sha256 = createHash("sha256").update(wav).digest("hex");
    const path = `media/audio/generate/${name}_${epoch}_${sha256.slice(0, 20)}.wav`;
    this.queue.add(async () => {
      const { entity, project } = this.place!;
      const variables = { entity, project, run: this.run.signature, files: [path] };
      const { createRunFiles } = await this.graphql<{
        createRunFiles: { files: { name: string; uploadUrl: string }[] };
      }>(CREATE_FILES, variables);
      for (const { uploadUrl } of createRunFiles.files) {
        await this.queue.send(new URL(uploadUrl, this.server).href, {
          method: "PUT",
          body: new Blob([wav as Uint8Array<ArrayBuffer>]),
        });
      }
    });
    this.append({
      epoch,
      [`generate/${name}`]: { _type: "audio-file", path, sha256, size: wav.length, caption },
    });
  }

  async finish(state: "finished" | "interrupted" | "failed"): Promise<void> {
    this.queue.add(() => this.stream({ complete: true, exitcode: state === "finished" ? 0 : 1 }));
    // a scheduler that interrupts a run soon kills it
    await this.queue.drain(state === "interrupted" ? 10 : 60);
  }

  private async open({ project, name, group }: WandbConfig): Promise<void> {
    const { signature, config, log } = this.run;
    const { upsertBucket } = await this.graphql<{ upsertBucket: { bucket: Bucket } }>(UPSERT, {
      id: signature,
      entity: process.env.WANDB_ENTITY ?? null,
      project: project ?? process.env.WANDB_PROJECT ?? "audiocraft",
      displayName: name ?? signature,
      groupName: group,
      config: JSON.stringify(
        Object.fromEntries(Object.entries(config).map(([key, value]) => [key, { value }])),
      ),
    });
    const { historyLineCount, project: found } = upsertBucket.bucket;
    this.place = { entity: found.entity.name, project: found.name };
    this.lines = historyLineCount ?? 0;
    log.info(`wandb: run ${this.place.entity}/${this.place.project}/${signature}`);
  }

  /** A line of the history. */
  private append(values: Record<string, unknown>): void {
    this.queue.add(async () => {
      const line = { _step: this.lines, _timestamp: Date.now() / 1000, ...values };
      this.summary = { ...this.summary, ...line };
      await this.stream({
        files: {
          "wandb-history.jsonl": { offset: this.lines, content: [JSON.stringify(line)] },
          "wandb-summary.json": { offset: 0, content: [JSON.stringify(this.summary)] },
        },
      });
      this.lines++;
    });
  }

  private async stream(body: unknown): Promise<void> {
    const { entity, project } = this.place!;
    const url = `${this.server}/files/${entity}/${project}/${this.run.signature}/file_stream`;
    await this.queue.json(url, body, this.headers);
  }

  private async graphql<T>(query: string, variables: Record<string, unknown>): Promise<T> {
    const answer = await this.queue.json<{ data: T; errors?: { message: string }[] }>(
      `${this.server}/graphql`,
      { query, variables },
      this.headers,
    );
    if (answer.errors?.length) throw new Error(answer.errors.map(({ message }) => message).join("; "));
    return answer.data;
  }
}

/** The password of a machine in ~/.netrc. */
function netrcPassword(machine: string): string | undefined {
  let text: string;
  try {
    text = readFileSync(process.env.NETRC ?? join(homedir(), ".netrc"), "utf8");
  } catch {
    return undefined;
  }
  const words = text.split(/\s+/);
  const start = words.findIndex((word, i) => word === "machine" && words[i + 1] === machine);
  if (start < 0) return undefined;
  const password = words.indexOf("password", start);
  return password < 0 ? undefined : words[password + 1];
}
