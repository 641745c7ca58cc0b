/** `npm run bench -- <what>`: how fast parts of this program are on this machine, measured so that the figures can be compared. */
import { type DataBenchOptions, FORMATS, runDataBench } from "./bench/data.ts";
import { UserError } from "./errors.ts";

const USAGE = `usage: npm run bench -- data [options]

data: segments per second that a loader makes out of audio files (30 s, 44.1 kHz stereo, to 10 s, 32 kHz mono, batches of 8),
with the share of the time that decoding, resampling and the transfer between threads take. Median of the runs after a warm-up,
with lowest and highest. When other processes use the processor, nothing is measured: the figures would be worthless.

Options
  --formats LIST   of ${FORMATS.join(",")} (default: wav,flac,mp3)
  --workers N      reading threads (default: 2)
  --runs N         (default: 5)
  --segments N     per run (default: 128)
  --endurance N    read so many segments of the first format, and watch the memory: exit code 1 if it grows
  --force          measure all the same; the result is marked as unusable
  --json           print one JSON object
`;

/** Runs the command; returns the exit code: 1 when the figures are not to be used. */
export async function main(argv: string[]): Promise<number> {
  const [what, ...rest] = argv;
  if (what === undefined || argv.includes("--help")) {
    console.log(USAGE);
    return 0;
  }
  if (what !== "data") throw new UserError(`there is no benchmark '${what}'. ${USAGE}`);
  return await runDataBench(parseOptions(rest));
}

const NUMBERS: Record<string, "workers" | "runs" | "segments" | "endurance"> = {
  "--workers": "workers",
  "--runs": "runs",
  "--segments": "segments",
  "--endurance": "endurance",
};

function parseOptions(argv: string[]): DataBenchOptions {
  const options: DataBenchOptions = {
    formats: ["wav", "flac", "mp3"],
    workers: 2,
    runs: 5,
    segments: 128,
    endurance: 0,
    force: false,
    json: false,
  };
  for (let i = 0; i < argv.length; i++) {
    const [name, inline] = argv[i].split("=", 2);
    const value = () => inline ?? argv[++i] ?? "";
    if (name === "--force" || name === "--json") options[name.slice(2) as "force" | "json"] = true;
    else if (name === "--formats") options.formats = parseFormats(value());
    else if (name in NUMBERS) options[NUMBERS[name]] = parseCount(name, value());
    else throw new UserError(`bench does not know '${argv[i]}'.\n${USAGE}`);
  }
  return options;
}

function parseFormats(list: string): DataBenchOptions["formats"] {
  const formats = list.split(",");
  for (const format of formats)
    if (!(FORMATS as readonly string[]).includes(format))
      throw new UserError(`--formats=${list}: '${format}' is none of ${FORMATS.join(", ")}`);
  return formats as DataBenchOptions["formats"];
}

function parseCount(name: string, text: string): number {
  if (!/^\d+$/.test(text) || (Number(text) === 0 && name !== "--workers" && name !== "--endurance"))
    throw new UserError(`${name} needs a number, not '${text}'`);
  return Number(text);
}
