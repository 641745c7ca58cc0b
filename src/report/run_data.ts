/** Everything that a report tells about a run, from the files in its folder; of a run in progress, what is there by now. */
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";
import { openSafetensors } from "../checkpoint/safetensors.ts";
import { type ComposedConfig, composeTrainConfig, configFromYaml } from "../config/index.ts";
import { readSamples, type Samples } from "../solvers/samples.ts";
import { type EpochMetrics, type Experiment, newestCheckpoint, readHistory } from "../xp/folder.ts";
import { type RunRecord, readRuns } from "../xp/provenance.ts";
import { experimentName, trainSignature } from "../xp/signature.ts";
import { experimentState, type State } from "../xp/status.ts";
import { parseSolverLog, type SolverLog } from "./solver_log.ts";

export interface RunData extends Experiment {
  /** Where it differs from the defaults; empty if it does not. */
  name: string;
  state: State;
  /** Its starts, oldest first. */
  runs: RunRecord[];
  /** The config with its interpolations, or null when it can neither be read nor composed. */
  config: string | null;
  /** Epochs that it was asked for. */
  plannedEpochs: number | null;
  history: EpochMetrics[];
  log: SolverLog;
  /** What the hang detector wrote. */
  deadlock: string | null;
  samples: Samples;
  /** The folder of samples. */
  samplesFolder: string;
}

/** Of a longer log, the end is read. */
const MAX_LOG = 32 << 20;

export function readRun(experiment: Experiment): RunData {
  const { dir, argv } = experiment;
  const config = configOf(experiment);
  const samplesFolder = join(dir, String(settingOf(config, "generate.path") ?? "samples"));
  const deadlock = join(dir, "deadlock.txt");
  return {
    ...experiment,
    name: orNull(() => experimentName(trainSignature(argv).delta)) ?? argv.join(" "),
    state: experimentState(experiment),
    runs: readRuns(dir),
    config: orNull(() => config!.toYaml({ resolve: false })),
    plannedEpochs: Number(settingOf(config, "optim.epochs")) || null,
    history: readHistory(dir),
    log: parseSolverLog(readEnd(join(dir, "solver.log.0"))),
    deadlock: existsSync(deadlock) ? readFileSync(deadlock, "utf8") : null,
    samples: readSamples(samplesFolder),
    samplesFolder,
  };
}

/** The config in the checkpoint; before there is one, what the command line means now. */
function configOf({ dir, argv }: Experiment): ComposedConfig | null {
  const stored = orNull(() => {
    const file = openSafetensors(newestCheckpoint(dir)!);
    try {
      return configFromYaml(file.metadata["xp.cfg"]);
    } finally {
      file.close();
    }
  });
  return stored ?? orNull(() => composeTrainConfig(argv));
}

function settingOf(config: ComposedConfig | null, key: string): unknown {
  return orNull(() => config!.get(key));
}

/** A damaged or a foreign part leaves a gap in the report and does not prevent it. */
function orNull<T>(f: () => T): T | null {
  try {
    return f();
  } catch {
    return null;
  }
}

function readEnd(path: string): string {
  if (!existsSync(path)) return "";
  const file = openSync(path, "r");
  try {
    const { size } = fstatSync(file);
    const bytes = Buffer.alloc(Math.min(size, MAX_LOG));
    const read = readSync(file, bytes, 0, bytes.length, size - bytes.length);
    return bytes.toString("utf8", 0, read);
  } finally {
    closeSync(file);
  }
}
