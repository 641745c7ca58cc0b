// Sweeps of --multirun: which command lines, in which order, and how their values are written.
import assert from "node:assert/strict";
import { test } from "node:test";
import { floatRange } from "../../src/config/float-range.ts";
import { expandSweeps } from "../../src/config/sweep.ts";

const options = (group: string) => (group === "solver/x" ? [] : ["base", "large", "small", "xlarge"]);
const expand = (...argv: string[]) => expandSweeps(argv, options);

test("the last sweep changes fastest", () => {
  assert.deepEqual(expand("a=1,2", "b=x", "c=3,4"), [
    ["a=1", "b=x", "c=3"],
    ["a=1", "b=x", "c=4"],
    ["a=2", "b=x", "c=3"],
    ["a=2", "b=x", "c=4"],
  ]);
});

test("a command line without sweeps is one run, as it was written", () => {
  assert.deepEqual(expand("a=[1, 2]", "b='x,y'", "+c={d: 1}", "~e"), [
    ["a=[1, 2]", "b='x,y'", "+c={d: 1}", "~e"],
  ]);
});

test("of a key given twice the later value counts, in the place of the first", () => {
  assert.deepEqual(expand("a=1,2", "b=3", "a=9"), [["a=9", "b=3"]]);
});

test("choice, range, sort and casts give the values that Hydra gives", () => {
  assert.deepEqual(expand("a=choice('x y',true)"), [["a=x\\ y"], ["a=True"]]);
  assert.deepEqual(expand("a=range(1,4)"), [["a=1"], ["a=2"], ["a=3"]]);
  assert.deepEqual(expand("a=range(3,0,-2)"), [["a=3"], ["a=1"]]);
  assert.deepEqual(expand("a=sort(3,1,2)"), [["a=1"], ["a=2"], ["a=3"]]);
  assert.deepEqual(expand("a=int(1.5,2.5)"), [["a=1"], ["a=2"]]);
  assert.deepEqual(expand("a=[1,2],[3]"), [["a=[1,2]"], ["a=[3]"]]);
});

test("a range of floats adds decimals that begin as the floats' exact values", () => {
  assert.deepEqual(floatRange(0.1, 0.45, 0.1), [0.1, 0.2, 0.30000000000000004, 0.4]);
  // Plain sums would give 0.7999999999999999 and 0.8999999999999999 at the end.
  assert.deepEqual(floatRange(0, 1, 0.1).slice(-3), [0.7000000000000001, 0.8, 0.9]);
  assert.deepEqual(floatRange(1, 0, -0.5), [1, 0.5]);
});

test("a glob takes the options of its group that match and are not excluded", () => {
  assert.deepEqual(expand("scale=glob(*)"), [
    ["scale=base"],
    ["scale=large"],
    ["scale=small"],
    ["scale=xlarge"],
  ]);
  assert.deepEqual(expand("scale=glob([*large,small],exclude=x*)"), [["scale=large"], ["scale=small"]]);
  assert.throws(() => expand("solver/x=glob(*)"), { name: "UserError", message: /has no values/ });
});

test("a shuffled sweep has the same values", () => {
  const values = expand("a=shuffle(1,2,3,4,5)").map(([word]) => word);
  assert.deepEqual(values.sort(), ["a=1", "a=2", "a=3", "a=4", "a=5"]);
});

test("an interval is refused: it has no list of values", () => {
  assert.throws(() => expand("a=interval(0,1)"), {
    name: "UserError",
    message: /interval .* choice\(\.\.\.\)/,
  });
});

test("too many combinations are refused before they are made", () => {
  assert.throws(() => expand("a=range(0,1e9,1)"), { name: "UserError", message: /at most/ });
  assert.throws(() => expand("a=range(1000)", "b=range(1000)"), {
    name: "UserError",
    message: /1000000 combinations/,
  });
  assert.throws(() => expand("a=range(0,1,0)"), { name: "UserError", message: /step/ });
});
