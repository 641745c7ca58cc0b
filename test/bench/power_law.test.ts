/** Fits of growth, on costs whose law is known. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { logChart } from "../../src/bench/chart.ts";
import { curveOf } from "../../src/bench/growth.ts";
import { AXES, COSTS, type CostName } from "../../src/bench/growth_axes.ts";
import { fitPowerLaw, growsTooFast, type Point } from "../../src/bench/power_law.ts";

const costs = (law: (x: number) => number) => [1, 2, 4, 8, 16].map((x): Point => [x, law(x)]);
const near = (a: number, b: number, tolerance: number) =>
  assert.ok(Math.abs(a - b) <= tolerance, `${a} is not within ${tolerance} of ${b}`);

test("a power law without constant is found", () => {
  const { constant, factor, exponent, error } = fitPowerLaw(costs((x) => 3 * x ** 1.5));
  near(exponent, 1.5, 1e-9);
  near(factor, 3, 1e-9);
  near(constant, 0, 1e-9);
  near(error, 0, 1e-9);
});

test("a constant below is told apart from growth", () => {
  const { constant, exponent } = fitPowerLaw(costs((x) => 5 + 2 * x ** 2));
  near(exponent, 2, 0.01);
  near(constant, 5, 0.05);
});

test("errors of three percent move the exponent by less than a tenth", () => {
  const errors = [1.03, 0.97, 1.02, 0.98, 1.03];
  near(fitPowerLaw(costs((x) => 1 + 4 * x).map(([x, y], i): Point => [x, y * errors[i]])).exponent, 1, 0.1);
});

test("two points or a cost of nothing make no law", () => {
  assert.throws(() => fitPowerLaw(costs((x) => x).slice(0, 2)), RangeError);
  assert.throws(() => fitPowerLaw(costs((x) => x - 1)), RangeError);
});

test("a square where the mathematics is linear grows too fast; a line with a constant and 3 % of error does not", () => {
  const linear = (x: number) => x;
  assert.equal(
    growsTooFast(
      costs((x) => 10 + x ** 2),
      linear,
    ),
    true,
  );
  assert.equal(
    growsTooFast(
      costs((x) => 10 + x * (x === 16 ? 1.03 : 0.97)),
      linear,
    ),
    false,
  );
});

test("along every axis, the costs that the mathematics demands have its own exponent and are not flagged", () => {
  for (const axis of AXES) {
    for (const cost of Object.keys(COSTS) as CostName[]) {
      const frames = cost.startsWith("generation") && axis.name !== "length" ? { frames: 50 } : {};
      const points = axis.values.map(
        (x): Point => [x, COSTS[cost].expected({ ...axis.at(x), ...frames }) / 1e9],
      );
      const curve = curveOf(axis, cost, points);
      near(curve.fit.exponent, curve.expectedExponent, 1e-6);
      assert.equal(curve.tooFast, false, `${cost} against ${axis.name}`);
    }
  }
});

test("training time is linear in the batch; in the length it has a part that is quadratic", () => {
  const exponent = (name: string) => {
    const axis = AXES.find((one) => one.name === name)!;
    return fitPowerLaw(axis.values.map((x): Point => [x, COSTS["training time"].expected(axis.at(x))]))
      .exponent;
  };
  near(exponent("batch"), 1, 1e-3);
  assert.ok(exponent("length") > 1 && exponent("length") < 2);
});

test("a chart has its points, its curve and its text, escaped", () => {
  const points = costs((x) => x);
  const svg = logChart({
    title: "a < b",
    xLabel: "x",
    yLabel: "y",
    series: [{ name: "one", colour: "#123456", points, curve: (x) => x }],
  });
  assert.match(svg, /a &#60; b/);
  assert.equal(svg.match(/<polyline/g)?.length, 1);
  assert.equal(svg.match(/<circle/g)?.length, points.length + 1); // one in the legend
  assert.doesNotMatch(svg, /NaN|Infinity/);
});
