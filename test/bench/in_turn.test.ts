/** Programs in turn, on a machine where others work or do not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Machine, measureInTurn, type TurnOptions } from "../../src/bench/in_turn.ts";
import { parseMeasurement } from "../../src/bench/measurement.ts";

const programs = ["ours", "peer"].map((name) => ({ name, command: [] }));
const options: TurnOptions = { rounds: 2, force: false, announce: () => {} };

/** Others use `during` cores in the runs, one after the other, and `before` cores between them. */
function machine(during: number[], before: number[] = []) {
  const ran: string[] = [];
  const fake: Machine = {
    run: async ({ name }) => {
      ran.push(name);
      return { series: { step: [ran.length] }, peakBytes: 1, facts: {}, versions: {} };
    },
    othersNow: async () => before.shift() ?? 0,
    watchOthers: () => () => during.shift() ?? 0,
  };
  return { fake, ran };
}

test("programs alternate, and each has its own turns", async () => {
  const { fake, ran } = machine([]);
  const turns = await measureInTurn(programs, options, fake);
  assert.deepEqual(ran, ["ours", "peer", "ours", "peer"]);
  assert.deepEqual(
    turns.map((own) => own.map(({ series }) => series.step[0])),
    [
      [1, 3],
      [2, 4],
    ],
  );
});

test("a run that others disturbed is measured again, and only the new one counts", async () => {
  const { fake, ran } = machine([0, 0.5, 0.05]);
  const turns = await measureInTurn(programs, { ...options, rounds: 1 }, fake);
  assert.deepEqual(ran, ["ours", "peer", "peer"]);
  assert.deepEqual(
    turns[1].map(({ others }) => others),
    [0.05],
  );
});

test("after three disturbed runs there is no figure", async () => {
  const { fake, ran } = machine([0.5, 0.2, 0.3]);
  await assert.rejects(
    measureInTurn(programs, options, fake),
    /ours: in 3 runs others used the processor \(0\.30 cores/,
  );
  assert.equal(ran.length, 3);
});

test("before a run the end of others' work is waited for", async () => {
  const { fake, ran } = machine([], [1.5, 0.4, 0]);
  await measureInTurn(programs, { ...options, rounds: 1 }, fake);
  assert.deepEqual(ran, ["ours", "peer"]);
});

test("who waits for a minute in vain is refused", async () => {
  const { fake, ran } = machine([], new Array(100).fill(1.5));
  await assert.rejects(measureInTurn(programs, options, fake), /other processes use 1\.5 cores/);
  assert.deepEqual(ran, []);
});

test("forced, a disturbed run counts and says so", async () => {
  const { fake, ran } = machine([0.5, 0.7], [1]);
  const turns = await measureInTurn(programs, { ...options, rounds: 1, force: true }, fake);
  assert.deepEqual(ran, ["ours", "peer"]);
  assert.deepEqual(
    turns.flat().map(({ others }) => others),
    [0.5, 0.7],
  );
});

test("a measurement is the last line of the output", () => {
  const line = '{"series": {"step": [0.5]}, "peakBytes": 7}';
  assert.deepEqual(parseMeasurement(`warnings\n${line}\n`, "peer"), {
    series: { step: [0.5] },
    peakBytes: 7,
    facts: {},
    versions: {},
  });
  assert.throws(() => parseMeasurement("", "peer"), /peer has measured nothing/);
  assert.throws(() => parseMeasurement('{"series": {"step": [0]}}', "peer"), /peer has measured nothing/);
});
