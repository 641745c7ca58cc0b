/**
 * Checkpoints of a run: one `.safetensors` file with every tensor of the state and, in its metadata, the composed config,
 * the signature, the history, the git commit and the host's part of the state. Loading one executes nothing.
 */
import { copyFileSync, existsSync, linkSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { writeError } from "../checkpoint/atomic_file.ts";
import { type BackgroundWrite, BackgroundWriter } from "../checkpoint/background_writer.ts";
import { bytesOf } from "../checkpoint/dtypes.ts";
import { openSafetensors, type TensorSource, type WeightsReader } from "../checkpoint/safetensors.ts";
import { type ComposedConfig, configFromYaml } from "../config/index.ts";
import { UserError } from "../errors.ts";
import { CHECKPOINT_FILE, newestCheckpoint, numberedCheckpoints } from "../xp/folder.ts";
import { availableMemory } from "./memory.ts";
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
  /** The states that numbered checkpoints hold (best_state, model, optimizer, ema, …); null or none: all. */
  keep_every_states: string[] | null;
  every_updates?: number | null;
}

/** A file that waits for its turn to be written, and what is to be done then. */
interface Pending {
  path: string;
  tensors: TensorSource[];
  /** Made at once: what it is made from changes with the next update. */
  metadata: Record<string, string>;
  after: () => void;
}

export class Checkpoint {
  private readonly run: Run;
  private readonly config: CheckpointConfig;
  private readonly path: string;
  private readonly writer: BackgroundWriter;
  private readonly queue: Pending[] = [];
  private current: { write: BackgroundWrite; after: () => void } | null = null;
  /** Why the file that was written last is not there. */
  private failure: UserError | null = null;
  private hasWarned = false;
  private readonly onProgress: () => void;

  /** `onProgress` is called whenever a part has been written. */
  constructor(run: Run, config: CheckpointConfig, onProgress: () => void = () => {}) {
    this.run = run;
    this.config = config;
    this.onProgress = onProgress;
    this.writer = new BackgroundWriter(onProgress);
    this.path = join(run.folder, CHECKPOINT_FILE);
  }

  /** Whether the update that is number `updates` of its epoch is followed by a checkpoint. */
  isDue(updates: number): boolean {
    const every = this.config.every_updates ?? 0;
    return every > 0 && updates % every === 0 && this.current === null;
  }

  /**
   * Replaces the checkpoint in one instant.
   * @throws UserError when the disk refuses; the previous one is still there
   */
  async write(content: () => CheckpointContent): Promise<void> {
    await this.begin(content);
    await this.finish();
  }

  /**
   * The same, in the background: the content is as it is now, however long the writing takes. See `advance`. That the disk
   * refuses is reported, and thrown only by `finish`: training is worth more.
   */
  async begin(content: () => CheckpointContent): Promise<void> {
    await this.drain();
    await this.enqueue(this.path, content());
  }

  /**
   * After an epoch, in the background: the checkpoint, with `save_last`; and every `save_every` epochs one under a name of
   * its own, of which the newest `keep_last` are kept. `content` may be called twice.
   */
  async beginEpoch(content: () => CheckpointContent, epoch: number): Promise<void> {
    await this.drain();
    const { save_every: every, save_last: last, keep_every_states: states } = this.config;
    const numbered = every !== null && every > 0 && epoch % every === 0;
    const name = join(this.run.folder, `checkpoint_${epoch}.safetensors`);
    const isWhole = states === null || states.length === 0;
    const linked = last && numbered && isWhole;
    if (numbered && !linked) {
      const kept = isWhole ? content() : onlyStates(content(), states);
      await this.enqueue(name, kept, () => this.prune());
    }
    if (!last) return;
    const link = () => {
      linkOrCopy(this.path, name);
      this.prune();
    };
    await this.enqueue(this.path, content(), linked ? link : undefined);
  }

  /** Goes on with what is being written, for about `milliseconds`. */
  async advance(milliseconds: number): Promise<void> {
    if (this.current?.write.isDone) await this.complete();
    this.startNext();
    await this.current?.write.feed(milliseconds);
  }

  /** Waits until nothing is left to write. @throws UserError when the disk refused the newest file */
  async finish(): Promise<void> {
    await this.drain();
    if (this.failure) throw this.failure;
  }

  /** What has been begun is written, also when the run has failed. */
  async close(): Promise<void> {
    try {
      await this.drain();
    } finally {
      await this.writer.close();
    }
  }

  private async drain(): Promise<void> {
    while (this.current !== null || this.queue.length > 0) {
      this.startNext();
      await this.complete();
    }
  }

  /** Waits for the file that is being written. */
  private async complete(): Promise<void> {
    const { write, after } = this.current!;
    this.current = null;
    this.failure = null;
    try {
      await write.finish();
      after();
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      this.failure = error;
      this.run.log.warn(`${error.message}\nThe checkpoint from before is still there.`);
    }
    this.onProgress();
  }

  private async enqueue(path: string, content: CheckpointContent, after = () => {}): Promise<void> {
    const { tensors } = content;
    this.queue.push({ path, tensors, metadata: this.metadata(content), after });
    // Until they are written, tensors that training changes exist twice. Where there is no room, training waits.
    const bytes = tensors.reduce((sum, tensor) => sum + byteLength(tensor), 0);
    if (bytes * 1.2 < availableMemory()) return this.startNext();
    if (!this.hasWarned) this.run.log.info("checkpoints: training waits for them, to save memory");
    this.hasWarned = true;
    await this.drain();
  }

  private startNext(): void {
    if (this.current !== null) return;
    const pending = this.queue.shift();
    if (!pending) return;
    const { path, tensors, metadata, after } = pending;
    this.current = { write: this.writer.begin(path, tensors, metadata), after };
  }

  private prune(): void {
    const { keep_last: keep } = this.config;
    if (!keep) return;
    for (const old of numberedCheckpoints(this.run.folder).slice(keep)) rmSync(old, { force: true });
  }

  private metadata({ host }: CheckpointContent): Record<string, string> {
    const { history } = (host.solver ?? {}) as { history?: unknown };
    return {
      format: "musicgen-tfjs",
      "xp.cfg": this.run.configYaml,
      "xp.sig": this.run.signature,
      "xp.argv": JSON.stringify(this.run.argv),
      git_commit: this.run.gitCommit ?? "unknown",
      history: JSON.stringify(history ?? []),
      ...(host.partial ? {} : { state: JSON.stringify(host) }),
    };
  }

  /** The checkpoint of this run, or null. Throws a UserError when it is damaged. */
  read(): (Required<CheckpointContent> & { close: () => void }) | null {
    const newest = newestCheckpoint(this.run.folder);
    if (!newest) return null;
    // A numbered one of some states only is newer when the process was killed before it had written the other one.
    const path = !holdsState(newest) && existsSync(this.path) ? this.path : newest;
    if (!holdsState(path)) {
      throw new UserError(
        `${path} holds weights, but not the state of a run: it can be generated from, or given to continue_from`,
      );
    }
    const reader = openSafetensors(path);
    try {
      const host = JSON.parse(reader.metadata.state);
      return { tensors: [], host, reader, close: () => reader.close() };
    } catch (error) {
      reader.close();
      throw new UserError(
        `${path}: the state in it is not JSON (${(error as Error).message}); use another checkpoint`,
      );
    }
  }
}

/** Whether a run can go on from the checkpoint. @throws UserError when it is damaged */
function holdsState(path: string): boolean {
  const reader = openSafetensors(path);
  const whole = reader.metadata.state !== undefined;
  reader.close();
  return whole;
}

/** `checkpoint.keep_every_states`: what is left of a checkpoint, to be loaded for its weights but not to be resumed. */
function onlyStates(content: CheckpointContent, states: string[]): CheckpointContent {
  const isKept = ({ name }: TensorSource) => states.some((state) => name.startsWith(`${state}.`));
  for (const tensor of content.tensors) if (!isKept(tensor)) tensor.release?.();
  const { solver } = content.host;
  return { tensors: content.tensors.filter(isKept), host: { partial: true, solver } };
}

function byteLength({ dtype, shape }: TensorSource): number {
  return bytesOf(dtype) * shape.reduce((a, b) => a * b, 1);
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
  const found = prefixes.find((prefix) => reader.names.some((name) => name.startsWith(prefix)));
  if (found) return found;
  throw new UserError(
    `${reader.path} holds no weights of a model (checkpoint.keep_every_states left them out)`,
  );
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
