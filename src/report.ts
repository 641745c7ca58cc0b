/** `npm run report -- <signature | newest>`: one HTML file about a run, with curves, samples to listen to, warnings and config. */
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { writeFileAtomically } from "./checkpoint/atomic_file.ts";
import { composeTrainConfig } from "./config/train-config.ts";
import { UserError } from "./errors.ts";
import { terminal } from "./log/live_line.ts";
import { printText } from "./log/print.ts";
import { ClipStore } from "./report/media.ts";
import { reportPage } from "./report/page.ts";
import { readRun } from "./report/run_data.ts";
import { sampleCards } from "./report/sample_cards.ts";
import { type Experiment, findExperiment, listExperiments, resolveDoraDir } from "./xp/folder.ts";

/** Megabytes of sounds and pictures in a page: what a browser opens without thinking. */
const DEFAULT_LIMIT = 40;

const USAGE = `usage: npm run report -- [SIG | newest] [--out FILE] [--limit MB]
Writes one HTML file about a run: curves, samples with players and spectrograms, warnings, config. It opens from disk,
without a network. A run in progress is told as far as it is. SIG may be the beginning of a signature; newest (the
default) is the run that was written to last.
  --out FILE    where to; by default report.html in the run's folder
  --limit MB    sounds and pictures in the file (${DEFAULT_LIMIT}). Of samples that do not fit, the newest epoch is kept
                first, then prompts and references, then the first epoch, then the others from the newest`;

/** Runs the command; returns the process's exit code. @throws UserError */
export async function main(argv: string[]): Promise<number> {
  const { values, positionals } = parse(argv);
  if (values.help) {
    await printText(`${USAGE}\n`);
    return 0;
  }
  const limit = Number(values.limit ?? DEFAULT_LIMIT);
  if (!(limit >= 0)) throw new UserError(`--limit ${values.limit}: must be a number of megabytes\n${USAGE}`);
  const experiment = theExperiment(positionals);
  const file = values.out === undefined ? join(experiment.dir, "report.html") : resolve(values.out);

  const run = readRun(experiment);
  const clips = new ClipStore(limit * 1e6);
  const samples = await sampleCards(run, clips, (done, total) =>
    terminal.update(`putting sounds into the page: ${done}/${total}`),
  );
  terminal.clear();
  const left = clips.leftOut.size;
  const samplesNote =
    `In ${run.samplesFolder}. Sounds are 64 kbit/s MP3 per channel here, at most 30 s of each` +
    (left > 0 ? `; ${left} files are left out to keep the page below ${limit} MB (--limit)` : "");
  const page = Buffer.from(reportPage(run, { samples, samplesNote, written: new Date() }));
  await writeFileAtomically(file, page.length, (out) => out.append(page));

  const about = `${run.history.length} epochs, ${run.samples.byId.size} samples`;
  const missing = left > 0 ? `, ${left} sounds left out (--limit ${limit})` : "";
  await printText(`${file}  (${(page.length / 1e6).toFixed(1)} MB; ${about}${missing})\n`);
  return 0;
}

function theExperiment(positionals: string[]): Experiment {
  if (positionals.length > 1) throw new UserError(`report takes one run\n${USAGE}`);
  const [sig = "newest"] = positionals;
  const doraDir = resolveDoraDir(composeTrainConfig([]));
  if (sig !== "newest") return findExperiment(doraDir, sig);
  const [newest] = listExperiments(doraDir);
  if (!newest) throw new UserError(`there are no experiments in ${doraDir}; train one: npm run train`);
  return newest;
}

function parse(argv: string[]) {
  try {
    return parseArgs({
      args: argv,
      allowPositionals: true,
      options: {
        out: { type: "string", short: "o" },
        limit: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    });
  } catch (error) {
    throw new UserError(`${(error as Error).message.split(". ")[0]}\n${USAGE}`);
  }
}
