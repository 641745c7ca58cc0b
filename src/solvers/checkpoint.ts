/**
 * Checkpoints of a run: one `.safetensors` file with every tensor of the state and, in its metadata, the composed config,
 * the signature, the history, the git commit and the host's part of the state. Loading one executes nothing.
 */
import { copyFileSync, linkSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { writeError } from "../checkpoint/atomic_file.ts";
import {
  openSafetensors,
  type TensorSource,
  type WeightsReader,
  writeSafetensors,
} from "../checkpoint/safetensors.ts";
import { type ComposedConfig, configFromYaml } from "../config/index.ts";
import { UserError } from "../errors.ts";
import { CHECKPOINT_FILE, newestCheckpoint, numberedCheckpoints } from "../xp/folder.ts";
import type { Run } from "./run.ts";

/** What a solver puts into a checkpoint and takes out of it. */
export interface CheckpointContent {
  /** To write: the tensors, by name. */
  tensors: TensorSource[];
  /** Counters, random states: anything that JSON can hold. */
  host: Record<string, unknown>;
  /** To read: the file's tensors. */
  reader?: WeightsReader;
}

export interface CheckpointConfig {
  save_last: boolean;
  save_every: number | null;
  keep_last: number | null;
  keep_every_states: unknown;
}

export class Checkpoint {
  private readonly run: Run;
  private readonly config: CheckpointConfig;
  private readonly path: string;

  constructor(run: Run, config: CheckpointConfig) {
    if (config.keep_every_states !== null)
      throw new UserError("checkpoint.keep_every_states is not built yet: leave it null");
    this.run = run;
    this.config = config;
    this.path = join(run.folder, CHECKPOINT_FILE);
  }

  /** Replaces the checkpoint in one instant; when the disk refuses, the previous one is still there. */
  async write(content: CheckpointContent): Promise<void> {
    await this.writeTo(this.path, content);
  }

  /**
   * After an epoch: the checkpoint, with `save_last`; and every `save_every` epochs one under a name of its own, of which the
   * newest `keep_last` are kept.
   */
  async writeEpoch(content: CheckpointContent, epoch: number): Promise<void> {
    const { save_every: every, keep_last: keep, save_last: last } = this.config;
    if (last) await this.write(content);
    if (!every || epoch % every !== 0) return;
    const name = join(this.run.folder, `checkpoint_${epoch}.safetensors`);
    if (last) linkOrCopy(this.path, name);
    else await this.writeTo(name, content);
    if (!keep) return;
    for (const old of numberedCheckpoints(this.run.folder).slice(keep)) rmSync(old, { force: true });
  }

  private async writeTo(path: string, { tensors, host }: CheckpointContent): Promise<void> {
    await writeSafetensors(path, tensors, {
      format: "musicgen-tfjs",
      "xp.cfg": this.run.configYaml,
      "xp.sig": this.run.signature,
      "xp.argv": JSON.stringify(this.run.argv),
      git_commit: this.run.gitCommit ?? "unknown",
      history: JSON.stringify((host.solver as { history: unknown }).history),
      state: JSON.stringify(host),
    });
  }

  /** The checkpoint of this run, or null. Throws a UserError when it is damaged. */
  read(): (Required<CheckpointContent> & { close: () => void }) | null {
    const path = newestCheckpoint(this.run.folder);
    if (!path) return null;
    const reader = openSafetensors(path);
    const { state } = reader.metadata;
    if (state === undefined) throw new UserError(`${path} holds weights, but not the state of a run`);
    try {
      return { tensors: [], host: JSON.parse(state), reader, close: () => reader.close() };
    } catch (error) {
      reader.close();
      throw new UserError(
        `${path}: the state in it is not JSON (${(error as Error).message}); use another checkpoint`,
      );
    }
  }
}

/** A checkpoint read for its weights: to generate from, or to start another run from. */
export interface TrainedModel {
  /** The config as it was composed, interpolations kept. */
  config: ComposedConfig;
  metadata: Readonly<Record<string, string>>;
  signature: string;
  /** Tensors of the best state, by the model's own names. */
  weights: {
    path: string;
    names: string[];
    shape(name: string): readonly number[];
    readFloat32(name: string): Float32Array;
  };
  epochs: number;
  close(): void;
}

/** Opens a checkpoint for its config and its best weights. */
export function openTrained(path: string): TrainedModel {
  const reader = openSafetensors(path);
  const yaml = reader.metadata["xp.cfg"];
  if (yaml === undefined)
    throw new UserError(`${path} has no config inside: it is not a checkpoint of this program`);
  const prefix = weightsPrefix(reader);
  const names = reader.names
    .filter((name) => name.startsWith(prefix))
    .map((name) => name.slice(prefix.length));
  return {
    config: configFromYaml(yaml, `${path} (xp.cfg)`),
    metadata: reader.metadata,
    signature: reader.metadata["xp.sig"] ?? "unknown",
    weights: {
      path,
      names,
      shape: (name) => reader.shape(prefix + name),
      readFloat32: (name) => reader.readFloat32(prefix + name),
    },
    epochs: (JSON.parse(reader.metadata.history ?? "[]") as unknown[]).length,
    close: () => reader.close(),
  };
}

/** The best state; before the first validation, the averaged weights; without averaging, the trained ones. */
function weightsPrefix(reader: WeightsReader): string {
  const prefixes = ["best_state.model.", "ema.model.", "model."];
  return prefixes.find((prefix) => reader.names.some((name) => name.startsWith(prefix)))!;
}

/** A second name for the file where the file system allows it, else a copy; atomic either way. */
function linkOrCopy(from: string, to: string): void {
  const temporary = `${to}.tmp`;
  rmSync(temporary, { force: true });
  try {
    linkSync(from, temporary);
  } catch {
    copyWhole(from, temporary);
  }
  renameSync(temporary, to);
}

function copyWhole(from: string, to: string): void {
  try {
    copyFileSync(from, to);
  } catch (error) {
    rmSync(to, { force: true });
    throw writeError(to, statSync(from).size, error as NodeJS.ErrnoException);
  }
}
