/** The command line of `npm run bench`. */
import { existsSync } from "node:fs";
import { UserError } from "../errors.ts";
import { FORMATS } from "./data_endurance.ts";
import { PRECISIONS, type Precision, SIZES, type SizeName } from "./sizes.ts";
import { BENCHMARKS, type CaseOptions } from "./suite.ts";

export const USAGE = `usage: npm run bench -- <what> [options]

${Object.entries(BENCHMARKS)
  .map(
    ([name, { about, aliases }]) =>
      `  ${name.padEnd(10)}${about}${aliases.length > 0 ? ` (also: ${aliases.join(", ")})` : ""}`,
  )
  .join("\n")}
  all       all of these
  growth    time and memory of training and generation against length, batch, depth and width; charts in docs/
  report    writes the tables of docs/performance.md from bench/results

Each program is measured in a process of its own: warm-up, then runs of which the median, the lowest and the highest are shown.
With --peer the originals on PyTorch are measured in turn with ours; bench/peers/README.md says how to install them. The hardware's
limits (matrix products, reading of memory) are measured in the same call. While other processes use more than 0.1 core nothing is
quoted: what they disturb is measured once more, and at last refused. Results go to bench/results.

Options
  --peer PYTHON    the Python of an environment that has the peers
  --size LIST      of ${Object.keys(SIZES).join(",")}: for train and generate (default: bench; for all and report: bench,small)
  --precision LIST of ${PRECISIONS.join(",")} (default: both)
  --runs N         of each program, at least, shared among the rounds (default: 5)
  --rounds N       how often ours and the peers take turns (default: 2)
  --force          measure whatever others do; the result is marked as unusable
  --no-save        write no file
  --json           print the result as JSON

Options of growth
  --points N       only the first N values of each axis, 3 or more (default: 5)

Options of data
  --formats LIST   of ${FORMATS.join(",")} (default: wav,flac,mp3)
  --workers N      reading threads (default: 2)
  --segments N     per run (default: 128)
  --endurance N    read so many segments of the first format, and watch the memory: exit code 1 if it grows
`;

export interface BenchOptions extends Omit<CaseOptions, "runs"> {
  /** null: as the command has it. */
  chosenSizes: SizeName[] | null;
  runs: number;
  rounds: number;
  endurance: number;
  points: number;
  force: boolean;
  save: boolean;
  json: boolean;
}

const COUNTS = ["runs", "rounds", "segments", "workers", "endurance", "points"] as const;
const MAY_BE_ZERO: readonly string[] = ["workers", "endurance"];

/** @throws UserError for what it does not know */
export function parseOptions(argv: string[]): BenchOptions {
  const options: BenchOptions = {
    chosenSizes: null,
    sizes: ["bench"],
    precisions: [...PRECISIONS],
    formats: ["wav", "flac", "mp3"],
    workers: 2,
    segments: 128,
    peer: null,
    runs: 5,
    rounds: 2,
    endurance: 0,
    points: 5,
    force: false,
    save: true,
    json: false,
  };
  for (let i = 0; i < argv.length; i++) {
    const [name, inline] = argv[i].split("=", 2);
    const value = () => inline ?? argv[++i] ?? "";
    const count = COUNTS.find((known) => name === `--${known}`);
    if (name === "--force" || name === "--json") options[name.slice(2) as "force" | "json"] = true;
    else if (name === "--no-save") options.save = false;
    else if (name === "--formats") options.formats = listed(name, value(), FORMATS);
    else if (name === "--size") options.chosenSizes = listed(name, value(), Object.keys(SIZES) as SizeName[]);
    else if (name === "--precision") options.precisions = listed<Precision>(name, value(), PRECISIONS);
    else if (name === "--peer") options.peer = pathOfPython(value());
    else if (count) options[count] = parseCount(name, value());
    else throw new UserError(`bench does not know '${argv[i]}'.\n${USAGE}`);
  }
  return options;
}

function pathOfPython(path: string): string {
  if (path === "")
    throw new UserError("--peer needs the path of a Python that has the peers (bench/peers/README.md)");
  // found out now, not after our own measurements
  if (path.includes("/") && !existsSync(path))
    throw new UserError(`--peer=${path}: there is no such program`);
  return path;
}

function listed<T extends string>(name: string, list: string, known: readonly T[]): T[] {
  const chosen = list.split(",");
  for (const one of chosen)
    if (!(known as readonly string[]).includes(one))
      throw new UserError(`${name}=${list}: '${one}' is none of ${known.join(", ")}`);
  return chosen as T[];
}

function parseCount(name: string, text: string): number {
  if (!/^\d+$/.test(text) || (Number(text) === 0 && !MAY_BE_ZERO.includes(name.slice(2))))
    throw new UserError(`${name} needs a number, not '${text}'`);
  return Number(text);
}
