/** `npm run cache -- <overrides>`: codes the audio that `npm run train` with the same overrides would use, once, into `cache.path`. */
import { availableParallelism } from "node:os";
import { CONFIG_FLAGS, describeFlags, parseCommandLine } from "./config/command-line.ts";
import { asMusicGenConfig, composeTrainConfig, type MusicGenConfig, PROJECT_ROOT } from "./config/index.ts";
import { checkCache } from "./data/cache/check.ts";
import { UserError } from "./errors.ts";
import { printText } from "./log/print.ts";

const FLAGS = { "--check": { about: "only verify the checksums of what is there" } };

const USAGE = `usage: npm run cache -- [options] cache.path=FOLDER [key=value ...]

Codes the audio files of datasource.train (and of what else cache.splits names) with the codec of the config, and writes the
codes to cache.path. Files that are there already are left out, so the same command goes on after an interruption.
npm run train with the same overrides then trains on random crops of the codes. cache.write_shard and
cache.write_num_shards share the files out among several jobs.

Options
${describeFlags(FLAGS)}
${describeFlags(CONFIG_FLAGS)}
`;

/** Runs the command; returns the exit code: 1 when something is damaged. */
export async function main(argv: string[]): Promise<number> {
  const line = parseCommandLine(argv, FLAGS);
  if (line.flags.has("--help")) {
    await printText(USAGE);
    return 0;
  }
  process.chdir(PROJECT_ROOT); // manifests have paths relative to the project
  const cfg = asMusicGenConfig(composeTrainConfig(line.overrides, line.options));
  const folder = cfg.cache.path;
  if (folder === null) throw new UserError("cache.path=FOLDER is needed: where the codes go");
  if (line.flags.has("--check")) return await check(folder);
  if (cfg.cache.write)
    throw new UserError(
      "cache.write=true is for npm run train; this command writes whole files, without training",
    );
  return await fill(folder, cfg);
}

async function check(folder: string): Promise<number> {
  const { records, bytes, damaged } = checkCache(folder);
  const lines = [
    `${folder}: ${records} records, ${(bytes / 1e6).toFixed(1)} MB, ${damaged.length} damaged`,
    ...damaged,
  ];
  await printText(`${lines.join("\n")}\n`);
  return damaged.length > 0 ? 1 : 0;
}

async function fill(folder: string, cfg: MusicGenConfig): Promise<number> {
  const { configureFrom } = await import("./runtime/options.ts");
  configureFrom(cfg);
  const { fillCache } = await import("./solvers/fill_cache.ts");
  return await fillCache(folder, cfg, { workers: Math.min(cfg.dataset.num_workers, availableParallelism()) });
}
