/** transformers' generation: greedy codes and audio, guided scores, prompts, no condition, the mask of delayed codebooks. */
import { type ConditionStreams, Generator } from "../models/lm/generation.ts";
import { guided as combined } from "../models/lm/guidance.ts";
import { hfFrames } from "../models/pretrained/index.ts";
import { type Tensor, tf } from "../runtime/index.ts";
import { type Checks, check, failed, once } from "./check.ts";
import { values, wrongCodes } from "./codec.ts";
import { maxDifference, mismatches } from "./compare.ts";
import type { GoldenFolder } from "./folder.ts";
import { type HfGolden, hfTolerances, logitsOf } from "./hf_musicgen.ts";
import { prepareRows } from "./lm_conditions.ts";
import { tensorOf } from "./tensors.ts";

/** What a generation's name says. */
interface Way {
  guidance: number;
  rows: (number | null)[];
  prompt: boolean;
}

export async function* verifyHfGeneration(folder: GoldenFolder, model: () => HfGolden): Checks {
  const outputs = folder.tensors("outputs");
  const generator = once(() => new Generator(model().lm));
  const names = outputs.names.flatMap((name) => /^gen\.(.+)\.codes$/.exec(name)?.[1] ?? []);
  for (const name of names) {
    const at = `gen.${name}`;
    const codes = () => tensorOf(folder, "outputs", `${at}.codes`).squeeze([0]) as Tensor;
    const way = wayOf(folder, name);
    if (way === null) {
      yield failed(`${at}.codes`, 0, "no check is made for this way of generating");
      continue;
    }
    if (outputs.has(`${at}.encoded`)) {
      yield await check(`${at}.encoded`, 0, () => {
        const wav = tensorOf(folder, "outputs", `${at}.input_values`);
        const expected = tensorOf(folder, "outputs", `${at}.encoded`).squeeze([0]) as Tensor;
        const { codec, compression } = model();
        const ours = compression.encode(wav).codes;
        if (compression.channels === 2) return mismatches(ours.dataSync(), expected.dataSync());
        return wrongCodes(ours, expected, codec.encodeLatent(wav), codec);
      });
    }
    yield await check(`${at}.codes`, 0, async () => {
      const generated = await generate(folder, model(), generator(), at, way);
      return mismatches(generated, codes().dataSync());
    });
    if (outputs.has(`${at}.audio`)) {
      yield await check(`${at}.audio`, hfTolerances.audio, () =>
        maxDifference(
          values(() => model().compression.decode(codes())),
          folder.values("outputs", `${at}.audio`),
        ),
      );
    }
    if (outputs.has(`${at}.first_logits`)) {
      yield await check(`${at}.first_logits`, hfTolerances.hidden, () =>
        maxDifference(firstLogits(model(), way), folder.values("outputs", `${at}.first_logits`)),
      );
    }
    if (outputs.has(`${at}.scores`)) {
      yield await check(`${at}.scores`, hfTolerances.hidden, () =>
        maxDifference(scores(model(), way, codes()), folder.values("outputs", `${at}.scores`)),
      );
    }
  }
  if (outputs.has("delay.mask")) yield* verifyDelayMask(folder, model);
}

/** `greedy_gG`, `_bB` for only the first B rows; `prompt…`; `uncond…`. transformers' default guidance is 3. */
function wayOf(folder: GoldenFolder, name: string): Way | null {
  const outputs = folder.tensors("outputs");
  const [, batch] = outputs.shape(`gen.${name}.codes`);
  const rows = Array.from({ length: batch }, (_, row) => row);
  if (/^uncond/.test(name)) return { guidance: 1, rows: rows.map(() => null), prompt: false };
  if (!/^(greedy|prompt)/.test(name)) return null;
  const guidance = Number(/_g([\d.]+)/.exec(name)?.[1] ?? defaultGuidance(folder));
  return { guidance, rows, prompt: outputs.has(`gen.${name}.input_values`) };
}

function defaultGuidance(folder: GoldenFolder): number {
  const file = "model/generation_config.json";
  const guidance = folder.has(file) ? folder.json(file).guidance_scale : undefined;
  return typeof guidance === "number" ? guidance : 3;
}

async function generate(
  folder: GoldenFolder,
  golden: HfGolden,
  generator: Generator,
  at: string,
  way: Way,
): Promise<Int32Array> {
  const [, batch, , frames] = folder.tensors("outputs").shape(`${at}.codes`);
  const encoded = way.prompt ? tensorOf(folder, "outputs", `${at}.encoded`) : null;
  const { codes } = await generator.generate(streams(golden, way), batch, {
    use_sampling: false,
    temp: 1,
    top_k: 0,
    top_p: 0,
    cfgCoef: way.guidance,
    seed: 0,
    maxGenLen: frames,
    prompt: encoded && { codes: encoded.dataSync() as Int32Array, frames: encoded.shape.at(-1)! },
  });
  return codes;
}

function streams({ conditions }: HfGolden, { guidance, rows }: Way): ConditionStreams {
  const prepare = (all: (number | null)[]) => prepareRows(conditions, all);
  if (guidance === 1) return { guidance: "none", streams: [prepare(rows)] };
  return { guidance: "joint", streams: [prepare([...rows, ...rows.map(() => null)])] };
}

/** Of the step that predicts the first codes: [rows, K, card], rows without condition behind the others. */
function firstLogits(golden: HfGolden, way: Way): Float32Array {
  const { lm, padToken } = golden;
  const [batch] = streams(golden, way).streams;
  const rows = batch.description.mask.shape[0];
  return logitsOf(lm, tf.fill([rows, lm.config.n_q, 1], padToken, "int32") as Tensor, batch);
}

/** Guided logits of every step of what was generated, [steps, B, K, card]. */
function scores(golden: HfGolden, way: Way, codes: Tensor): ArrayLike<number> {
  const { lm, padToken } = golden;
  const [batch, codebooks, frames] = codes.shape as [number, number, number];
  const pattern = lm.patterns.getPattern(frames);
  const built = pattern.buildSequence(codes.dataSync() as Int32Array, [batch, codebooks, frames], padToken);
  const sequence = tf.tensor3d(built.codes, [batch, codebooks, built.length], "int32");
  const steps = built.length - 1;
  const inputs = tf.slice(sequence, [0, 0, 0], [batch, codebooks, steps]) as Tensor;
  const guided = way.guidance !== 1;
  const [prepared] = streams(golden, way).streams;
  const all = logitsOf(lm, guided ? tf.concat([inputs, inputs], 0) : inputs, prepared);
  const rows = (guided ? 2 : 1) * batch;
  const logits = tf.tensor4d(all, [
    rows,
    codebooks,
    steps,
    all.length / (rows * codebooks * steps),
  ]) as Tensor;
  let result = logits;
  if (guided) {
    result = combined(tf.split(logits, 2, 0) as Tensor[], tf.scalar(way.guidance), tf.scalar(1));
  }
  return tf.transpose(result, [2, 0, 1, 3]).dataSync();
}

/** transformers' sequence of `delay.input_ids_in`, whose first column is the start, brought to the mask's length. */
async function* verifyDelayMask(folder: GoldenFolder, model: () => HfGolden): Checks {
  const outputs = folder.tensors("outputs");
  const built = once(() => {
    const { lm, padToken } = model();
    const [codebooks, given] = outputs.shape("delay.input_ids_in");
    const [, length] = outputs.shape("delay.mask");
    const ids = folder.values("outputs", "delay.input_ids_in");
    const frames = hfFrames(length - 1, codebooks);
    const codes = new Int32Array(codebooks * frames).fill(-1);
    for (let k = 0; k < codebooks; k++) {
      for (let t = 0; t + 1 < given; t++) codes[k * frames + t] = ids[k * given + t + 1];
    }
    const pattern = lm.patterns.getPattern(frames);
    const sequence = pattern.buildSequence(codes, [1, codebooks, frames], padToken);
    return { ...sequence, codebooks, start: pattern.firstStepWithTimestep(given - 1)! };
  });
  const expected = (name: string) => folder.values("outputs", name);
  yield await check("delay.mask", 0, () => mismatches(built().codes, expected("delay.mask")));
  if (outputs.has("delay.input_ids")) {
    yield await check("delay.input_ids", 0, () => {
      const { codes, codebooks, length, start } = built();
      const rows = Array.from({ length: codebooks }, (_, k) => [
        ...codes.subarray(k * length, k * length + start),
      ]);
      return mismatches(rows.flat(), expected("delay.input_ids"));
    });
  }
  if (outputs.has("delay.applied")) {
    yield await check("delay.applied", 0, () => {
      const applied = expected("delay.applied");
      const { codes } = built();
      if (codes.length !== applied.length) throw new Error("the mask has another length");
      // where the mask leaves it open, any token may stand
      return codes.filter((code, i) => code !== -1 && code !== applied[i]).length;
    });
  }
}
