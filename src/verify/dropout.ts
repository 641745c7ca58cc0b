/** Dropping conditions, null conditions, the random stream of the decisions, and hashed words: exactly. */
import {
  AttributeDropout,
  type AttributeDropoutConfig,
  ClassifierFreeGuidanceDropout,
  type Droppable,
} from "../models/conditioners/dropout.ts";
import { buildLutTokenizer, hashTrick } from "../models/conditioners/lut_tokenizer.ts";
import { TorchGenerator } from "../random/mt19937.ts";
import { type Checks, check, failed } from "./check.ts";
import { mismatches, treeMismatches } from "./compare.ts";
import type { GoldenFolder } from "./folder.ts";

interface Wav {
  path: (string | null)[];
  [key: string]: unknown;
}
type Sample = Droppable<Wav, string | null>;
type TokenGolden = { tokens: number[][]; mask: number[][] };

export async function* verifyDropout(folder: GoldenFolder): Checks {
  const golden = folder.json("dropout.json");
  const nullify = { wav: () => golden.nullify_wav as Wav, joint_embed: () => null };
  const samples = () => structuredClone(golden.input) as Sample[];
  const guidance = (p: number) => new ClassifierFreeGuidanceDropout<Wav, string | null>(p, nullify);
  const attribute = (config: AttributeDropoutConfig) =>
    new AttributeDropout<Wav, string | null>(config, nullify);
  const some = { text: { genre: 1 }, wav: { self_wav: 1 } };
  const onEval = { args: { active_on_eval: true }, text: { genre: 1 } };

  const results: Record<string, () => Sample[]> = {
    cfg_dropout_p1_train: () => guidance(1).apply(samples(), true),
    cfg_dropout_p1_eval: () => guidance(1).apply(samples(), false),
    attribute_dropout_genre_wav_p1: () => attribute(some).apply(samples(), true),
    attribute_dropout_eval: () => attribute(some).apply(samples(), false),
    attribute_dropout_active_on_eval: () => attribute(onEval).apply(samples(), false),
  };
  const { conditioningChecks } = await import("./conditioning.ts");
  const others = conditioningChecks(golden);
  for (const key of Object.keys(golden)) {
    if (["input", "nullify_wav", "provider_params", "notes"].includes(key)) continue;
    const value = golden[key];
    if (results[key]) yield await check(key, 0, () => treeMismatches(results[key](), value));
    else if (key === "input_unmodified_after") yield await check(key, 0, () => unmodified(samples, results));
    else if (/^torch_rand_seed\d+/.test(key)) {
      yield await check(key, 0, () => {
        const generator = new TorchGenerator(Number(/seed(\d+)/.exec(key)![1]));
        return mismatches(
          (value as number[]).map(() => generator.rand()),
          value as number[],
        );
      });
    } else if (/^cfg_p.*_decisions/.test(key)) {
      yield await check(key, 0, () => {
        const dropout = guidance(Number(/^cfg_p([\d.]+)/.exec(key)![1]));
        const drops = () => Number(dropout.apply(samples(), true)[0].text.description === null);
        return mismatches((value as number[]).map(drops), value as number[]);
      });
    } else if (/^attr_p\(.*_decisions/.test(key)) {
      yield await check(key, 0, () => {
        const dropout = attribute(probabilities(key));
        const expected = value as number[][];
        return treeMismatches(
          expected.map(() => decisions(dropout.apply(samples(), true)[1])),
          expected,
        );
      });
    } else if (key.startsWith("noop_tokenizer_")) {
      yield await check(key, 0, () => tokenMismatches(value as TokenGolden));
    } else if (key === "hash_trick") {
      yield await check(key, 0, () => {
        const words = Object.entries(value as Record<string, number[]>);
        return treeMismatches(
          words.map(([word]) => [40, 128, 1000].map((bins) => hashTrick(word, bins))),
          words.map(([, bins]) => bins),
        );
      });
    } else if (others[key]) {
      const { tolerance, measure } = others[key];
      yield await check(key, tolerance, measure);
    } else yield failed(key, 0, "no check is made for this entry");
  }
}

/** The samples passed in stay as they are. */
function unmodified(samples: () => Sample[], results: Record<string, () => Sample[]>) {
  const input = samples();
  for (const result of Object.values(results)) result();
  return treeMismatches(input, samples());
}

/** Of `attr_p(desc .4, genre .2, wav .5)_…`. */
function probabilities(key: string): AttributeDropoutConfig {
  const p = (name: string) => Number(new RegExp(`${name} ([\\d.]+)`).exec(key)![1]);
  return { text: { description: p("desc"), genre: p("genre") }, wav: { self_wav: p("wav") } };
}

/** Was the description, the genre, the wav dropped? */
function decisions({ text, wav }: Sample): number[] {
  return [text.description === null, text.genre === null, wav.self_wav.path[0] === null].map(Number);
}

/** The golden batches are ["rock", null, "Jeff Buckley"], and nulls only. */
function tokenMismatches(expected: TokenGolden): number {
  const anyText = expected.mask.flat().some((bit) => bit === 1);
  const texts = anyText ? ["rock", null, "Jeff Buckley"] : expected.mask.map(() => null);
  const { ids, mask } = buildLutTokenizer("noop", 40).tokenize(texts);
  return mismatches(ids, expected.tokens.flat()) + mismatches(mask, expected.mask.flat());
}
