/** MLflow over its REST API (2.0). Server and credentials come from MLFLOW_TRACKING_URI, …_TOKEN or …_USERNAME and …_PASSWORD. */
import { UserError } from "../../errors.ts";
import { Refused, RequestQueue } from "./requests.ts";
import {
  flatConfig,
  type Metrics,
  type RunDescription,
  type TrackedSample,
  type Tracker,
} from "./tracker.ts";

export interface MlflowConfig {
  tracking_uri: string | null;
  experiment: string;
  name: string | null;
}

/** What one request may hold, by the API's limits. */
const PARAMETERS = 100;
const TEXT = 500;

export class MlflowTracker implements Tracker {
  private readonly queue: RequestQueue;
  private readonly server: string;
  private readonly headers: Record<string, string>;
  private readonly run: RunDescription;
  private runId = "";
  private artifacts = "";

  /** @throws UserError without a server */
  constructor(config: MlflowConfig, run: RunDescription, options: { delays?: number[] } = {}) {
    const server = config.tracking_uri ?? process.env.MLFLOW_TRACKING_URI;
    if (!server || !/^https?:\/\//.test(server)) {
      throw new UserError(
        "logging.log_mlflow=true needs a server: set mlflow.tracking_uri or MLFLOW_TRACKING_URI to its http address",
      );
    }
    this.server = server.replace(/\/+$/, "");
    this.headers = credentials();
    this.run = run;
    this.queue = new RequestQueue({ service: "mlflow", log: run.log, ...options });
    this.queue.add(() => this.open(config));
  }

  metrics(stage: string, metrics: Metrics, epoch: number): void {
    const timestamp = Date.now();
    const rows = Object.entries(metrics)
      .filter(([, value]) => Number.isFinite(value))
      .map(([name, value]) => ({ key: `${stage}/${name}`, value, timestamp, step: epoch }));
    this.queue.add(async () => {
      await this.post("runs/log-batch", { run_id: this.runId, metrics: rows });
    });
  }

  /** As artifacts, where the server takes them in (mlflow-artifacts). */
  sample({ name, wav, picture }: TrackedSample, epoch: number): void {
    for (const [file, body] of [
      [`${name}.wav`, wav],
      [`${name}.png`, picture],
    ] as const) {
      this.queue.add(async () => {
        if (!this.artifacts) return;
        const url = `${this.server}/api/2.0/mlflow-artifacts/artifacts/${this.artifacts}/samples/${epoch}/${file}`;
        await this.queue.send(url, {
          method: "PUT",
          headers: this.headers,
          body: new Blob([body as Uint8Array<ArrayBuffer>]),
        });
      });
    }
  }

  async finish(state: "finished" | "interrupted" | "failed"): Promise<void> {
    const status = { finished: "FINISHED", interrupted: "KILLED", failed: "FAILED" }[state];
    this.queue.add(async () => {
      await this.post("runs/update", { run_id: this.runId, status, end_time: Date.now() });
    });
    // a scheduler that interrupts a run soon kills it
    await this.queue.drain(state === "interrupted" ? 10 : 60);
  }

  /** Finds the experiment and this signature's run in it, or makes them. */
  private async open({ experiment, name }: MlflowConfig): Promise<void> {
    const { signature, config, log } = this.run;
    const id = await this.experimentId(experiment);
    const { runs } = await this.post<{ runs?: { info: RunInfo }[] }>("runs/search", {
      experiment_ids: [id],
      filter: `tags.signature = '${signature}'`,
      max_results: 1,
    });
    const info = runs?.[0]?.info ?? (await this.create(id, name ?? signature, signature));
    this.runId = info.run_id;
    this.artifacts = info.artifact_uri?.match(/^mlflow-artifacts:\/+(.*)$/)?.[1] ?? "";
    await this.post("runs/update", { run_id: this.runId, status: "RUNNING" });
    const params = Object.entries(flatConfig(config)).map(([key, value]) => ({
      key,
      value: String(value).slice(0, TEXT),
    }));
    if (!runs?.length) {
      for (let i = 0; i < params.length; i += PARAMETERS)
        await this.post("runs/log-batch", { run_id: this.runId, params: params.slice(i, i + PARAMETERS) });
    }
    log.info(`mlflow: run ${this.runId} of experiment ${experiment} at ${this.server}`);
  }

  private async experimentId(name: string): Promise<string> {
    try {
      const path = `experiments/get-by-name?experiment_name=${encodeURIComponent(name)}`;
      const { experiment } = await this.get<{ experiment: { experiment_id: string } }>(path);
      return experiment.experiment_id;
    } catch (error) {
      if (!(error instanceof Refused && error.message.includes("404"))) throw error;
      return (await this.post<{ experiment_id: string }>("experiments/create", { name })).experiment_id;
    }
  }

  private async create(experimentId: string, name: string, signature: string): Promise<RunInfo> {
    const { run } = await this.post<{ run: { info: RunInfo } }>("runs/create", {
      experiment_id: experimentId,
      run_name: name,
      start_time: Date.now(),
      tags: [{ key: "signature", value: signature }],
    });
    return run.info;
  }

  private post<T>(path: string, body: unknown): Promise<T> {
    return this.queue.json<T>(`${this.server}/api/2.0/mlflow/${path}`, body, this.headers);
  }

  private get<T>(path: string): Promise<T> {
    return this.queue.json<T>(`${this.server}/api/2.0/mlflow/${path}`, undefined, this.headers, "GET");
  }
}

interface RunInfo {
  run_id: string;
  artifact_uri?: string;
}

function credentials(): Record<string, string> {
  const {
    MLFLOW_TRACKING_TOKEN: token,
    MLFLOW_TRACKING_USERNAME: user,
    MLFLOW_TRACKING_PASSWORD: password,
  } = process.env;
  if (token) return { authorization: `Bearer ${token}` };
  if (user) return { authorization: `Basic ${Buffer.from(`${user}:${password ?? ""}`).toString("base64")}` };
  return {};
}
