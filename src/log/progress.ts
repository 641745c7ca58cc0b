/** How a stage goes on: AudioCraft's progress and summary lines in the log, and a live line on a terminal. */
import { Formatter, type Metrics } from "./formatter.ts";
import { type LiveLine, terminal } from "./live_line.ts";
import type { Logger } from "./logger.ts";

export interface ProgressOptions {
  /** train, valid, evaluate, generate */
  stage: string;
  epoch: number;
  /** Number of iterations of the stage. */
  total: number;
  /** How many of them were done before: a stage that is gone on with. */
  start?: number;
  /** Number of progress lines in the log (`logging.log_updates`); 0 for none. */
  updates?: number;
  formatter?: Formatter;
  /** The metric that the live line shows; without it, the first one. */
  headline?: string;
  /** Seconds of audio that one iteration works through, for the live line. */
  audioSecondsPerIteration?: number;
  /** Bytes in use, for the live line. */
  memory?: () => number;
  liveLine?: LiveLine;
  /** Milliseconds. */
  clock?: () => number;
}

/** Seconds between two states of the live line. */
const REFRESH = 0.1;

/**
 * Runs through the batches of a stage and reports. In the loop, `update` gets the metrics of each iteration:
 *
 *     for await (const batch of progress.over(loader)) { …; if (progress.update(metrics)) restart the average }
 */
export class StageProgress {
  private readonly logger: Logger;
  private readonly title: string;
  private readonly options: Required<Omit<ProgressOptions, "stage" | "epoch">>;
  private index = -1;
  private begin = 0;
  private willLog = false;
  private metrics: Record<string, string> = {};
  private lastIteration = 0;
  private secondsPerIteration: number | null = null;
  private lastRefresh = Number.NEGATIVE_INFINITY;

  constructor(logger: Logger, { stage, epoch, ...options }: ProgressOptions) {
    this.logger = logger;
    this.title = `${capitalize(stage)} | Epoch ${epoch}`;
    this.options = {
      updates: 5,
      start: 0,
      formatter: new Formatter(),
      headline: "ce",
      audioSecondsPerIteration: 0,
      memory: () => process.memoryUsage.rss(),
      liveLine: terminal,
      clock: () => performance.now(),
      ...options,
    };
  }

  /**
   * Hands the batches on. A line is logged each `total / updates` iterations, after the iteration, so that it has its
   * metrics.
   */
  async *over<T>(batches: Iterable<T> | AsyncIterable<T>): AsyncGenerator<T> {
    const { updates, total, clock, liveLine } = this.options;
    const logEvery = updates > 0 ? Math.max(1, Math.floor(total / updates)) : Number.POSITIVE_INFINITY;
    this.begin = clock();
    this.lastIteration = this.begin;
    this.index = -1;
    this.metrics = {};
    try {
      for await (const batch of batches) {
        this.index += 1;
        this.willLog = this.index >= 1 && (this.options.start + this.index) % logEvery === 0;
        yield batch;
        this.measureIteration();
        if (this.willLog) this.logger.info(this.progressLine());
        this.willLog = false;
      }
    } finally {
      liveLine.clear();
    }
  }

  /** Takes the metrics of this iteration. @returns whether they go to the log, so that a new average can begin */
  update(metrics: Metrics): boolean {
    this.metrics = this.options.formatter.format(metrics);
    const now = this.options.clock() / 1000;
    if (now - this.lastRefresh >= REFRESH) {
      this.lastRefresh = now;
      this.options.liveLine.update(this.liveText());
    }
    return this.willLog;
  }

  private progressLine(): string {
    const speed = (1 + this.index) / ((this.options.clock() - this.begin) / 1000);
    const metrics = Object.entries(this.metrics).map(([name, value]) => `${name} ${value}`);
    const position = `${this.options.start + this.index}/${this.options.total}`;
    return [this.title, position, speedText(speed), ...metrics].join(" | ");
  }

  private liveText(): string {
    const { total, start, headline, audioSecondsPerIteration, memory } = this.options;
    const done = start + this.index + 1;
    const name = headline in this.metrics ? headline : Object.keys(this.metrics)[0];
    const parts = [`${this.title} ${bar(done / total)} ${done}/${total}`];
    if (name !== undefined) parts.push(`${name} ${this.metrics[name]}`);
    if (this.secondsPerIteration !== null) {
      parts.push(speedText(1 / this.secondsPerIteration));
      parts.push(`ETA ${durationText(this.secondsPerIteration * (total - done))}`);
      const audio = audioSecondsPerIteration / this.secondsPerIteration;
      if (audio > 0) parts.push(`${audio.toFixed(1)} s audio/s`);
    }
    parts.push(`${(memory() / 1e9).toFixed(1)} GB`);
    return parts.join(" | ");
  }

  /** A moving average, so that the remaining time is not spoilt by a slow first iteration (compilation). */
  private measureIteration(): void {
    const now = this.options.clock();
    const seconds = (now - this.lastIteration) / 1000;
    this.lastIteration = now;
    if (this.index === 1 || this.secondsPerIteration === null) this.secondsPerIteration = seconds;
    else this.secondsPerIteration = 0.9 * this.secondsPerIteration + 0.1 * seconds;
  }
}

/** `Train Summary | Epoch 3 | lr=1.00E-04 | ce=5.123` */
export function summaryLine(
  stage: string,
  epoch: number,
  metrics: Metrics,
  formatter = new Formatter(),
): string {
  const shown = Object.entries(formatter.format(metrics)).map(([name, value]) => `${name}=${value}`);
  return [`${capitalize(stage)} Summary`, `Epoch ${epoch}`, ...shown].join(" | ");
}

/** Logs the summary of a stage, bold on a terminal. */
export function logSummary(
  logger: Logger,
  stage: string,
  epoch: number,
  metrics: Metrics,
  formatter?: Formatter,
): void {
  logger.info(`\x1b[1m${summaryLine(stage, epoch, metrics, formatter)}\x1b[0m`);
}

/** Iterations per second, as AudioCraft writes them. */
export function speedText(iterationsPerSecond: number): string {
  if (iterationsPerSecond < 1e-4) return "oo sec/it";
  if (iterationsPerSecond < 0.1) return `${(1 / iterationsPerSecond).toFixed(1)} sec/it`;
  return `${iterationsPerSecond.toFixed(2)} it/sec`;
}

/** h:mm:ss, or m:ss below an hour. */
export function durationText(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const end = `${String(whole % 60).padStart(2, "0")}`;
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${end}` : `${minutes}:${end}`;
}

function bar(fraction: number, width = 20): string {
  const full = Math.round(Math.min(1, fraction) * width);
  return "━".repeat(full) + "─".repeat(width - full);
}

/** Python's `str.capitalize`. */
function capitalize(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1).toLowerCase();
}
