/** Greedy generation token for token, the conditions of guidance, and the distributions that tokens are drawn from. */
import type { ConditionTensors } from "../models/conditioners/base.ts";
import { columns } from "../models/lm/frames.ts";
import { type ConditionStreams, Generator } from "../models/lm/generation.ts";
import { samplingDistribution } from "../models/lm/sampling.ts";
import type { Tensor } from "../runtime/index.ts";
import { type Checks, check, failed, once } from "./check.ts";
import { maxDifference, mismatches } from "./compare.ts";
import type { GoldenFolder, Json } from "./folder.ts";
import type { GoldenLM } from "./lm.ts";
import { type GoldenCondition, prepareRows } from "./lm_conditions.ts";
import { tensorOf } from "./tensors.ts";

const tolerances = { condition: 1e-5, probability: 1e-6 };

export async function* verifyGeneration(folder: GoldenFolder, golden: () => GoldenLM): Checks {
  if (folder.has("generate.safetensors")) {
    yield* verifyGuidanceConditions(folder, golden);
    yield* verifyGreedy(folder, golden);
  }
  if (folder.has("sampling.safetensors")) yield* verifySampling(folder);
}

/** `cfg_*` are the conditions of the batch followed by as many null ones, `null_only_*` the null ones alone. */
async function* verifyGuidanceConditions(folder: GoldenFolder, golden: () => GoldenLM): Checks {
  const batches = {
    cfg: once(() => forward(golden(), [...indexes(golden()), ...nulls(golden())])),
    null_only: once(() => forward(golden(), nulls(golden()))),
  };
  for (const name of folder.namesInOrder("generate")) {
    const [, batch, kind, condition] = /^(cfg|null_only)_(cond|cond_mask|mask)\.(.+)$/.exec(name) ?? [];
    if (batch === undefined) continue;
    const computed = () => batches[batch as keyof typeof batches]()[condition];
    const expected = () => folder.values("generate", name);
    if (kind === "cond") {
      yield await check(name, tolerances.condition, () =>
        maxDifference(computed().embedding.dataSync(), expected()),
      );
    } else yield await check(name, 0, () => mismatches(computed().mask.dataSync(), expected()));
  }
}

function forward(golden: GoldenLM, rows: (number | null)[]): Record<string, ConditionTensors> {
  return golden.lm.conditionProvider.forward(prepareRows(golden.conditions, rows));
}

const indexes = ({ codes }: GoldenLM) => Array.from({ length: codes.shape[0] }, (_, row) => row);
const nulls = (golden: GoldenLM) => indexes(golden).map(() => null);

async function* verifyGreedy(folder: GoldenFolder, golden: () => GoldenLM): Checks {
  const file = folder.tensors("generate");
  const generator = once(() => new Generator(golden().lm));
  for (const name of folder.namesInOrder("generate").filter((tensor) => tensor.startsWith("greedy"))) {
    const [, cfg, double, betaInName, options, prompt, removed] =
      /^greedy(?:_cfg([\d.]+))?(_beta([\d.]+)?|_double)?(_two_step|_nocfg|_uncond)?(?:_prompt(\d+))?(_removed)?$/.exec(
        name,
      ) ?? [];
    const isKnown = name === "greedy" || cfg !== undefined || options !== undefined || prompt !== undefined;
    if (!isKnown || (double !== undefined && options !== undefined)) {
      yield failed(name, 0, "no check is made for this way of generating");
      continue;
    }
    const cfgCoefBeta = double === undefined ? null : betaOf(folder, name, betaInName);
    if (cfgCoefBeta === undefined) {
      yield failed(
        name,
        0,
        "double guidance without its cfg_coef_beta: neither the name nor meta.json has it",
      );
      continue;
    }
    yield await check(name, 0, async () => {
      const [batch, , length] = file.shape(name);
      const cfgCoef = Number(cfg ?? 1);
      const promptFrames = Number(prompt ?? 0);
      const { codes } = await generator().generate(
        streams(golden(), { cfgCoef, cfgCoefBeta, options, batch }),
        batch,
        {
          use_sampling: false,
          temp: 1,
          top_k: 0,
          top_p: 0,
          cfgCoef,
          cfgCoefBeta: cfgCoefBeta ?? undefined,
          seed: 0,
          maxGenLen: removed ? length + promptFrames : length,
          prompt: promptFrames > 0 ? promptOf(golden(), promptFrames) : null,
          removePrompts: removed !== undefined,
        },
      );
      return mismatches(codes, folder.values("generate", name));
    });
  }
}

/** Double guidance's coefficient: in the name, or in meta.json with the tensor's keywords or alone. */
function betaOf({ meta }: GoldenFolder, name: string, inName: string | undefined): number | undefined {
  if (inName !== undefined) return Number(inName);
  const sections = [meta.generate, meta.generate_kwargs, meta.kwargs] as (Json | undefined)[];
  const places = [...sections.map((section) => section?.[name]), ...sections, meta] as (Json | undefined)[];
  const found = places.find((place) => typeof place?.cfg_coef_beta === "number");
  return found?.cfg_coef_beta as number | undefined;
}

interface Guided {
  cfgCoef: number;
  /** Double guidance; null: single. */
  cfgCoefBeta: number | null;
  options: string | undefined;
  batch: number;
}

function streams(golden: GoldenLM, { cfgCoef, cfgCoefBeta, options, batch }: Guided): ConditionStreams {
  const prepare = (rows: (number | null)[]) => prepareRows(golden.conditions, rows);
  const rows = indexes(golden).slice(0, batch);
  const none = rows.map(() => null);
  if (cfgCoefBeta !== null) {
    const prepared = golden.conditions.map((condition) => {
      const middle = isAudio(condition) ? rows : none;
      return [condition.name, condition.prepare([...rows, ...middle, ...none])];
    });
    return { guidance: "double", streams: [Object.fromEntries(prepared)] };
  }
  if (options === "_uncond") return { guidance: "none", streams: [prepare(none)] };
  if (options === "_nocfg" || cfgCoef === 1) return { guidance: "none", streams: [prepare(rows)] };
  if (options === "_two_step") return { guidance: "two-step", streams: [prepare(rows), prepare(none)] };
  return { guidance: "joint", streams: [prepare([...rows, ...none])] };
}

/** Whether a condition stays when texts are dropped; recorded features do not say, so AudioCraft's name for melodies does. */
function isAudio({ name, conditioner }: GoldenCondition): boolean {
  return conditioner.kind !== "text" || name === "self_wav";
}

/** The first frames of the batch's codes. */
function promptOf({ codes }: GoldenLM, frames: number) {
  const [batch, codebooks, length] = codes.shape as [number, number, number];
  const values = codes.dataSync() as Int32Array;
  return { codes: columns(values, batch * codebooks, length, 0, frames), frames };
}

/** `probs_tT`, `topkK_tT`; `toppP_tT_sorted` with the tokens of its columns in `_sort_idx`. */
async function* verifySampling(folder: GoldenFolder): Checks {
  const logits = () => tensorOf(folder, "sampling", "logits");
  for (const name of folder.namesInOrder("sampling")) {
    if (name === "logits") continue;
    const [, k, p, temp, what] =
      /^(?:probs|topk(\d+)|topp([\d.]+))_t([\d.]+?)(_sorted|_sort_idx)?$/.exec(name) ?? [];
    if (temp === undefined) {
      yield failed(name, tolerances.probability, "no check is made for this distribution");
      continue;
    }
    const computed = () =>
      samplingDistribution(logits(), {
        use_sampling: true,
        temp: Number(temp),
        top_k: Number(k ?? 0),
        top_p: Number(p ?? 0),
      });
    const expected = () => folder.values("sampling", name);
    if (what === "_sort_idx") {
      yield await check(name, 0, () => mismatches((computed().tokens as Tensor).dataSync(), expected()));
    } else {
      yield await check(name, tolerances.probability, () =>
        maxDifference(computed().probabilities.dataSync(), expected()),
      );
    }
  }
}
