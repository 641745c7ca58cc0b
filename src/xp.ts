/** `npm run xp -- info|list|name|grid|compare|rm`: the experiments that were trained, and grids of them. */
import fs from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { tableText } from "./config/text-table.ts";
import { composeTrainConfig } from "./config/train-config.ts";
import { UserError } from "./errors.ts";
import { printText } from "./log/print.ts";
import { configDifferences, type Difference, metricDifferences } from "./xp/compare.ts";
import {
  type Experiment,
  findExperiment,
  listExperiments,
  readHistory,
  resolveDoraDir,
} from "./xp/folder.ts";
import { PATCH_FILE, readRuns } from "./xp/provenance.ts";
import { experimentName, trainSignature } from "./xp/signature.ts";
import { ageText, columnCells, experimentState, LM_COLUMNS } from "./xp/status.ts";

const USAGE = `usage: npm run xp -- COMMAND …
  list                          all experiments, the one written to last first
  info SIG | key=value …        an experiment: state, folder, command line, commit
       -m, --metrics            … and the metrics of its last epoch
       -l, --log  -t, --tail    … or its log, or the last lines of it
  name SIG | key=value …        its signature and its name
  compare SIG SIG …             the settings and last metrics in which experiments differ
  rm SIG …                      delete experiments (asks; --yes does not)
  grid                          the grids there are (files in grids/)
  grid NAME|FILE [patterns]     train a grid's experiments. Patterns: an index, a part of a name, !part
       --dry_run                … only list them
       -n, --jobs N             … N at a time (1)
       -r, --retry              … also those that failed
       -T, --trim I | -f, --folder I | -L, --log I   … only experiment number I's metrics, folder, log
       -C, --cancel             … stop those that are training (they write their checkpoint)
       --no_monitoring          … print the table only at the end
       --clear [--yes]          … delete what they have so far first
SIG may be the beginning of a signature.`;

const commands: Record<string, (argv: string[]) => Promise<number>> = { list, info, name, compare, rm, grid };

/** Runs the command; returns the process's exit code. */
export async function main(argv: string[]): Promise<number> {
  const [command, ...rest] = argv;
  if (command === undefined || ["--help", "-h", "help"].includes(command)) {
    await printText(`${USAGE}\n`);
    return 0;
  }
  if (!Object.hasOwn(commands, command)) throw new UserError(`there is no command 'xp ${command}'\n${USAGE}`);
  return await commands[command]!(rest);
}

async function list(argv: string[]): Promise<number> {
  parse(argv, {});
  const experiments = listExperiments(doraDir());
  const columns = LM_COLUMNS.filter(({ title }) => title !== "ping");
  const rows = experiments.map((experiment) => [
    experiment.sig,
    experimentState(experiment),
    ageText(lastChange(experiment.dir)),
    ...columnCells(columns, experiment.dir),
    nameOf(experiment.argv),
  ]);
  const titles = ["sig", "state", "age", ...columns.map(({ title }) => title), "name"];
  await printText(rows.length === 0 ? `no experiments in ${doraDir()}\n` : tableText(titles, rows));
  return 0;
}

async function info(argv: string[]): Promise<number> {
  const { values, positionals } = parse(argv, {
    metrics: { type: "boolean", short: "m" },
    log: { type: "boolean", short: "l" },
    tail: { type: "boolean", short: "t" },
  });
  const experiment = theExperiment(positionals);
  const log = path.join(experiment.dir, "solver.log.0");
  if (values.log || values.tail) {
    if (!fs.existsSync(log)) throw new UserError(`experiment ${experiment.sig} has no log yet (${log})`);
    const text = fs.readFileSync(log, "utf8");
    await printText(values.log ? text : `${text.trimEnd().split("\n").slice(-20).join("\n")}\n`);
    return 0;
  }
  const history = readHistory(experiment.dir);
  const run = readRuns(experiment.dir).at(-1);
  const lines: [string, string][] = [
    ["signature", experiment.sig],
    ["name", nameOf(experiment.argv)],
    ["state", experimentState(experiment)],
    ["folder", experiment.dir],
    ["log", fs.existsSync(log) ? log : "none yet"],
    ["arguments", experiment.argv.join(" ")],
    ["epochs", String(history.length)],
  ];
  if (run) {
    const commit = run.commit ?? "not a git clone";
    const patch = path.join(experiment.dir, PATCH_FILE);
    lines.push(["last start", `${run.started} with Node ${run.node}`], ["command", run.command.join(" ")]);
    lines.push([
      "commit",
      run.dirty ? `${commit}, with changes${fs.existsSync(patch) ? ` (${patch})` : ""}` : commit,
    ]);
  }
  await printText(lines.map(([key, value]) => `${`${key}:`.padEnd(12)} ${value}\n`).join(""));
  if (values.metrics)
    await printText(`Metrics[${history.length}]: ${JSON.stringify(history.at(-1) ?? {}, null, 2)}\n`);
  return 0;
}

async function name(argv: string[]): Promise<number> {
  const { positionals } = parse(argv, {});
  const { sig, argv: overrides } = theExperiment(positionals);
  await printText(`${sig} ${nameOf(overrides)}\n`);
  return 0;
}

async function compare(argv: string[]): Promise<number> {
  const { positionals } = parse(argv, {});
  if (positionals.length < 2)
    throw new UserError("compare needs two signatures or more: npm run xp -- compare SIG SIG");
  const experiments = positionals.map((sig) => findExperiment(doraDir(), sig));
  const table = (title: string, differences: Difference[]) => {
    if (differences.length === 0) return `${title}: no differences\n`;
    const rows = differences.map(({ key, values }) => [key, ...values.map((value) => value ?? "–")]);
    return `${title}\n${tableText(["key", ...experiments.map(({ sig }) => sig)], rows)}`;
  };
  await printText(table("Config", configDifferences(experiments)));
  await printText(table("Metrics of the last epoch", metricDifferences(experiments)));
  return 0;
}

async function rm(argv: string[]): Promise<number> {
  const { values, positionals } = parse(argv, { yes: { type: "boolean", short: "y" } });
  if (positionals.length === 0) throw new UserError("rm needs a signature: npm run xp -- rm SIG");
  const { removeExperiment } = await import("./xp/remove.ts");
  const experiments = positionals.map((sig) => findExperiment(doraDir(), sig));
  for (const experiment of experiments) {
    const removed = await removeExperiment(experiment, { yes: values.yes });
    await printText(removed ? `deleted ${experiment.dir}\n` : `kept ${experiment.dir}\n`);
  }
  return 0;
}

async function grid(argv: string[]): Promise<number> {
  const { values, positionals } = parse(argv, {
    dry_run: { type: "boolean" },
    jobs: { type: "string", short: "n" },
    retry: { type: "boolean", short: "r" },
    cancel: { type: "boolean", short: "C" },
    no_monitoring: { type: "boolean" },
    clear: { type: "boolean" },
    yes: { type: "boolean", short: "y" },
    trim: { type: "string", short: "T" },
    folder: { type: "string", short: "f" },
    log: { type: "string", short: "L" },
  });
  const { gridExperiments, gridNames, linkGrid, loadGrid, selectExperiments } = await import("./xp/grid.ts");
  const [nameOrFile, ...patterns] = positionals;
  if (nameOrFile === undefined) {
    await printText(`${gridNames().join("\n") || "no grids in grids/"}\n`);
    return 0;
  }
  const loaded = await loadGrid(nameOrFile);
  const all = gridExperiments(loaded.explorer);
  const experiments = selectExperiments(all, patterns);
  const indexed = values.trim ?? values.folder ?? values.log;
  if (indexed !== undefined) {
    const experiment = experiments[Number(indexed)];
    if (!experiment)
      throw new UserError(`the grid has no experiment ${indexed}: it has ${experiments.length}`);
    if (values.folder !== undefined) await printText(`${experiment.dir}\n`);
    else return await info([experiment.sig, values.log === undefined ? "-m" : "-l"]);
    return 0;
  }
  const { gridTable, runGrid } = await import("./xp/grid-run.ts");
  if (values.dry_run) {
    await printText(gridTable(loaded, experiments));
    return 0;
  }
  if (values.cancel) {
    const { cancelExperiment } = await import("./xp/remove.ts");
    const lines = experiments.map((experiment) => `${experiment.sig}: ${cancelExperiment(experiment)}\n`);
    await printText(lines.join(""));
    return 0;
  }
  const jobs = Number(values.jobs ?? 1);
  if (!Number.isInteger(jobs) || jobs < 1)
    throw new UserError(`--jobs ${values.jobs}: must be a number of at least 1`);
  if (values.clear) {
    const { removeExperiment } = await import("./xp/remove.ts");
    for (const experiment of experiments) {
      if (fs.existsSync(experiment.dir) && !(await removeExperiment(experiment, { yes: values.yes })))
        return 1;
    }
  }
  linkGrid(doraDir(), loaded.name, all);
  return await runGrid(loaded, experiments, { jobs, retry: values.retry, quiet: values.no_monitoring });
}

/** One signature, or the overrides of a command line (also of an experiment that was never started). */
function theExperiment(positionals: string[]): Experiment {
  const [first] = positionals;
  if (positionals.length === 1 && first !== undefined && !first.includes("="))
    return findExperiment(doraDir(), first);
  const { sig, argv } = trainSignature(positionals);
  return { sig, argv, dir: path.join(resolveDoraDir(composeTrainConfig(positionals)), "xps", sig) };
}

function doraDir(): string {
  return resolveDoraDir(composeTrainConfig([]));
}

/** Of a command line from another version of the config tree there may be none. */
function nameOf(argv: string[]): string {
  try {
    return experimentName(trainSignature(argv).delta);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return argv.join(" ");
  }
}

function lastChange(dir: string): number | undefined {
  return fs.statSync(dir, { throwIfNoEntry: false })?.mtimeMs;
}

type Options = NonNullable<Parameters<typeof parseArgs>[0]>["options"];

/** Node's own parser; its complaints become a UserError. */
function parse<const O extends NonNullable<Options>>(argv: string[], options: O) {
  try {
    return parseArgs({ args: argv, options, allowPositionals: true });
  } catch (error) {
    throw new UserError(`${(error as Error).message.split(". ")[0]}\n${USAGE}`);
  }
}
