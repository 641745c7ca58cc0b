/** Names in state dicts, and loading by name. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { UserError } from "../../src/errors.ts";
import {
  InitializerStream,
  LayerNorm,
  Linear,
  loadState,
  Module,
  Parameter,
  type TensorSource,
  zeros,
} from "../../src/nn/index.ts";

class Block extends Module {
  readonly selfAttn = new Linear(2, 3, new InitializerStream(1), { bias: false });
  readonly layers = [new LayerNorm(2), new LayerNorm(2)];
  readonly byName = { description: new Linear(2, 2, new InitializerStream(1)) };
  readonly layerScale1 = new Parameter([2], zeros);
  readonly runningMean = new Parameter([2], zeros, { trainable: false });

  protected override stateNames() {
    return { layerScale1: "layer_scale_1" };
  }
}

const names = [
  "self_attn.weight",
  "layers.0.weight",
  "layers.0.bias",
  "layers.1.weight",
  "layers.1.bias",
  "by_name.description.weight",
  "by_name.description.bias",
  "layer_scale_1",
  "running_mean",
];

/** A source that has the block's tensors, filled with 7, and differs from it by `changes` (null: not there). */
function source(changes: Record<string, number[] | null> = {}): TensorSource {
  const shapes = Object.fromEntries(new Block().namedParameters().map(([name, { shape }]) => [name, shape]));
  for (const [name, shape] of Object.entries(changes)) {
    if (shape === null) delete shapes[name];
    else shapes[name] = shape;
  }
  return {
    path: "weights.safetensors",
    names: Object.keys(shapes),
    shape: (name) => shapes[name],
    readFloat32: (name) => new Float32Array(shapes[name].reduce((a, b) => a * b, 1)).fill(7),
  };
}

test("names follow the fields in snake case, arrays by index, records by key; buffers are named but not trained", () => {
  const block = new Block();
  assert.deepEqual(
    block.namedParameters().map(([name]) => name),
    names,
  );
  assert.equal(block.parameters().length, names.length - 1);
});

test("loading replaces every parameter and buffer", () => {
  const block = new Block();
  loadState(block, source());
  for (const [, parameter] of block.namedParameters())
    assert.ok(parameter.read().every((value) => value === 7));
});

test("missing, unexpected and misshapen tensors are listed by name, and nothing is changed", () => {
  const block = new Block();
  const wrong = source({ "layers.0.bias": null, extra: [1], "self_attn.weight": [3, 3] });
  assert.throws(
    () => loadState(block, wrong),
    (error: Error) =>
      error instanceof UserError &&
      /weights\.safetensors/.test(error.message) &&
      /missing: layers\.0\.bias/.test(error.message) &&
      /unexpected: extra/.test(error.message) &&
      /self_attn\.weight \[3,3\] instead of \[3,2\]/.test(error.message),
  );
  assert.ok(block.runningMean.read().every((value) => value === 0));
});

test("a stream of initial values depends on its seed and its place, not on what is drawn when", () => {
  const make = (seed: number, before: number) => {
    const init = new InitializerStream(seed);
    const others = Array.from({ length: before }, () => new Linear(2, 2, init, { bias: false }));
    const linear = new Linear(4, 4, init, { bias: false });
    if (before > 0) others[0].weight.read();
    return [...linear.weight.read()];
  };
  assert.deepEqual(make(1, 1), make(1, 1));
  assert.notDeepEqual(make(1, 1), make(2, 1));
  assert.notDeepEqual(make(1, 0), make(1, 1));
});

test("truncated normal values have the asked deviation and stay within three of them", () => {
  const parameter = new Parameter([100, 100], new InitializerStream(3).truncatedNormal(0.5));
  const drawn = [...parameter.read()];
  const mean = drawn.reduce((a, b) => a + b, 0) / drawn.length;
  const deviation = Math.sqrt(drawn.reduce((a, b) => a + (b - mean) ** 2, 0) / drawn.length);
  assert.ok(Math.abs(mean) < 0.02 && Math.abs(deviation - 0.5 * 0.9866) < 0.01, `${mean} ${deviation}`);
  assert.ok(drawn.every((value) => Math.abs(value) <= 1.5001));
});
