/** Which metrics a formatter shows, and how. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { averager } from "../../src/log/averager.ts";
import { Formatter } from "../../src/log/formatter.ts";

/** MusicGen's own formatter. */
const musicgen = new Formatter({
  formats: { lr: ".2E", ce: ".3f", ppl: ".3f", grad_norm: ".3E" },
  excludeKeys: ["ce_q*", "ppl_q*"],
});

test("MusicGen's metrics: lr and gradient norm with exponents, per-codebook values hidden, the rest .3f", () => {
  const metrics = { lr: 1, grad_norm: 0.2345, ce: 5.1234, ppl: 167.8, ce_q1: 5, ppl_q4: 2, duration: 1.5 };
  assert.deepEqual(Object.entries(musicgen.format(metrics)), [
    ["lr", "1.00E+00"],
    ["grad_norm", "2.345E-01"],
    ["ce", "5.123"],
    ["ppl", "167.800"],
    ["duration", "1.500"],
  ]);
});

test("the first matching format counts, and a formatted metric is shown though a pattern hides it", () => {
  const formatter = new Formatter({ formats: { "loss_[ab]": ".1f", "loss*": ".2f" }, excludeKeys: ["*"] });
  const formatted = formatter.format({ loss_a: 1, loss_c: 1, other: 1 });
  assert.deepEqual(formatted, { loss_a: "1.0", loss_c: "1.00" });
  const strict = new Formatter({ formats: { "loss*": ".2f" }, excludeKeys: ["*"], includeFormatted: false });
  assert.deepEqual(strict.format({ loss: 1 }), {});
});

test("includeKeys alone are the only ones shown; with excludeKeys they come back", () => {
  const metrics = { ce: 1, ce_q1: 2, ce_q2: 3, lr: 4 };
  assert.deepEqual(Object.keys(new Formatter({ includeKeys: ["ce_*"] }).format(metrics)), ["ce_q1", "ce_q2"]);
  const both = new Formatter({ excludeKeys: ["ce_q*"], includeKeys: ["ce_q2"] });
  assert.deepEqual(Object.keys(both.format(metrics)), ["ce", "ce_q2", "lr"]);
});

test("patterns are those of a shell: *, ?, sets, negated sets, and nothing else is special", () => {
  const shows = (pattern: string, name: string) =>
    name in new Formatter({ includeKeys: [pattern] }).format({ [name]: 0 });
  assert.ok(shows("a?c", "abc") && !shows("a?c", "ac"));
  assert.ok(shows("q[12]", "q1") && !shows("q[12]", "q3"));
  assert.ok(shows("q[!12]", "q3") && !shows("q[!12]", "q1"));
  assert.ok(shows("q[0-9]", "q7"));
  assert.ok(!shows("a.c", "abc") && shows("a.c", "a.c") && shows("d|e(", "d|e("));
  assert.ok(!shows("ce", "ce_q1") && !shows("CE", "ce"));
});

test("an averager returns the mean of all steps, weighted, of every metric seen", () => {
  const average = averager();
  assert.deepEqual(average({ ce: 2, lr: 1 }), { ce: 2, lr: 1 });
  assert.deepEqual(average({ ce: 5 }, 2), { ce: 4, lr: 1 });
});

test("with beta < 1 it is an exponential average without bias", () => {
  const average = averager(0.5);
  average({ x: 1 });
  assert.deepEqual(average({ x: 4 }), { x: (0.5 * 1 + 4) / 1.5 });
});
