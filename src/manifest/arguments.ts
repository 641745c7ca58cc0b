/** The command line of `npm run manifest`. */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { UserError } from "../errors.ts";
import { parseShares, type Shares } from "./split.ts";

export const USAGE = `usage: npm run manifest -- SOURCE... --out FILE.jsonl[.gz]   (or: SOURCE... FILE.jsonl[.gz])
A SOURCE is a folder with audio, a table that names audio files (.csv, .tsv, .parquet), or a WebDataset shard (.tar, .tar.gz, .tgz).
  -j, --workers N       threads that read files (default: one for each core)
  --update              keep what FILE says of unchanged files, drop vanished ones, add new ones
  --complete            store peak amplitudes too (decodes everything); updates FILE if it exists
  --resolve             store absolute paths without symbolic links
  --min-duration S, --max-duration S, --min-rate HZ, --max-rate HZ
                        leave other files out
  --audio FOLDER        where the audio lies that tables name (default: the table's folder)
  --extract FOLDER      where audio from shards and tables is put (default: "audio" beside FILE)
  --overwrite           replace descriptions (song.json beside song.wav) that exist already
  --split A/B/C         write train/, valid/ and evaluate/ beside FILE instead, with these shares, e.g. 0.9/0.05/0.05
  --seed N              of the split (default 0)`;

export interface Limits {
  minDuration: number;
  maxDuration: number;
  minRate: number;
  maxRate: number;
}

export interface ManifestArguments {
  sources: string[];
  out: string;
  workers: number;
  update: boolean;
  complete: boolean;
  resolve: boolean;
  limits: Limits;
  audio: string | undefined;
  extract: string | undefined;
  overwrite: boolean;
  split: Shares | undefined;
  seed: number;
}

/** The arguments, or undefined when help was asked for. Throws UserError. */
export function parseArguments(argv: string[]): ManifestArguments | undefined {
  const { values, positionals } = parse(argv);
  if (values.help) return undefined;
  const sources = [...positionals];
  // As AudioCraft has it: ROOT OUT.
  const out = values.out ?? (/\.jsonl(\.gz)?$/.test(sources.at(-1) ?? "") ? sources.pop() : undefined);
  if (out === undefined) throw new UserError(`where shall the manifest go?\n${USAGE}`);
  if (!/\.jsonl(\.gz)?$/.test(out))
    throw new UserError(`--out ${out}: a manifest's name ends in .jsonl or .jsonl.gz`);
  if (sources.length === 0 && !values.update && !values.complete)
    throw new UserError(`no folder with audio is given\n${USAGE}`);
  return {
    sources,
    out,
    workers: number("workers", values.workers, availableParallelism()),
    update: values.update || values.complete,
    complete: values.complete,
    resolve: values.resolve,
    limits: {
      minDuration: number("min-duration", values["min-duration"], 0),
      maxDuration: number("max-duration", values["max-duration"], Number.POSITIVE_INFINITY),
      minRate: number("min-rate", values["min-rate"], 0),
      maxRate: number("max-rate", values["max-rate"], Number.POSITIVE_INFINITY),
    },
    audio: values.audio,
    extract: values.extract,
    overwrite: values.overwrite,
    split: values.split === undefined ? undefined : parseShares(values.split),
    seed: number("seed", values.seed, 0),
  };
}

function number(name: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (text.trim() !== "" && value >= 0) return value;
  throw new UserError(`--${name} ${text}: a number of at least 0 is needed`);
}

function parse(argv: string[]) {
  const text = { type: "string" } as const;
  const flag = { type: "boolean", default: false } as const;
  try {
    return parseArgs({
      args: argv,
      allowPositionals: true,
      options: {
        out: text,
        workers: { ...text, short: "j" },
        update: flag,
        complete: flag,
        resolve: flag,
        "min-duration": text,
        "max-duration": text,
        "min-rate": text,
        "max-rate": text,
        audio: text,
        extract: text,
        overwrite: flag,
        split: text,
        seed: text,
        help: { ...flag, short: "h" },
      },
    });
  } catch (error) {
    throw new UserError(`${(error as Error).message}\n${USAGE}`);
  }
}
