/** The conditioners of a golden language model, and the conditions of its batch. */
import { Conditioner, crossBias, type PreparedCondition } from "../models/conditioners/base.ts";
import { ConditioningProvider, type PreparedConditions } from "../models/conditioners/provider.ts";
import { T5Conditioner } from "../models/conditioners/t5.ts";
import { parseT5Config } from "../models/t5/config.ts";
import { T5Encoder } from "../models/t5/encoder.ts";
import { Embedding, InitializerStream, loadState, zeros } from "../nn/index.ts";
import { type Tensor, tf } from "../runtime/index.ts";
import type { GoldenFolder, Json } from "./folder.ts";
import { melodyCondition } from "./lm_melody.ts";
import { tensorOf } from "./tensors.ts";

const undrawn = new InitializerStream(0);
const prefix = "condition_provider.conditioners.";

/** One condition of the batch: its conditioner, and the host's half of its work for rows of the batch. */
export interface GoldenCondition {
  name: string;
  conditioner: Conditioner;
  /** Rows by index; null is a row without this condition. */
  prepare(rows: readonly (number | null)[]): PreparedCondition;
}

/** The conditions that `fuse` names, in the order in which the original made them. */
export function goldenConditions(
  folder: GoldenFolder,
  outputDim: number,
  names: string[],
): GoldenCondition[] {
  const made = folder
    .namesInOrder("outputs")
    .flatMap((name) => (name.startsWith("cond.") ? name.slice("cond.".length) : []));
  const place = (name: string) => (made.includes(name) ? made.indexOf(name) : made.length);
  return [...names]
    .sort((a, b) => place(a) - place(b))
    .map((name) => goldenCondition(folder, name, outputDim));
}

export function providerOf(conditions: GoldenCondition[]): ConditioningProvider {
  return new ConditioningProvider(
    Object.fromEntries(conditions.map(({ name, conditioner }) => [name, conditioner])),
  );
}

export function prepareRows(
  conditions: GoldenCondition[],
  rows: readonly (number | null)[],
): PreparedConditions {
  return Object.fromEntries(conditions.map(({ name, prepare }) => [name, prepare(rows)]));
}

function goldenCondition(folder: GoldenFolder, name: string, outputDim: number): GoldenCondition {
  const inputs = folder.tensors("inputs");
  const own = inputs.names.filter((input) => input.startsWith(`${name}.`));
  const weights = folder.tensors("weights");
  const ids = own.find((input) => inputs.dtype(input) === "I32" && /ids|tokens$/.test(input));
  const hasTable = weights.has(`${prefix}${name}.embed.weight`);
  if (ids !== undefined && !hasTable && folder.has("t5_weights.safetensors")) {
    return t5Condition(folder, name, ids, outputDim);
  }
  const melody = melodyCondition(folder, name, outputDim);
  if (melody !== null) return melody;
  const features = own.find((input) => inputs.dtype(input) === "F32" && inputs.shape(input).length === 3);
  const input = hasTable ? (ids ?? features) : features;
  if (input === undefined) {
    throw new Error(
      `condition "${name}": inputs.safetensors holds neither its ids nor its features (${own.join(", ") || "nothing"} of it)`,
    );
  }
  return recordedCondition(folder, name, input, outputDim);
}

/** The real T5 conditioner, over a tokenizer that knows the texts of the batch. */
function t5Condition(folder: GoldenFolder, name: string, ids: string, outputDim: number): GoldenCondition {
  const config = (folder.meta.t5_config ?? {}) as Json;
  const encoder = new T5Encoder(parseT5Config(config, folder.file("meta.json")));
  loadState(encoder, folder.tensors("t5_weights"), { ignore: () => true });
  const tokens = rowsOf(folder, "inputs", ids);
  const masks = rowsOf(folder, "inputs", maskName(folder, name) ?? ids);
  return textCondition(name, encoder, { tokens, masks, config }, outputDim);
}

export interface TokenRows {
  tokens: number[][];
  /** 0 on padding, and on the whole of a row without text. */
  masks: number[][];
  /** Of T5: its special tokens. */
  config: Json;
}

/** T5's condition of texts that are known by their tokens alone. */
export function textCondition(
  name: string,
  encoder: T5Encoder,
  { tokens, masks, config }: TokenRows,
  outputDim: number,
): GoldenCondition {
  const texts = masks.map((mask, row) => (mask.some((bit) => bit !== 0) ? `${row}` : null));
  const end = (config.eos_token_id as number | undefined) ?? 1;
  const padding = (config.pad_token_id as number | undefined) ?? 0;
  const tokenizer = {
    encodeBatch(batch: readonly string[]) {
      const rows = batch.map((text) =>
        text === "" ? [end] : tokens[Number(text)].filter((_, i) => masks[Number(text)][i] !== 0),
      );
      const length = batch.every((text) => text === "") ? 1 : tokens[0].length;
      const ids = new Int32Array(rows.length * length).fill(padding);
      const mask = new Float32Array(rows.length * length);
      for (const [i, row] of rows.entries()) {
        ids.set(row, i * length);
        mask.fill(1, i * length, i * length + row.length);
      }
      return { ids, mask, length };
    },
  };
  const conditioner = new T5Conditioner({ encoder, tokenizer, outputDim }, undrawn);
  const prepare = (rows: readonly (number | null)[]) =>
    conditioner.prepare(
      rows.map((row) => (row === null ? null : texts[row])),
      { training: false },
    );
  return { name, conditioner: conditioner as unknown as Conditioner, prepare };
}

/** Token ids through a table, or features as they are; projected and masked as every conditioner does. */
class RecordedConditioner extends Conditioner<"text"> {
  readonly kind = "text";
  readonly embed: Embedding | null;

  constructor(dim: number, outputDim: number, bins: number | null) {
    super(dim, outputDim, undrawn, zeros);
    this.embed = bins === null ? null : new Embedding(bins, dim, zeros);
  }

  override prepare(): PreparedCondition {
    throw new Error("the recorded inputs are given");
  }

  override forward(prepared: PreparedCondition) {
    const hidden = this.embed ? this.embed.forward(prepared.input) : prepared.input;
    return this.project(hidden, prepared);
  }
}

/** A provider of one condition whose features are given, with weights of these sizes. */
export function recordedProvider(name: string, dim: number, outputDim: number): ConditioningProvider {
  const conditioner = new RecordedConditioner(dim, outputDim, null);
  return new ConditioningProvider({ [name]: conditioner as unknown as Conditioner });
}

function recordedCondition(
  folder: GoldenFolder,
  name: string,
  input: string,
  outputDim: number,
): GoldenCondition {
  const weights = folder.tensors("weights");
  const table = `${prefix}${name}.embed.weight`;
  const [, dim] = weights.shape(`${prefix}${name}.output_proj.weight`);
  const bins = weights.has(table) ? weights.shape(table)[0] : null;
  const conditioner = new RecordedConditioner(dim, outputDim, bins);
  return recorded(name, conditioner, () => {
    const values = tensorOf(folder, "inputs", input);
    const maskFrom = maskName(folder, name);
    const mask = maskFrom
      ? (tensorOf(folder, "inputs", maskFrom).toFloat() as Tensor)
      : recordedMask(folder, name, values);
    return { values, mask };
  });
}

/** A condition whose features [B, L, dim] are given; all of them count. */
export function recordedFeatures(
  name: string,
  dim: number,
  outputDim: number,
  read: () => Tensor,
): GoldenCondition {
  return recorded(name, new RecordedConditioner(dim, outputDim, null), () => {
    const values = read();
    return { values, mask: tf.ones([values.shape[0], values.shape[1]!]) };
  });
}

function recorded(
  name: string,
  conditioner: RecordedConditioner,
  read: () => { values: Tensor; mask: Tensor },
): GoldenCondition {
  const prepare = (rows: readonly (number | null)[]): PreparedCondition => {
    const { values, mask } = read();
    // without any condition there is one step of nothing
    const length = rows.every((row) => row === null) ? 1 : values.shape[1]!;
    const row = (x: Tensor, index: number | null) =>
      index === null
        ? (tf.zeros([1, length, ...x.shape.slice(2)], x.dtype as "float32") as Tensor)
        : (tf.slice(x, [index, 0], [1, length]) as Tensor);
    const gather = (x: Tensor) =>
      tf.concat(
        rows.map((index) => row(x, index)),
        0,
      ) as Tensor;
    return { input: gather(values), mask: gather(mask), crossBias: crossBias(length) };
  };
  return { name, conditioner: conditioner as unknown as Conditioner, prepare };
}

/** The mask of what is there, as the outputs have it; all ones where they do not. */
function recordedMask(folder: GoldenFolder, name: string, values: Tensor): Tensor {
  const outputs = folder.tensors("outputs");
  if (outputs.has(`cond_mask.${name}`)) {
    return tensorOf(folder, "outputs", `cond_mask.${name}`).toFloat() as Tensor;
  }
  return tf.ones([values.shape[0], values.shape[1]!]);
}

function maskName(folder: GoldenFolder, name: string): string | undefined {
  const { names } = folder.tensors("inputs");
  return names.find((input) => input.startsWith(`${name}.`) && input.endsWith("mask"));
}

/** An integer tensor [B, L] as rows. */
export function rowsOf(folder: GoldenFolder, file: string, name: string): number[][] {
  const [rows, length] = folder.tensors(file).shape(name);
  const values = [...folder.values(file, name)];
  return Array.from({ length: rows }, (_, row) => values.slice(row * length, (row + 1) * length));
}
