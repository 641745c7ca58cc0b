/** The command line, the table and the page of `npm run eval`. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { UserError } from "../../src/errors.ts";
import { parseEvalArguments } from "../../src/eval/arguments.ts";
import { resultPage } from "../../src/eval/page.ts";
import { type EvaluatedClip, scores, tableRows, wilson } from "../../src/eval/results.ts";

const clip = (heard: number, wanted: number): EvaluatedClip => ({
  id: "4001",
  description: 'a "slow" <bell> melody',
  generated: { pitchClass: { heard, wanted, right: heard === wanted } },
  reconstructed: { pitchClass: { heard: wanted, wanted, right: true } },
});

test("the table has a row per quality: generated, interval, chance, the codec's reconstruction", () => {
  const [pitch, tempo] = tableRows([clip(0, 0), clip(1, 1), clip(3, 2), clip(4, 4)]);
  assert.deepEqual(pitch, ["pitch class of the tonic", "75 % of 4", "30 % to 95 %", "0 %", "100 %"]);
  assert.equal(tempo[1], "- of 0");
});

test("Wilson's interval of 8 in 10 is 0.49 to 0.94", () => {
  assert.deepEqual(
    wilson(8, 10).map((x) => x.toFixed(2)),
    ["0.49", "0.94"],
  );
});

test("scores are shares from 0 to 1", () => {
  const { generated, of } = scores([clip(0, 0), clip(1, 0)]).pitchClass;
  assert.deepEqual([generated, of], [0.5, 2]);
});

test("the page says what was heard instead, and descriptions cannot break it", () => {
  const page = resultPage("default", [clip(9, 0)]);
  assert.match(page, /A instead of C/);
  assert.match(page, /&#60;bell&#62;/);
  assert.ok(!page.includes("<bell>"));
});

test("MODEL, samples and generation options are read; without them all 200 of the newest checkpoint", () => {
  for (const given of [["samples=20"], ["--samples=20"], ["--samples", "20"]]) {
    const { model, samples, options } = parseEvalArguments(["default", ...given, "--cfg-coef", "2"]);
    assert.deepEqual([model, samples, options], ["default", 20, { cfg_coef: 2 }]);
  }
  assert.deepEqual(
    [parseEvalArguments([])].map((each) => [each.model, each.samples]),
    [[null, 200]],
  );
});

test("samples beyond the held-out ones, two models, and options of generate alone are refused", () => {
  for (const argv of [["samples=201"], ["samples=x"], ["one", "two"], ["prompts=file"], ["continue=a.wav"]])
    assert.throws(() => parseEvalArguments(argv), UserError);
});
