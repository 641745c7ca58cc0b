/** First weights by their statistics, and how parameters are named and grouped. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { LMConfig } from "../../../src/models/lm/lm.ts";
import { close } from "../../close.ts";
import { plainLM } from "./golden.ts";

const wide = { dim: 128, num_heads: 4, num_layers: 3, hidden_scale: 4, card: 512, n_q: 2 };

/** The values of one parameter: their deviation, and the largest. */
function statistics(options: Partial<LMConfig>) {
  const lm = plainLM({ ...wide, ...options });
  const parameters = new Map(lm.namedParameters());
  return (name: string) => {
    const values = Float32Array.from(parameters.get(name)!.read());
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    return { std: Math.sqrt(variance), largest };
  };
}

/** What is left of a normal distribution's deviation when it is cut at 3. */
const cut = Math.sqrt(1 - (6 * Math.exp(-4.5)) / (Math.sqrt(2 * Math.PI) * 0.9973002039367398));

function assertNormal({ std, largest }: { std: number; largest: number }, expected: number): void {
  close([std / expected], [cut], 0.02);
  assert.ok(largest <= 3 * expected * (1 + 1e-5), `${largest} is beyond 3 x ${expected}`);
  assert.ok(largest > 2.7 * expected, "the tails are there");
}

function assertUniform({ std, largest }: { std: number; largest: number }, bound: number): void {
  close([std], [bound / Math.sqrt(3)], 0.02 * bound);
  assert.ok(largest <= bound && largest > 0.98 * bound);
}

test("gaussian: std 1/sqrt(fan in), cut at 3 std, in layer i divided by sqrt(2 (i + 1)); q, k and v keep PyTorch's default", () => {
  const of = statistics({});
  assertNormal(of("emb.0.weight"), 1 / Math.sqrt(128));
  assertNormal(of("linears.1.weight"), 1 / Math.sqrt(128));
  for (const layer of [0, 1, 2]) {
    const depth = Math.sqrt(2 * (layer + 1));
    const name = `transformer.layers.${layer}`;
    assertNormal(of(`${name}.linear1.weight`), 1 / Math.sqrt(128) / depth);
    assertNormal(of(`${name}.linear2.weight`), 1 / Math.sqrt(512) / depth);
    assertNormal(of(`${name}.self_attn.out_proj.weight`), 1 / Math.sqrt(128) / depth);
    assertUniform(of(`${name}.self_attn.in_proj_weight`), 1 / Math.sqrt(128));
  }
});

test("depthwise_init=global divides by sqrt(2 layers) everywhere, null by nothing", () => {
  for (const [depthwise_init, divisor] of [
    ["global", Math.sqrt(6)],
    [null, 1],
  ] as const) {
    const of = statistics({ depthwise_init });
    assertNormal(of("transformer.layers.0.linear1.weight"), 1 / Math.sqrt(128) / divisor);
  }
});

test("uniform: U(-sqrt(3) std, sqrt(3) std)", () => {
  assertUniform(statistics({ weight_init: "uniform" })("emb.0.weight"), Math.sqrt(3 / 128));
});

test("without weight_init: PyTorch's defaults, N(0, 1) for embeddings, Xavier for the attention module's q, k and v", () => {
  const none = { weight_init: null, depthwise_init: null, zero_bias_init: false };
  const of = statistics({
    ...none,
    memory_efficient: false,
    bias_ff: true,
    bias_attn: true,
    bias_proj: true,
  });
  close([of("emb.0.weight").std], [1], 0.02);
  assertUniform(of("linears.0.weight"), 1 / Math.sqrt(128));
  const { largest } = of("linears.0.bias");
  assert.ok(largest <= 1 / Math.sqrt(128) && largest > 0.95 / Math.sqrt(128));
  assertUniform(of("transformer.layers.0.linear2.weight"), 1 / Math.sqrt(512));
  assertUniform(of("transformer.layers.0.self_attn.mha.in_proj_weight"), Math.sqrt(6 / (4 * 128)));
  assertUniform(of("transformer.layers.0.self_attn.mha.out_proj.weight"), 1 / Math.sqrt(128));
  assert.equal(of("transformer.layers.0.self_attn.mha.in_proj_bias").largest, 0);
  assert.equal(of("transformer.layers.0.self_attn.mha.out_proj.bias").largest, 0);
});

test("zero_bias_init zeroes the biases of what is re-initialised", () => {
  const biases = { bias_ff: true, bias_attn: true, bias_proj: true };
  for (const name of ["linears.0.bias", "transformer.layers.0.linear1.bias"]) {
    assert.equal(statistics({ ...biases })(name).largest, 0);
    assert.ok(statistics({ ...biases, zero_bias_init: false })(name).largest > 0);
  }
});

test("names and shapes are those of the original's state dicts", () => {
  const shapes = (options: Partial<LMConfig>) =>
    Object.fromEntries(
      plainLM(options)
        .namedParameters()
        .map(([name, { shape }]) => [name, shape]),
    );
  const layer = "transformer.layers.0";
  assert.deepEqual(shapes({ kv_repeat: 2 })[`${layer}.self_attn.in_proj_weight`], [32, 16]);
  const rope = shapes({ positional_embedding: "rope", xpos: true, cross_attention: true });
  const buffers = Object.keys(rope).filter((name) => name.includes("rope"));
  assert.deepEqual(
    buffers.filter((name) => !name.includes("layers.1")),
    [
      "transformer.rope.frequencies",
      "transformer.rope.xpos.decay_rates",
      `${layer}.self_attn.rope.frequencies`,
      `${layer}.self_attn.rope.xpos.decay_rates`,
    ],
  );
  assert.ok(`${layer}.self_attn.mha.in_proj_weight` in shapes({ memory_efficient: false }));
  assert.ok(`${layer}.self_attn.in_proj_weight` in shapes({ memory_efficient: false, custom: true }));
  assert.deepEqual(shapes({ activation: "swiglu", hidden_scale: 4 })[`${layer}.linear2.weight`], [16, 32]);
  assert.deepEqual(shapes({ layer_scale: 0.1 })[`${layer}.layer_scale_2.scale`], [16]);
});

test("parameter groups: the others, each codebook's embeddings, the transformer; rates only where they are set", () => {
  const lm = plainLM({ emb_lr: 0.5, weight_decay: 0.25, positional_embedding: "rope" });
  const groups = lm.parameterGroups();
  assert.deepEqual(
    groups.map(({ parameters, ...rates }) => [parameters[0][0], parameters.length, rates]),
    [
      ["out_norm.weight", 6, {}],
      ["emb.0.weight", 1, { lr: 0.5 }],
      ["emb.1.weight", 1, { lr: 0.5 }],
      ["emb.2.weight", 1, { lr: 0.5 }],
      ["emb.3.weight", 1, { lr: 0.5 }],
      ["transformer.layers.0.self_attn.in_proj_weight", 16, { weightDecay: 0.25 }],
    ],
  );
  const grouped = groups.flatMap(({ parameters }) => parameters.map(([, parameter]) => parameter));
  assert.deepEqual(new Set(grouped), new Set(lm.parameters()));
  assert.equal(grouped.length, lm.parameters().length);
});
