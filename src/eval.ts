/**
 * `npm run eval -- default`: does the audio do what the words ask? Generates for held-out descriptions of the example music, and
 * listens by signal analysis.
 */
import { mkdirSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { alignedText } from "./bench/table.ts";
import { writeFileAtomically } from "./checkpoint/atomic_file.ts";
import { composeTrainConfig, PROJECT_ROOT } from "./config/index.ts";
import { levelOptions, normalizeAudio } from "./data/audio/normalize.ts";
import { spectrogramPng } from "./data/audio/spectrogram.ts";
import { writeAudio } from "./data/audio/write.ts";
import { UserError } from "./errors.ts";
import { type EvalArguments, help, parseEvalArguments } from "./eval/arguments.ts";
import { resultPage } from "./eval/page.ts";
import { HEADER, scores, tableRows } from "./eval/results.ts";
import { samplingOf } from "./generate/sampling.ts";
import { terminal } from "./log/live_line.ts";
import type { WeightType } from "./nn/weight_types.ts";
import { checkedDevice, configureRuntime, type RuntimeOptions } from "./runtime/options.ts";
import { resolveDoraDir, writeFileAtomic } from "./xp/folder.ts";

/** Of the clips of the held-out set. */
const DEFAULT_SECONDS = 8;
const DEFAULT_BATCH = 20;

export async function main(argv: string[]): Promise<number> {
  if (argv.includes("--help") || argv.includes("-h")) {
    process.stdout.write(help);
    return 0;
  }
  const folder = await evaluate(parseEvalArguments(argv));
  process.stdout.write(`${relative(process.cwd(), join(folder, "index.html"))}\n`);
  return 0;
}

/** Prints the table and returns the folder of the page, the clips and `results.json`. */
async function evaluate({ model, samples, options }: EvalArguments): Promise<string> {
  const { device = "cuda", jit = "auto", seed = 0, batch = DEFAULT_BATCH } = options;
  configureRuntime({ device: checkedDevice(device), jit: jit as RuntimeOptions["jit"] });
  // TensorFlow is loaded once it is known on which device
  const { loadMusicGen } = await import("./solvers/trained.ts");
  const { evaluateModel, heldOutSpecs } = await import("./eval/run.ts");
  const { musicgen, cfg, signature } = await loadMusicGen(
    model,
    resolveDoraDir(composeTrainConfig([])),
    options.weights as WeightType | undefined,
  );
  const generation = samplingOf(cfg, options);
  const duration = options.duration ?? Math.min(DEFAULT_SECONDS, musicgen.maxDuration);
  const folder = resolve(PROJECT_ROOT, options.out ?? join("evals", signature.replace(/[^\w.-]+/g, "-")));
  makeFolder(join(folder, "clips"));

  const levels = levelOptions(cfg.generate.audio);
  const specs = heldOutSpecs().slice(0, samples);
  const began = performance.now();
  const clips = await evaluateModel(musicgen, specs, {
    batch,
    duration,
    seed,
    generation,
    onProgress: (done) => {
      const toGo = ((performance.now() - began) / 1000 / done) * (specs.length - done);
      terminal.update(
        `generating and listening: ${Math.floor(done)}/${specs.length} clips | ${Math.round(toGo)} s to go`,
      );
    },
    onClip: async ({ id }, sound) => {
      const clip = {
        samples: normalizeAudio([sound], musicgen.sampleRate, levels),
        sampleRate: musicgen.sampleRate,
      };
      await writeAudio(join(folder, "clips", `${id}.wav`), clip);
      const picture = spectrogramPng(clip);
      await writeFileAtomically(join(folder, "clips", `${id}.png`), picture.length, (file) =>
        file.append(picture),
      );
    },
  });
  terminal.clear();

  const title = `${signature}: ${specs.length} held-out descriptions, ${duration} s each`;
  writeFileAtomic(join(folder, "index.html"), resultPage(title, clips));
  const record = { model: signature, duration, seed, ...generation, scores: scores(clips), clips };
  writeFileAtomic(join(folder, "results.json"), `${JSON.stringify(record, null, 2)}\n`);
  process.stdout.write(`${title}\n${alignedText(HEADER, tableRows(clips))}\n`);
  return folder;
}

/** Before the work begins. @throws UserError when it cannot be made */
function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (error) {
    throw new UserError(`out: cannot make the folder ${path}: ${(error as Error).message}`);
  }
}
