/** Codebook patterns against the original implementation's layouts, sequences and indexes, exactly. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { UserError } from "../../../src/errors.ts";
import { buildPatternProvider, Pattern, type PatternIndexes } from "../../../src/models/lm/patterns.ts";
import type { PatternCase } from "../../../src/verify/patterns.ts";

const golden = JSON.parse(
  gunzipSync(readFileSync(new URL("../../golden/patterns/patterns.json.gz", import.meta.url))).toString(),
) as {
  special_token: number;
  revert_special_token: number;
  logits_special_token: number;
  cases: PatternCase[];
};

/** The original counts over all codebooks, [K * N], with K * N for "no source". */
function flat(nQ: number, sourceLength: number, { indexes, mask, length }: PatternIndexes): number[] {
  return Array.from(indexes, (index, cell) =>
    mask[cell] ? Math.floor(cell / length) * sourceLength + index : nQ * sourceLength,
  );
}

function patternOf(golden: PatternCase): Pattern {
  const config = { modeling: golden.provider, [golden.provider]: golden.kwargs };
  return buildPatternProvider(config, golden.n_q).getPattern(golden.T);
}

const name = (c: PatternCase) => `${c.provider} ${JSON.stringify(c.kwargs)}, K = ${c.n_q}, T = ${c.T}`;

test("all golden cases are here", () => assert.equal(golden.cases.length, 153));

test("layouts, delays and first steps equal the original's", () => {
  for (const c of golden.cases) {
    const pattern = patternOf(c);
    assert.deepEqual(
      pattern.layout.map((cells) => cells.map(({ t, q }) => [t, q])),
      c.layout,
      name(c),
    );
    assert.equal(pattern.maxDelay, c.max_delay, name(c));
    assert.equal(pattern.sequenceSteps, c.num_sequence_steps, name(c));
    assert.equal(pattern.length(true), c.valid_len, name(c));
    assert.equal(pattern.startsWithSpecialToken, c.starts_with_special_token, name(c));
    const firstSteps = c.first_step_with_timesteps.map((_, t) => pattern.firstStepWithTimestep(t));
    assert.deepEqual(firstSteps, c.first_step_with_timesteps, name(c));
  }
});

for (const steps of ["full", "valid"] as const) {
  const keepOnlyValidSteps = steps === "valid";

  test(`buildSequence equals the original's on the ${steps} layout`, () => {
    for (const c of golden.cases) {
      const pattern = patternOf(c);
      const codes = Int32Array.from({ length: c.n_q * c.T }, (_, i) => 100 + i);
      const built = pattern.buildSequence(codes, [1, c.n_q, c.T], golden.special_token, keepOnlyValidSteps);
      assert.deepEqual([...built.codes], c[steps].values.flat(), name(c));
      assert.deepEqual([...built.mask], c[steps].mask.flat(), name(c));
      const indexes = flat(c.n_q, c.T, pattern.sequenceIndexes(keepOnlyValidSteps));
      assert.deepEqual(indexes, c[steps].indexes.flat(), name(c));
    }
  });

  test(`revertSequence equals the original's on the ${steps} layout`, () => {
    for (const c of golden.cases) {
      const pattern = patternOf(c);
      const length = pattern.length(keepOnlyValidSteps);
      const sequence = Int32Array.from(c[steps].values.flat());
      const shape: [number, number, number] = [1, c.n_q, length];
      const reverted = pattern.revertSequence(
        sequence,
        shape,
        golden.revert_special_token,
        keepOnlyValidSteps,
      );
      assert.deepEqual([...reverted.codes], c[steps].revert.values.flat(), name(c));
      assert.deepEqual([...reverted.mask], c[steps].revert.mask.flat(), name(c));
      const indexes = flat(c.n_q, length, pattern.revertIndexes(keepOnlyValidSteps));
      assert.deepEqual(indexes, c[steps].revert.indexes.flat(), name(c));
    }
  });

  test(`revertLogitsIndexes gather the original's logits on the ${steps} layout`, () => {
    for (const c of golden.cases) {
      const pattern = patternOf(c);
      const length = pattern.length(keepOnlyValidSteps);
      const back = pattern.revertLogitsIndexes(keepOnlyValidSteps);
      const expected = c[steps].revert_logits;
      assert.deepEqual(flat(c.n_q, length, back), expected.indexes.flat(), name(c));
      assert.deepEqual([...back.mask], expected.mask.flat(), name(c));
      const logits = Array.from(back.indexes, (step, cell) =>
        back.mask[cell] ? 1000 + Math.floor(cell / c.T) * length + step : golden.logits_special_token,
      );
      assert.deepEqual(logits, expected.values.flat(), name(c));
    }
  });
}

test("every sequence of a batch is built on its own", () => {
  const pattern = buildPatternProvider({ modeling: "delay" }, 2).getPattern(2);
  const built = pattern.buildSequence(Int32Array.of(1, 2, 3, 4, 5, 6, 7, 8), [2, 2, 2], 0);
  assert.deepEqual([...built.codes], [0, 1, 2, 0, 0, 0, 3, 4, 0, 5, 6, 0, 0, 0, 7, 8]);
});

test("a sequence that stops early reverts to the cells that it covers", () => {
  const pattern = buildPatternProvider({ modeling: "delay" }, 2).getPattern(3);
  const reverted = pattern.revertSequence(Int32Array.of(0, 1, 2, 0, 0, 3), [1, 2, 3], -1);
  assert.deepEqual([...reverted.codes], [1, 2, -1, 3, -1, -1]);
  assert.deepEqual([...reverted.mask], [1, 1, 0, 1, 0, 0]);
});

test("the music_lm section of AudioCraft's configs reaches the musiclm pattern", () => {
  const layout = (config: Record<string, unknown>) =>
    buildPatternProvider(config, 4)
      .getPattern(2)
      .layout.map((cells) => cells.map(({ t, q }) => [t, q]));
  const grouped = layout({ modeling: "musiclm", music_lm: { group_by: 4 } });
  assert.deepEqual(grouped.slice(0, 6), [[], [[0, 0]], [[0, 1]], [[0, 2]], [[0, 3]], [[1, 0]]]);
  assert.deepEqual(layout({ modeling: "music_lm", musiclm: { group_by: 4 } }), grouped);
});

test("without a modeling name, the legacy q_modeling counts, with delays 0..K-1", () => {
  const config = { modeling: null, delay: { delays: [0, 0] } };
  assert.equal(buildPatternProvider(config, 2, "delay").getPattern(3).maxDelay, 1);
});

test("codebooks of one inner step come with the most delayed first", () => {
  const config = { modeling: "unroll", unroll: { flattening: [0, 2], delays: [0, 1] } };
  const layout = buildPatternProvider(config, 2).getPattern(2).layout;
  // by hand: empty inner step 1 first, then codebook 1 (one timestep late), then codebook 0
  const expected = [[], [], [[0, 0]], [], [[0, 1]], [[1, 0]], [], [[1, 1]], [[2, 0]]];
  assert.deepEqual(
    layout.map((cells) => cells.map(({ t, q }) => [t, q])),
    expected,
  );
});

test("a pattern is made once for a number of timesteps", () => {
  const provider = buildPatternProvider({ modeling: "parallel" }, 4);
  assert.equal(provider.getPattern(5), provider.getPattern(5));
});

test("options that do not fit are user errors that name the key", () => {
  const refuses = (config: Record<string, unknown>, nQ: number, message: RegExp) =>
    assert.throws(
      () => buildPatternProvider(config, nQ),
      (error) => error instanceof UserError && message.test(error.message),
    );
  const delay = (delays: unknown) => ({ modeling: "delay", delay: { delays } });
  refuses(delay([0, 1, 2, 3]), 8, /codebooks_pattern\.delay\.delays: 8 entries expected.* got 4/);
  refuses(delay([1, 0]), 2, /codebooks_pattern\.delay\.delays: must be in ascending order/);
  refuses(delay([0, 0.5]), 2, /codebooks_pattern\.delay\.delays: a list of integers/);
  refuses(delay("0,1"), 2, /codebooks_pattern\.delay\.delays: a list of integers/);
  refuses({ modeling: "delay", delay: { delay: [0] } }, 1, /delay\.delay: unknown option/);
  refuses({ modeling: "delay", delay: { empty_initial: -2 } }, 1, /delay\.empty_initial: an integer of at/);
  const unroll = { flattening: [0, 1, 1], delays: [0, 0, 1] };
  refuses({ modeling: "unroll", unroll }, 3, /unroll\.delays: codebooks 1, 2 share an inner step/);
  refuses({ modeling: "musiclm", music_lm: { group_by: 2 } }, 1, /music_lm\.group_by: 2 does not divide/);
  refuses({ modeling: "coarse_first" }, 1, /coarse_first needs at least 2 codebooks/);
  refuses({ modeling: "zigzag" }, 2, /modeling is "zigzag"; known patterns: parallel, delay/);
  refuses({ modeling: null }, 2, /modeling is null/);
});

test("a layout that writes a codebook twice in one step, or backwards in time, is refused", () => {
  const cell = (t: number) => ({ t, q: 0 });
  assert.throws(() => new Pattern([[], [cell(0), cell(1)]], 2, 1), /writes a codebook twice/);
  assert.throws(() => new Pattern([[], [cell(1)], [cell(0)]], 2, 1), /goes back in time/);
});
