/** Properties of the transformer that hold whatever its weights are. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { LMConfig } from "../../../src/models/lm/lm.ts";
import { RotaryEmbedding, rotate } from "../../../src/models/lm/rope.ts";
import { Transformer } from "../../../src/models/lm/transformer.ts";
import { InitializerStream, maskedScore, withDropout } from "../../../src/nn/index.ts";
import {
  autocast,
  configureRuntime,
  jit,
  type Tensor,
  tf,
  valueAndGradients,
} from "../../../src/runtime/index.ts";
import { close } from "../../close.ts";
import { defaults, lossOf, plainLM } from "./golden.ts";

const transformer = (options: Partial<LMConfig> = {}) =>
  new Transformer({ ...defaults, ...options }, new InitializerStream(3));

const noise = (shape: number[], seed = 5) => tf.randomNormal(shape, 0, 1, "float32", seed) as Tensor;

for (const positional_embedding of ["sin", "rope"]) {
  for (const past_context of [null, 10]) {
    test(`gradients reach no step after the query and none before past_context=${past_context} (${positional_embedding})`, () => {
      const model = transformer({ num_layers: 1, past_context, positional_embedding });
      const x = noise([1, 20, 16]);
      for (const k of [0, 10, 15, 19]) {
        const output = (input: Tensor) =>
          tf.sum(tf.slice(model.forward(input, null), [0, k, 0], [1, 1, 16])) as never;
        const gradient = tf.grad(output as never)(x);
        const reached = tf.sum(tf.abs(gradient), -1).dataSync();
        const expected = Array.from(
          { length: 20 },
          (_, i) => i <= k && (past_context === null || k - i <= past_context),
        );
        assert.deepEqual(
          Array.from(reached, (sum) => sum > 0),
          expected,
          `step ${k}`,
        );
      }
    });
  }
}

test("cross-attention to zeros is no cross-attention, to anything else it is one", () => {
  const model = transformer({ cross_attention: true });
  const without = transformer();
  const [x, source] = [noise([2, 6, 16]), noise([2, 5, 16], 6)];
  // The same weights but for cross-attention.
  const weights = new Map(model.namedParameters());
  for (const [name, parameter] of without.namedParameters()) parameter.load(weights.get(name)!.read());
  const plain = without.forward(x, null).dataSync();
  const cross = (s: Tensor) => model.forward(x, { source: s, bias: null }).dataSync();
  assert.deepEqual(cross(tf.zerosLike(source)), plain);
  assert.ok(Math.abs(cross(source)[0] - plain[0]) > 1e-3);
});

test("a bias per row hides from cross-attention what another row may see", () => {
  const model = transformer({ cross_attention: true, bias_attn: true });
  const [x, source] = [noise([2, 6, 16]), noise([2, 5, 16], 6)];
  const bias = tf.tensor4d([0, 0, 0, 0, 0, 0, 0, 0, maskedScore, maskedScore], [2, 1, 1, 5]) as Tensor;
  const both = tf.unstack(model.forward(x, { source, bias }), 0);
  for (const [row, length] of [
    [0, 5],
    [1, 3],
  ]) {
    const visible = tf.slice(source, [row, 0, 0], [1, length, 16]);
    const alone = model.forward(tf.slice(x, [row, 0, 0], [1, 6, 16]), { source: visible, bias: null });
    close(both[row].dataSync(), alone.dataSync(), 1e-5);
  }
});

test("a rotation keeps lengths, depends on distances only, and is none at scale 0", () => {
  const options = { maxPeriod: 10000, xpos: false, scale: 1 };
  const rope = new RotaryEmbedding(8, options);
  const product = (from: number, to: number) => {
    const at = (position: number, seed: number, kind: "queries" | "keys") =>
      rotate(noise([1, 1, 1, 8], seed), rope.rotations(tf.tensor1d([position]))[kind]);
    return tf.sum(tf.mul(at(from, 1, "queries"), at(to, 2, "keys"))).dataSync()[0];
  };
  close([product(3, 9)], [product(103, 109)], 1e-4);
  assert.ok(Math.abs(product(3, 9) - product(3, 12)) > 1e-3);
  const x = noise([1, 2, 5, 8]);
  const positions = tf.range(0, 5, 1, "float32");
  close(tf.norm(rotate(x, rope.rotations(positions).keys)).dataSync(), tf.norm(x).dataSync(), 1e-5);
  const off = new RotaryEmbedding(8, { ...options, scale: 0 });
  close(rotate(x, off.rotations(positions).queries).dataSync(), x.dataSync(), 0);
});

test("attention_as_float32 takes attention, forward and backward, out of a 16-bit pass, fused or of TensorFlow's ops", () => {
  const x = noise([1, 12, 16]);
  const run = (attention_as_float32: boolean, kernels: boolean) => {
    const model = transformer({ num_layers: 1, attention_as_float32 });
    const pass = jit(
      () =>
        autocast("bfloat16", () => {
          const { gradients } = valueAndGradients(
            () => ({ loss: tf.sum(tf.square(model.forward(x, null))) as Tensor, aux: {} }),
            [model.layers[0].selfAttn.inProjWeight],
          );
          return gradients[0]!;
        }),
      { name: attention_as_float32 ? "wide" : "narrow" },
    );
    configureRuntime({ kernels });
    const gradient = pass().dataSync();
    configureRuntime({ kernels: true });
    return { gradient, casts: Number(/Cast +(\d+)/.exec(pass.describe())![1]) };
  };
  const [wide, narrow, fused] = [run(true, false), run(false, false), run(true, true)];
  assert.notDeepEqual(wide.gradient, narrow.gradient);
  assert.ok(wide.casts < narrow.casts - 8, "4 of 6 products with 2 casts each are left");
  // The products around attention round to 8 bits what differs by float32's rounding.
  const size = Math.max(...wide.gradient.map(Math.abs));
  close(fused.gradient, wide.gradient, size * 2 ** -8);
});

test("dropout is drawn from its key: repeatable, different for another key, absent outside of training", () => {
  const model = transformer({ dropout: 0.5 });
  const x = noise([2, 8, 16]);
  const pass = jit((key: Tensor) => withDropout(key, () => model.forward(x, null)));
  const key = (update: number) => tf.tensor1d([7, update], "int32");
  const first = pass(key(1)).dataSync();
  assert.deepEqual(pass(key(1)).dataSync(), first);
  assert.notDeepEqual(pass(key(2)).dataSync(), first);
  assert.equal(pass.traces, 1);
  assert.notDeepEqual(model.forward(x, null).dataSync(), first);
  assert.deepEqual(
    model.forward(x, null).dataSync(),
    transformer({ dropout: 0 }).forward(x, null).dataSync(),
  );
});

test("attention_dropout replaces dropout in attention only", () => {
  const x = noise([1, 8, 16]);
  const key = tf.tensor1d([0, 0], "int32");
  const pass = (options: Partial<LMConfig>) =>
    withDropout(key, () => transformer(options).forward(x, null)).dataSync();
  assert.notDeepEqual(pass({ dropout: 0.3, attention_dropout: 0 }), pass({ dropout: 0.3 }));
  assert.notDeepEqual(pass({ attention_dropout: 0.3 }), pass({}));
});

test("what is recomputed draws the dropout of the first time", () => {
  const codes = tf.tensor3d(
    Int32Array.from({ length: 2 * 4 * 6 }, (_, i) => (i * 7) % 16),
    [2, 4, 6],
    "int32",
  );
  const key = tf.tensor1d([1, 2], "int32");
  const gradients = (checkpointing: string) => {
    const lm = plainLM({ dropout: 0.3, checkpointing });
    const run = jit((tokens: Tensor) =>
      withDropout(key, () =>
        valueAndGradients(() => ({ loss: lossOf(lm, tokens, {}).ce, aux: {} }), lm.parameters()),
      ),
    );
    return run(codes as Tensor).gradients.map((gradient) => gradient!.dataSync());
  };
  const expected = gradients("none");
  for (const strategy of ["torch", "xformers_default", "xformers_mm"]) {
    for (const [i, gradient] of gradients(strategy).entries()) close(gradient, expected[i], 1e-6);
  }
});

const impossible: [Partial<LMConfig>, RegExp][] = [
  [{ num_heads: 3 }, /dim=16 is not divisible by transformer_lm.num_heads=3/],
  [{ kv_repeat: 3 }, /kv_repeat=3 does not divide/],
  [{ activation: "tanh" }, /activation=tanh is unknown; use relu, gelu, reglu, geglu, swiglu/],
  [{ positional_embedding: "learned" }, /positional_embedding=learned is unknown/],
  [{ positional_embedding: "rope", num_heads: 16 }, /needs an even dim \/ num_heads/],
  [{ past_context: 4, causal: false }, /past_context=4 needs transformer_lm.causal=true/],
  [{ norm: "rms_norm" }, /norm=rms_norm is unknown/],
  [{ weight_init: null, depthwise_init: null }, /zero_bias_init=true needs transformer_lm.weight_init/],
  [{ checkpointing: "all" }, /checkpointing=all is unknown/],
];
for (const [options, message] of impossible) {
  test(`refused: ${message.source}`, () => {
    assert.throws(() => transformer(options), { name: "UserError", message });
  });
}
