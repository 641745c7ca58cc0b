/** Generation: frames as they are completed, double guidance, prompts, limited context, conditions along the sequence. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ConditionFuser } from "../../../src/models/conditioners/fuser.ts";
import { ConditioningProvider, type PreparedConditions } from "../../../src/models/conditioners/provider.ts";
import { type ConditionStreams, Generator } from "../../../src/models/lm/generation.ts";
import { MusicGenLM } from "../../../src/models/lm/lm.ts";
import { buildPatternProvider } from "../../../src/models/lm/patterns.ts";
import { InitializerStream } from "../../../src/nn/index.ts";
import { configureRuntime, type Tensor, tf } from "../../../src/runtime/index.ts";
import { defaults, plainLM } from "./golden.ts";

const greedy = { use_sampling: false, temp: 1, top_k: 0, top_p: 0, cfgCoef: 1, seed: 0 };
const unconditional: ConditionStreams = { guidance: "none", streams: [{}] };

/** Codes [rows, 4, frames] without visible order. */
function someCodes(rows: number, frames: number): Int32Array {
  return Int32Array.from({ length: rows * 4 * frames }, (_, i) => (i * i + 3 * i) % 16);
}

test("frames arrive in order, each once, in chunks of framesPerChunk or more, as soon as all codebooks have them", async () => {
  const lm = plainLM({});
  for (const [prompt, removePrompts] of [
    [null, false],
    [{ codes: someCodes(2, 5), frames: 5 }, false],
    [{ codes: someCodes(2, 5), frames: 5 }, true],
  ] as const) {
    const chunks: { codes: Int32Array; frames: number; firstFrame: number; step: number }[] = [];
    let step = 0;
    const { codes, frames } = await new Generator(lm).generate(unconditional, 2, {
      ...greedy,
      maxGenLen: 13,
      prompt,
      removePrompts,
      framesPerChunk: 3,
      onStep: (done) => {
        step = done;
      },
      onFrames: (codes, frames, firstFrame) => {
        chunks.push({ codes, frames, firstFrame, step });
      },
    });
    const joined = new Int32Array(codes.length);
    let next = 0;
    for (const chunk of chunks) {
      assert.equal(chunk.firstFrame, next);
      for (let row = 0; row < 8; row++) {
        joined.set(chunk.codes.subarray(row * chunk.frames, (row + 1) * chunk.frames), row * frames + next);
      }
      next += chunk.frames;
    }
    assert.equal(next, frames);
    assert.deepEqual(joined, codes);
    assert.ok(chunks.slice(0, -1).every((chunk) => chunk.frames >= 3));
    if (prompt === null) assert.equal(chunks[0].step, 2 + 3, "frame 2 needs codebook 3's delay of 3 steps");
  }
});

test("a generation that waits for onFrames goes on where it was", async () => {
  const lm = plainLM({});
  const options = { ...greedy, maxGenLen: 8 };
  const expected = await new Generator(lm).generate(unconditional, 1, options);
  const slow = await new Generator(lm).generate(unconditional, 1, {
    ...options,
    onFrames: () => new Promise<void>((resolve) => setTimeout(resolve, 2)),
  });
  assert.deepEqual(slow.codes, expected.codes);
});

test("rows with prompts of their own continue as each would alone", async () => {
  const lm = plainLM({});
  const codes = someCodes(3, 6);
  const options = { ...greedy, maxGenLen: 10 };
  const together = await new Generator(lm).generate(unconditional, 3, {
    ...options,
    prompt: { codes, frames: 6 },
  });
  for (let row = 0; row < 3; row++) {
    const prompt = { codes: codes.slice(row * 24, (row + 1) * 24), frames: 6 };
    const alone = await new Generator(lm).generate(unconditional, 1, { ...options, prompt });
    assert.deepEqual(alone.codes, together.codes.slice(row * 40, (row + 1) * 40));
  }
});

for (const positional_embedding of ["sin", "rope"]) {
  test(`past_context, with less kept than was seen, gives what the whole sequence gives (${positional_embedding})`, async () => {
    const lm = plainLM({ past_context: 9, positional_embedding, kv_repeat: 2 });
    const { codes } = await new Generator(lm).generate(unconditional, 2, {
      ...greedy,
      maxGenLen: 75, // more than one block of steps
      prompt: { codes: someCodes(2, 20), frames: 20 },
    });
    assertGreedy(lm, codes, [2, 4, 75], 20, {});
  });
}

test("double guidance: beta 1 is guidance by all conditions, beta 0 by the second set, and between a mixture", async () => {
  const { lm, embed } = conditioned("sum");
  const [all, audio, none] = [embed([1, 2]), embed([3, 4]), embed([5, 6])];
  const run = async (streams: ConditionStreams, cfgCoefBeta?: number) => {
    const options = { ...greedy, cfgCoef: 3, cfgCoefBeta, maxGenLen: 12 };
    return (await new Generator(lm).generate(streams, 2, options)).codes;
  };
  const joint = (condition: Tensor): ConditionStreams => ({
    guidance: "joint",
    streams: [prepared(tf.concat([condition, none], 0))],
  });
  const double: ConditionStreams = {
    guidance: "double",
    streams: [prepared(tf.concat([all, audio, none], 0))],
  };
  assert.deepEqual(await run(double, 1), await run(joint(all)));
  assert.deepEqual(await run(double), await run(joint(all)));
  assert.deepEqual(await run(double, 0), await run(joint(audio)));
  const mixed = await run(double, 5);
  assert.notDeepEqual(mixed, await run(joint(all)));
});

for (const [method, length] of [
  ["sum", 1],
  ["sum", 11],
  ["input_interpolate", 4],
  ["prepend", 3],
] as const) {
  test(`${method} of ${length} steps: step by step as in the whole sequence`, async () => {
    const { lm } = conditioned(method);
    const condition = tf.randomNormal([2, length, 16], 0, 2, "float32", 8) as Tensor;
    const streams: ConditionStreams = { guidance: "none", streams: [prepared(condition)] };
    for (const frames of [0, 6]) {
      const prompt = frames > 0 ? { codes: someCodes(2, frames), frames } : null;
      const { codes } = await new Generator(lm).generate(streams, 2, { ...greedy, maxGenLen: 10, prompt });
      assertGreedy(lm, codes, [2, 4, 10], frames, prepared(condition));
    }
  });
}

test("op by op, in graphs and under XLA, with our own ops and without, the same tokens are made", async () => {
  const { lm } = conditioned("prepend");
  const condition = tf.randomNormal([4, 3, 16], 0, 2, "float32", 8) as Tensor;
  const streams: ConditionStreams = { guidance: "joint", streams: [prepared(condition)] };
  const options = { temp: 1, top_k: 5, top_p: 0, cfgCoef: 2, seed: 3, maxGenLen: 12 };
  const results: { of: string; key: string; codes: Int32Array }[] = [];
  try {
    for (const [jit, kernels] of [
      ["none", true],
      ["none", false],
      ["graph", true],
      ["graph", false],
      ["xla", true],
    ] as const) {
      configureRuntime({ jit, kernels });
      for (const frames of [0, 5]) {
        const prompt = frames > 0 ? { codes: someCodes(2, frames), frames } : null;
        for (const use_sampling of jit === "xla" ? [false] : [false, true]) {
          // XLA has random numbers of its own
          const { codes } = await new Generator(lm).generate(streams, 2, {
            ...options,
            prompt,
            use_sampling,
          });
          results.push({ of: `${jit} ${kernels}`, key: `${frames} ${use_sampling}`, codes });
        }
      }
    }
  } finally {
    configureRuntime({ jit: "auto", kernels: true });
  }
  for (const { of, key, codes } of results)
    assert.deepEqual(codes, results.find((other) => other.key === key)!.codes, `${of}, ${key}`);
});

test("generations leave no tensors, whether they end, are stopped, or run at the same time", async () => {
  const lm = plainLM({});
  const generator = new Generator(lm);
  const options = { ...greedy, maxGenLen: 9 };
  const stopped = () =>
    assert.rejects(
      generator.generate(unconditional, 1, {
        ...options,
        onStep: (done) => {
          if (done === 4) throw new Error("enough");
        },
      }),
      /enough/,
    );
  const { codes } = await generator.generate(unconditional, 1, options);
  const together = () => Promise.all([1, 2].map(() => generator.generate(unconditional, 1, options)));
  await together();
  await stopped();
  const before = tf.memory().numTensors;
  await stopped();
  for (const each of await together()) assert.deepEqual(each.codes, codes);
  assert.equal(tf.memory().numTensors, before);
});

test("other lengths and seeds run the function that was traced for the first", async () => {
  const lm = plainLM({});
  const generator = new Generator(lm);
  const loop = (generator as unknown as { loop: { steps: { traces: number } } }).loop;
  for (const [maxGenLen, seed] of [
    [9, 0],
    [30, 1],
    [400, 2],
  ])
    await generator.generate(unconditional, 1, { ...greedy, maxGenLen, seed });
  assert.equal(loop.steps.traces, 1);
});

test("frames that a prompt completes already do not hold up the others", async () => {
  const lm = plainLM({});
  const frames: number[] = [];
  await new Generator(lm).generate(unconditional, 1, {
    ...greedy,
    maxGenLen: 20,
    prompt: { codes: someCodes(1, 12), frames: 12 },
    framesPerChunk: 4,
    onFrames: (_codes, count) => void frames.push(count),
  });
  assert.deepEqual(frames, [10, 4, 4, 2]);
});

test("compressed weights change logits by less than two hundredths of their spread", async () => {
  const options = { dim: 64, num_heads: 4 };
  const codes = tf.tensor3d(someCodes(2, 20), [2, 4, 20], "int32") as Tensor;
  const logitsOf = (lm: MusicGenLM) => lm.computePredictions(codes, {}).logits;
  const exact = logitsOf(plainLM(options));
  const spread = Math.sqrt((tf.mean(tf.square(exact)) as Tensor).dataSync()[0]);
  for (const type of ["bfloat16", "int8"] as const) {
    const lm = plainLM(options);
    lm.compress(type);
    const error = Math.sqrt((tf.mean(tf.squaredDifference(logitsOf(lm), exact)) as Tensor).dataSync()[0]);
    assert.ok(error > 0 && error < 0.02 * spread, `${type}: ${error} of ${spread}`);
    const { codes } = await new Generator(lm).generate(unconditional, 2, { ...greedy, maxGenLen: 12 });
    assertGreedy(lm, codes, [2, 4, 12], 0, {});
  }
});

test("generation without causal attention is refused", () => {
  assert.throws(() => new Generator(plainLM({ causal: false })), {
    name: "UserError",
    message: /causal=true/,
  });
});

/** A model with one condition, "c", that is embedded already. */
function conditioned(method: string) {
  const patterns = buildPatternProvider({ modeling: "delay", delay: { delays: [0, 1, 2, 3] } }, 4);
  const provider = new ConditioningProvider({});
  provider.forward = (given) =>
    Object.fromEntries(
      Object.entries(given).map(([name, { input, mask, crossBias }]) => [
        name,
        { embedding: input, mask, crossBias },
      ]),
    );
  const parts = { patterns, provider, fuser: new ConditionFuser({ [method]: ["c"] }) };
  const lm = new MusicGenLM(defaults, parts, new InitializerStream(4));
  const embed = (seeds: number[]) =>
    tf.concat(
      seeds.map((seed) => tf.randomNormal([1, 1, 16], 0, 2, "float32", seed) as Tensor),
      0,
    ) as Tensor;
  return { lm, embed };
}

function prepared(input: Tensor): PreparedConditions {
  const [rows, length] = input.shape as [number, number];
  return { c: { input, mask: tf.ones([rows, length]), crossBias: tf.zeros([1, 1, 1, length]) } };
}

/** The largest logit of every cell that was generated, computed over the whole sequence, is its token. */
function assertGreedy(
  lm: MusicGenLM,
  codes: Int32Array,
  shape: [number, number, number],
  prompt: number,
  conditions: PreparedConditions,
): void {
  const { logits, mask } = lm.computePredictions(
    tf.tensor3d(codes, shape, "int32"),
    lm.conditionProvider.forward(conditions),
  );
  const best = tf.argMax(logits, -1).dataSync();
  const [, codebooks, frames] = shape;
  const generated = Array.from(codes, (_, cell) => cell).filter(
    (cell) => mask[cell % (codebooks * frames)] && cell % frames >= prompt,
  );
  assert.ok(generated.length >= 10);
  for (const cell of generated) assert.equal(codes[cell], best[cell], `cell ${cell}`);
}
