/** `profiler.enabled=true`: a trace of a few updates, once nothing is compiled any more, with a table of its ops. */
import { mkdirSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Logger } from "../log/logger.ts";
import { chromeTrace, opTable, opTimes, Profiler, percent } from "../runtime/index.ts";

/** Updates that are left out: the first ones trace and compile. */
const WARM_UP = 3;
/** Updates that are recorded. */
const RECORDED = 3;

/**
 * Records updates of this process once. The train stage says when one may begin and when it is done, and what the main
 * thread is at in between.
 */
export class UpdateProfiler {
  private readonly folder: string;
  private readonly log: Logger;
  private warmUp: number;
  private recorder: Profiler | null = null;
  /** Number of the first update that is recorded, and of those that are complete. */
  private first = 0;
  private recorded = 0;
  private isOver = false;

  /** `updates`: how many this process has to do; of few, at least the last one is recorded. */
  constructor(folder: string, log: Logger, updates: number) {
    this.folder = folder;
    this.log = log;
    this.warmUp = Math.min(WARM_UP, updates - 1);
  }

  /** Update `number` is about to begin, with its data. */
  begin(number: number): void {
    if (this.isOver || this.warmUp > 0) return;
    if (!this.recorder) {
      this.first = number;
      this.recorder = this.start();
    }
    this.recorder?.round(`update ${number}`);
    this.phase("data wait");
  }

  phase(name: string): void {
    this.recorder?.phase(name);
  }

  /** The update that began is done. */
  done(): void {
    this.warmUp--;
    if (!this.recorder) return;
    this.recorded++;
    if (this.recorded === RECORDED) this.finish();
  }

  /** Writes what was recorded, if anything: the stage is over, or the run. */
  finish(): void {
    const { recorder } = this;
    if (!recorder) return;
    this.recorder = null;
    try {
      const trace = recorder.stop();
      if (this.recorded === 0) return;
      this.isOver = true;
      const { first } = this;
      const last = first + this.recorded - 1;
      const name = `updates_${first}-${last}`;
      const tensorBoard = join(this.folder, "plugins", "profile", name);
      mkdirSync(tensorBoard, { recursive: true });
      const file = join(this.folder, `${name}.trace.json.gz`);
      writeFileSync(file, gzipSync(chromeTrace(trace)));
      writeFileSync(join(this.folder, `${name}.ops.txt`), opTable(trace));
      writeFileSync(join(tensorBoard, `${hostname()}.xplane.pb`), trace.xspace);
      for (const notice of trace.notices) this.log.warn(`profiler: ${notice}`);
      this.log.info(`profile of updates ${first} to ${last}: ${file} (open it in ui.perfetto.dev)`);
      const times = opTimes(trace);
      const most = times.filter(({ process }) => process === times[0].process).slice(0, 5);
      const shares = most.map(({ type, share }) => `${type} ${percent(share)}`).join(", ");
      if (most.length > 0)
        this.log.info(`most time on the ${most[0].process}: ${shares} (all: ${name}.ops.txt)`);
    } catch (error) {
      this.giveUp(error);
    }
  }

  private start(): Profiler | null {
    try {
      return new Profiler();
    } catch (error) {
      this.giveUp(error);
      return null;
    }
  }

  /** Training is worth more than its profile. */
  private giveUp(error: unknown): void {
    this.isOver = true;
    this.log.warn(`no profile: ${(error as Error).message}`);
  }
}
