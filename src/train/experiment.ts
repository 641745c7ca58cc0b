/** Trains one experiment: composes its config, opens its folder, goes on from where it stopped. */
import {
  asTrainConfig,
  composeTrainConfig,
  PROJECT_ROOT,
  type RunConfig,
  type TrainConfigOptions,
} from "../config/index.ts";
import { ensureExampleData, exampleFolders } from "../data/example/ensure.ts";
import { terminal } from "../log/live_line.ts";
import { createLogger, type Logger } from "../log/logger.ts";
import { configureFrom } from "../runtime/options.ts";
import type { Stage } from "../solvers/solver.ts";
import { loadEnvironment } from "../xp/environment.ts";
import { openExperiment, resolveDoraDir } from "../xp/folder.ts";
import { recordRun } from "../xp/provenance.ts";
import { trainSignature } from "../xp/signature.ts";
import { loadPlugins } from "./plugins.ts";

/** Exit code after a signal: the run is incomplete, and a scheduler should start it again. */
const interruptedCode = { SIGINT: 130, SIGTERM: 143, SIGUSR1: 138 } as Record<string, number>;

/** `overrides`: the config's `key=value`s; `command`: what the user typed. Returns the exit code. */
export async function trainExperiment(
  overrides: string[],
  options: TrainConfigOptions = {},
  command: string[] = overrides,
): Promise<number> {
  process.chdir(PROJECT_ROOT); // manifests have paths relative to the project
  const config = composeTrainConfig(overrides, options);
  const cfg = asTrainConfig(config);
  const signature = trainSignature(overrides, options);
  const experiment = openExperiment(resolveDoraDir(config), signature);
  const gitCommit = recordRun(experiment.dir, ["npm", "run", "train", "--", ...command]);
  const log = createLogger({
    name: "train",
    level: cfg.logging.level,
    file: experiment.path(`${cfg.execute_only ?? "solver"}.log.0`),
  });
  log.info(`experiment ${signature.sig} (${signature.argv.join(" ")}) in ${experiment.dir}`);
  try {
    await makeExampleData(cfg, log);
    configureFrom(cfg);
    // TensorFlow is loaded by these imports, after its options are known.
    const [{ isGpu }, solvers] = await Promise.all([
      import("../runtime/index.ts"),
      import("../solvers/index.ts"),
    ]);
    await loadPlugins(cfg.plugins ?? [], solvers);
    if (cfg.device === "cuda" && !isGpu) log.info("no GPU found: training on the CPU");
    const solver = await solvers.buildSolver(cfg, {
      signature: signature.sig,
      argv: signature.argv,
      folder: experiment.dir,
      doraDir: resolveDoraDir(config),
      configYaml: config.toYaml({ resolve: false }),
      gitCommit,
      datasetMappers: loadEnvironment().datasetMappers,
      log,
      writeHistory: (history) => experiment.writeHistory(history),
    });
    try {
      if (cfg.show) log.info(`model:\n${solver.show()}`);
      else if (cfg.execute_only) await solver.runStage(cfg.execute_only as Stage);
      else await solver.train();
    } finally {
      await solver.close();
    }
    if (!cfg.show && experiment.checkpoint) {
      const next = solver.nextCommand(signature.sig);
      log.info(`checkpoint: ${experiment.checkpoint}; now: ${next}`);
    }
    return 0;
  } catch (error) {
    const { name, signal } = error as { name?: string; signal?: string };
    if (name !== "Interrupted") throw error;
    log.warn(`stopped by ${signal}; run the same command to go on`);
    return interruptedCode[signal!] ?? 1;
  } finally {
    terminal.clear();
    experiment.close();
    log.close();
  }
}

/** An example data set is made on first use, when the config points at it. */
export async function makeExampleData({ datasource }: RunConfig, log: Logger): Promise<void> {
  const { train, valid, evaluate, generate } = datasource;
  for (const folder of exampleFolders([train, valid, evaluate, generate])) {
    const { created } = await ensureExampleData({
      root: PROJECT_ROOT,
      folder,
      onProgress: (done, total) => terminal.update(`making the example data set: ${done}/${total} clips`),
    });
    terminal.clear();
    if (created) log.info(`made the example data set in ${folder}`);
  }
}
