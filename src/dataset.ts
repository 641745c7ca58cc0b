/** `npm run dataset -- check|show MANIFEST...`: what data sets hold, and what is wrong with them. */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { readManifest, writeManifest } from "./data/manifest.ts";
import { cleanMusicInfo, MUSIC_FIELDS } from "./data/music_info.ts";
import { readSidecar, sidecarPath } from "./data/sidecar.ts";
import { checkManifests, cleanedRows, PROBLEMS, type Problem } from "./dataset/check.ts";
import { makeReport, reportText } from "./dataset/report.ts";
import { UserError } from "./errors.ts";
import { terminal } from "./log/live_line.ts";
import { printText } from "./log/print.ts";

const USAGE = `usage: npm run dataset -- COMMAND MANIFEST...   (a manifest, or a folder with data.jsonl or data.jsonl.gz)
  check                 read every file once and report what is wrong. Exit code 1: something is
       -j, --workers N  … threads that read (default: one for each core)
       --json           … as JSON
       --all            … name all files, not only the first ten for each problem
       --out FILE       … write a manifest without the files that have a problem of --drop
       --drop A,B,…     … (broken,silence,duplicate), of: ${Object.keys(PROBLEMS).join(", ")}
  show                  a few entries with their descriptions
       -n N             … so many (5)`;

const SHOWN_FILES = 10;

const commands: Record<string, (argv: string[]) => Promise<number>> = { check, show };

/** Runs the command; returns the process's exit code. */
export async function main(argv: string[]): Promise<number> {
  const [command, ...rest] = argv;
  if (command === undefined || ["--help", "-h", "help"].includes(command)) {
    await printText(`${USAGE}\n`);
    return 0;
  }
  if (!Object.hasOwn(commands, command))
    throw new UserError(`there is no command 'dataset ${command}'\n${USAGE}`);
  return await commands[command](rest);
}

async function check(argv: string[]): Promise<number> {
  const { values, positionals: manifests } = parse(argv, {
    workers: { type: "string", short: "j" },
    json: { type: "boolean" },
    all: { type: "boolean" },
    out: { type: "string" },
    drop: { type: "string" },
  });
  if (values.out && manifests.length > 1)
    throw new UserError("--out takes the files of one manifest: check them one by one");
  const drop = parseProblems((values.drop as string | undefined) ?? "broken,silence,duplicate");
  const files = await checkManifests(manifests, {
    workers: count("workers", values.workers, availableParallelism()),
    onProgress: (done, total) => terminal.update(`reading ${done}/${total}`),
  });
  terminal.clear();
  const report = makeReport(files);
  const most = values.all ? Number.POSITIVE_INFINITY : SHOWN_FILES;
  await printText(values.json ? `${JSON.stringify(report, null, 2)}\n` : reportText(report, most));
  if (values.out) {
    const rows = cleanedRows(files, drop);
    if (rows.length === 0) throw new UserError(`no file is without a problem: ${values.out} is not written`);
    writeManifest(values.out as string, rows);
    console.error(`${values.out}: ${rows.length} of ${files.length} files`);
  }
  return Object.keys(report.problems).length > 0 ? 1 : 0;
}

async function show(argv: string[]): Promise<number> {
  const { values, positionals: manifests } = parse(argv, { number: { type: "string", short: "n" } });
  const most = count("number", values.number, 5);
  for (const manifest of manifests) {
    const rows = readManifest(manifest);
    const hours = rows.reduce((sum, { duration }) => sum + duration, 0) / 3600;
    const entries = rows.slice(0, most).map(({ path, duration, sampleRate, weight }) => {
      const facts = [`${duration.toFixed(2)} s`, `${sampleRate ?? "?"} Hz`];
      if (weight !== null) facts.push(`weight ${weight}`);
      return [`${path}: ${facts.join(", ")}`, ...describe(path)].join("\n    ");
    });
    await printText(
      [`${manifest}: ${rows.length} files, ${hours.toFixed(2)} h`, ...entries, ""].join("\n  "),
    );
    await printText("\n");
  }
  return 0;
}

function describe(audio: string): string[] {
  try {
    const sidecar = readSidecar(sidecarPath(audio));
    if (!sidecar) return ["(no description)"];
    const info = cleanMusicInfo(sidecar);
    return MUSIC_FIELDS.flatMap((field) => {
      const value = info[field];
      return value === null ? [] : [`${field}: ${Array.isArray(value) ? value.join(", ") : value}`];
    });
  } catch (error) {
    return [`(${sidecarPath(audio)}: ${(error as Error).message})`];
  }
}

function parseProblems(text: string): Problem[] {
  const names = text.split(",").filter((name) => name !== "");
  for (const name of names)
    if (!Object.hasOwn(PROBLEMS, name))
      throw new UserError(`--drop ${name}: it must be of ${Object.keys(PROBLEMS).join(", ")}`);
  return names as Problem[];
}

function count(name: string, text: unknown, otherwise: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0) return value;
  throw new UserError(`--${name} ${text}: a whole number is needed`);
}

function parse(
  argv: string[],
  options: NonNullable<NonNullable<Parameters<typeof parseArgs>[0]>["options"]>,
) {
  let parsed: { values: Record<string, unknown>; positionals: string[] };
  try {
    parsed = parseArgs({ args: argv, allowPositionals: true, options });
  } catch (error) {
    throw new UserError(`${(error as Error).message}\n${USAGE}`);
  }
  if (parsed.positionals.length === 0) throw new UserError(`no manifest is given\n${USAGE}`);
  return parsed;
}
