/** Segments against what the manifest says of their file. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { Scratch } from "../../src/data/audio/scratch.ts";
import { readSamples } from "../../src/data/segment_samples.ts";
import { rampWav, scratch } from "./files.ts";

const folder = scratch();
const file = rampWav(join(folder, "a.wav"), 20);
const form = { segmentDuration: 2, sampleRate: 1000, channels: 1 };
const read = (claims: object, seek: number) => readSamples({ ...file, ...claims }, seek, form, new Scratch());

test("a segment at the true end is as long as the file allows", async () => {
  const [samples] = await read({}, 19);
  assert.deepEqual([samples.length, samples[0]], [1000, Math.fround(19_000 / 2 ** 20)]);
});

test("a duration within its tolerance may be too long by estimate, but not so that most of a segment is missing", async () => {
  assert.equal((await read({ duration: 20.15 }, 18.9))[0].length, 1100);
  await assert.rejects(read({ duration: 20.39 }, 19.3), /ends 0.39 s before the 20.39 s/);
  await assert.rejects(read({ duration: 20.39 }, 20.1), /holds no audio/);
  await assert.rejects(read({ duration: 20.5 }, 0), /the manifest says 20.5 s, the file holds 20.000 s/);
});

test("another rate than the manifest's is a damaged header if the duration differs too, else a wrong manifest", async () => {
  await assert.rejects(
    read({ sampleRate: 500, duration: 10 }, 0),
    /claims 1000 Hz and 20.000 s, the manifest 500 Hz/,
  );
  assert.equal((await read({ sampleRate: 500 }, 0))[0].length, 2000);
  assert.equal((await read({ duration: 10 }, 0))[0].length, 2000);
});

test("samples in scratch memory are handed out again after its release, not before", async () => {
  const first = new Scratch();
  const [a] = await readSamples(file, 0, form, first);
  const [b] = await readSamples(file, 1, form, new Scratch());
  assert.notEqual(a.buffer, b.buffer);
  first.release();
  const [c] = await readSamples(file, 2, form, new Scratch());
  assert.equal(a.buffer, c.buffer);
});
