/**
 * A run: epochs of stages (train, valid, evaluate, generate), with history, best state, checkpoints and signals
 * (AudioCraft's StandardSolver). What a step computes is the subclass's.
 */
import { join } from "node:path";
import type { RunConfig } from "../config/index.ts";
import { DivergedError, UserError } from "../errors.ts";
import { averager } from "../log/averager.ts";
import type { Formatter } from "../log/formatter.ts";
import type { Logger } from "../log/logger.ts";
import { durationText, logSummary, summaryLine } from "../log/progress.ts";
import { Trackers } from "../log/trackers/build.ts";
import { tracesSoFar, tracesText } from "../runtime/index.ts";
import { Checkpoint, type CheckpointContent } from "./checkpoint.ts";
import { SignalWatch } from "./interruption.ts";
import type { Run } from "./run.ts";
import { type EpochMetrics, MeanMetrics, type MetricSums, type Metrics } from "./stage_metrics.ts";
import { tellEarlierSamples } from "./tracked_samples.ts";
import { type ProgressName, Watchdog } from "./watchdog.ts";

export type Stage = "train" | "valid" | "evaluate" | "generate";

/** Where in an epoch the run is: how much of the train stage is done, and with which metrics so far. */
interface Position {
  updates: number;
  seconds: number;
  mean: MetricSums;
}

export abstract class Solver<C extends RunConfig = RunConfig> {
  protected readonly cfg: C;
  protected readonly run: Run;
  protected readonly log: Logger;
  protected history: EpochMetrics[] = [];
  protected abstract readonly formatter: Formatter;
  /** The validation metric whose lowest value marks the best state; null: there is none. */
  protected abstract readonly bestMetric: string | null;
  private pending: EpochMetrics = {};
  private position: Position | null = null;
  private readonly checkpoint: Checkpoint;
  private readonly signals: SignalWatch;
  private watchdog: Watchdog | null = null;
  /** How many traces the log speaks of. */
  private toldTraces = 0;
  /** Whether this process has made an update. */
  private hasStarted = false;
  protected trackers: Trackers | null = null;

  constructor(cfg: C, run: Run) {
    this.cfg = cfg;
    this.run = run;
    this.log = run.log;
    this.checkpoint = new Checkpoint(run, cfg.checkpoint, () => this.watchdog?.progress());
    this.signals = new SignalWatch((message) => this.log.warn(message));
  }

  /** Trains from update `start` of the epoch to its end; `onStep` gets the metrics of each update. */
  protected abstract trainEpoch(
    epoch: number,
    start: number,
    onStep: (metrics: Metrics) => Promise<void>,
  ): Promise<void>;
  protected abstract validEpoch(epoch: number, check: () => void): Promise<Metrics>;
  protected abstract evaluateEpoch(epoch: number, check: () => void): Promise<Metrics>;
  protected abstract generateEpoch(epoch: number, check: () => void): Promise<Metrics>;
  /** Runs `f` with the averaged weights in the place of the trained ones. */
  protected abstract withAverage<T>(f: () => Promise<T>): Promise<T>;
  /** Runs `f` with the best weights so far. */
  protected abstract withBest<T>(f: () => Promise<T>): Promise<T>;
  /** Takes the weights in place as the best ones. */
  protected abstract keepBest(): void;
  /** Everything of the subclass that a checkpoint holds. */
  protected abstract saveState(): CheckpointContent;
  protected abstract loadState(content: Required<CheckpointContent>): void;
  /** Weights only, from another run, to start from. */
  protected abstract loadWeights(source: string): Promise<void>;
  /** The command that uses what the run with this signature has trained. */
  nextCommand(_signature: string): string {
    return 'npm run generate -- "a description"';
  }

  /** Text about the model for `show=true`. */
  abstract show(): string;
  abstract close(): Promise<void>;

  /** Whether this job runs the epoch; the others are left to other jobs. */
  protected isMine(_epoch: number): boolean {
    return true;
  }

  get epoch(): number {
    return this.history.length + 1;
  }

  /** A sign of progress for the hang detector: `name` has just been finished. */
  protected beat(name: ProgressName): void {
    this.watchdog?.beat(name);
  }

  /** Trains until `optim.epochs`, from where the last run of this experiment stopped. */
  async train(): Promise<void> {
    const { epochs } = this.cfg.optim;
    await this.supervised(async () => {
      await this.restore();
      if (this.epoch > epochs) {
        this.log.info(`all ${epochs} epochs are done; samples and checkpoint are in ${this.run.folder}`);
        return;
      }
      await this.openTrackers();
      while (this.epoch <= epochs) {
        const began = performance.now();
        if (this.isMine(this.epoch)) await this.runEpoch(this.epoch);
        await this.commit();
        const seconds = (performance.now() - began) / 1000;
        const left = epochs - this.history.length;
        if (left > 0) {
          const done = `epoch ${this.history.length} of ${epochs} done in ${durationText(seconds)}`;
          this.log.info(`${done}; about ${durationText(seconds * left)} to go`);
        }
      }
      await this.checkpoint.finish();
    });
  }

  /** Runs one stage alone, with the best weights (`execute_only`). */
  async runStage(stage: Stage): Promise<void> {
    const stages = { valid: this.validEpoch, evaluate: this.evaluateEpoch, generate: this.generateEpoch };
    if (!(stage in stages)) throw new UserError(`execute_only=${stage}: use valid, evaluate or generate`);
    await this.supervised(async () => {
      if (!(await this.restore()))
        throw new UserError(
          `execute_only=${stage} needs a trained run: ${this.run.folder} has no checkpoint`,
        );
      await this.openTrackers();
      const epoch = this.history.length;
      const run = stages[stage as keyof typeof stages];
      const metrics = await this.withBest(() => run.call(this, epoch, () => this.check()));
      if (Object.keys(metrics).length === 0) {
        this.log.warn(`execute_only=${stage}: the config asks for nothing (${stage}.*, see npm run config)`);
        return;
      }
      this.trackers?.metrics(stage, metrics, epoch);
      logSummary(this.log, stage, epoch, metrics, this.formatter);
    });
  }

  /** Runs `f` under the hang detector. However it ends, what is on its way to the disk and to trackers arrives. */
  private async supervised(f: () => Promise<void>): Promise<void> {
    const { use, timeout } = this.cfg.deadlock;
    if (use) {
      this.watchdog = new Watchdog({ seconds: timeout, file: join(this.run.folder, "deadlock.txt") });
    }
    try {
      await f();
      await this.trackers?.finish("finished");
    } catch (error) {
      await this.trackers?.finish((error as Error).name === "Interrupted" ? "interrupted" : "failed");
      throw error;
    } finally {
      this.signals.close();
      await this.checkpoint.close();
      await this.watchdog?.close();
    }
  }

  /** Between the steps of a stage: a sign of progress, and the end of the run when a signal has asked for it. */
  private check(): void {
    this.signals.check();
    this.watchdog?.progress();
  }

  /** Waits for `f`, which may download for long and has time limits of its own. */
  protected async whileLoading<T>(f: () => Promise<T>): Promise<T> {
    const timer = setInterval(() => this.watchdog?.progress(), 1000);
    try {
      return await f();
    } finally {
      clearInterval(timer);
    }
  }

  private async runEpoch(epoch: number): Promise<void> {
    const check = () => this.check();
    if (!this.pending.train) await this.trainStage(epoch);
    try {
      await this.withAverage(async () => {
        await this.stage("valid", () => this.validEpoch(epoch, check));
        if (this.isBest()) this.keepBest();
      });
      await this.withBest(async () => {
        if (this.due(this.cfg.evaluate.every, epoch))
          await this.stage("evaluate", () => this.evaluateEpoch(epoch, check));
        if (this.due(this.cfg.generate.every, epoch))
          await this.stage("generate", () => this.generateEpoch(epoch, check));
      });
    } catch (error) {
      if (error instanceof DivergedError) throw error;
      // The trained part of the epoch is kept: the same command goes on with the stages after it.
      this.pending = { train: this.pending.train };
      await this.save();
      throw error;
    }
  }

  private async trainStage(epoch: number): Promise<void> {
    const mean = new MeanMetrics();
    const from = this.position ?? { updates: 0, seconds: 0, mean: mean.state() };
    mean.restore(from.mean);
    const began = performance.now();
    let updates = from.updates;
    const seconds = () => from.seconds + (performance.now() - began) / 1000;
    let last = performance.now();
    const stepTime = averager(0.9);
    await this.trainEpoch(epoch, from.updates, async (metrics) => {
      mean.add(metrics);
      updates++;
      this.tellStart();
      this.position = { updates, seconds: seconds(), mean: mean.state() };
      this.beat("step");
      const { step } = stepTime({ step: performance.now() - last });
      await this.saveInBackground(updates, step);
      last = performance.now();
      try {
        this.signals.check();
      } catch (interrupted) {
        if (await this.save())
          this.log.info(
            `checkpoint after update ${updates} of epoch ${epoch}: the same command goes on from here`,
          );
        throw interrupted;
      }
    });
    this.position = null;
    this.finishStage("train", { ...mean.mean(), duration: seconds() });
  }

  /** Once: how long it took from the start of the process to the end of its first update. */
  private tellStart(): void {
    if (this.hasStarted) return;
    this.hasStarted = true;
    this.log.info(`first update after ${(performance.now() / 1000).toFixed(1)} s`);
  }

  /** Goes on writing a checkpoint within a twentieth of a step's time, and begins one when it is due. */
  private async saveInBackground(updates: number, stepMilliseconds: number): Promise<void> {
    await this.checkpoint.advance(stepMilliseconds / 20);
    if (this.checkpoint.isDue(updates)) await this.checkpoint.begin(() => this.content());
  }

  private async openTrackers(): Promise<void> {
    const { folder, signature, log } = this.run;
    const config = this.cfg as unknown as Record<string, unknown>;
    const told = [...this.history, this.pending];
    this.trackers = new Trackers(this.cfg as never, { folder, signature, log, config }, told);
    const generated = this.pending.generate ? this.epoch : this.history.length;
    await tellEarlierSamples(this.trackers, join(folder, this.cfg.generate.path), generated);
  }

  private async stage(name: Stage, f: () => Promise<Metrics>): Promise<void> {
    const began = performance.now();
    const metrics = await f();
    if (Object.keys(metrics).length === 0) return; // nothing was asked for
    this.finishStage(name, { ...metrics, duration: (performance.now() - began) / 1000 });
  }

  private finishStage(name: Stage, metrics: Metrics): void {
    this.beat(name === "train" ? "step" : name);
    const traces = tracesSoFar().slice(this.toldTraces);
    this.toldTraces += traces.length;
    if (traces.length > 0) this.log.debug(`${name}: ${tracesText(traces)}`);
    this.pending[name] = metrics;
    this.trackers?.metrics(name, metrics, this.epoch);
    logSummary(this.log, name, this.epoch, metrics, this.formatter);
  }

  /** A stage without `every` runs in the last epoch only. */
  private due(every: number | null, epoch: number): boolean {
    return epoch === this.cfg.optim.epochs || (every !== null && every > 0 && epoch % every === 0);
  }

  /** Lower is better, and a tie counts as new best. */
  private isBest(): boolean {
    const { bestMetric } = this;
    if (bestMetric === null) return false;
    const value = this.pending.valid?.[bestMetric];
    const previous = this.history.flatMap((epoch) => epoch.valid?.[bestMetric] ?? []);
    return value !== undefined && previous.every((other) => value <= other);
  }

  private async commit(): Promise<void> {
    this.history.push(this.pending);
    this.pending = {};
    await this.checkpoint.beginEpoch(() => this.content(), this.history.length);
    this.run.writeHistory(this.history);
  }

  /**
   * Writes a checkpoint before the run ends early, whatever the config says about those after epochs. Returns whether it could:
   * what ends the run matters more.
   */
  private async save(): Promise<boolean> {
    try {
      await this.checkpoint.write(() => this.content());
      return true;
    } catch (error) {
      this.log.warn(`what was trained since the last checkpoint is not saved: ${(error as Error).message}`);
      return false;
    }
  }

  private content(): CheckpointContent {
    const state = this.saveState();
    const solver = { history: this.history, pending: this.pending, position: this.position };
    return { ...state, host: { ...state.host, solver } };
  }

  /** Continues this experiment, or starts from `continue_from`. Returns whether there was a checkpoint of its own. */
  private async restore(): Promise<boolean> {
    const content = this.checkpoint.read();
    if (content === null) {
      if (this.cfg.continue_from !== null) await this.loadWeights(this.cfg.continue_from);
      return false;
    }
    const solver = content.host.solver as {
      history: EpochMetrics[];
      pending: EpochMetrics;
      position: Position | null;
    };
    this.history = solver.history;
    this.pending = solver.pending;
    this.position = solver.position;
    this.loadState(content);
    content.close();
    for (const [index, epoch] of this.history.entries()) {
      for (const [stage, metrics] of Object.entries(epoch)) {
        this.log.info(summaryLine(stage, index + 1, metrics, this.formatter));
      }
    }
    const where = this.position
      ? `update ${this.position.updates} of epoch ${this.epoch}`
      : `epoch ${this.epoch}`;
    this.log.info(`resumed ${this.run.signature} at ${where}`);
    return true;
  }
}
