/** What a run is called and where its things go: passed to the solver by whoever starts it. */
import type { PathMappers } from "../data/manifest.ts";
import type { Logger } from "../log/logger.ts";
import type { EpochMetrics } from "./stage_metrics.ts";

export interface Run {
  /** Dora's signature of the command line. */
  signature: string;
  argv: string[];
  /** `<doraDir>/xps/<signature>` */
  folder: string;
  /** Where all runs are. */
  doraDir: string;
  /** The composed config, interpolations kept, as it goes into checkpoints. */
  configYaml: string;
  gitCommit: string | null;
  /** The team's replacements in the paths of data. */
  datasetMappers: PathMappers;
  log: Logger;
  writeHistory(history: EpochMetrics[]): void;
}
