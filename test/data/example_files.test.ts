/** The example data set on disk: file formats, and making the folder once, whole, whatever happens. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { FLACDecoder } from "@wasm-audio-decoders/flac";
import { MPEGDecoder } from "mpg123-decoder";
import { encodeFlac } from "../../src/data/audio/write_flac.ts";
import { ensureExampleData } from "../../src/data/example/ensure.ts";
import { clipFrames, exampleSpecs } from "../../src/data/example/specs.ts";
import { synthesizeClip } from "../../src/data/example/synthesize.ts";
import { writeClip } from "../../src/data/example/write_clip.ts";
import { UserError } from "../../src/errors.ts";
import { TorchGenerator } from "../../src/random/mt19937.ts";

const all = exampleSpecs();
/** One clip of each format, and one for validation. */
const few = [
  ...(["wav", "flac", "mp3"] as const).map(
    (format) => all.find((spec) => spec.format === format && spec.split === "train")!,
  ),
  all.find((spec) => spec.split === "valid")!,
];

for (const frames of [1, 3, 4095, 4096, 4097, 10000]) {
  test(`FLAC of ${frames} frames decodes to the same samples, stereo, from silence to full-scale noise`, async () => {
    // Noise can look like a frame's start, which confuses this decoder now and then: with these seeds it does not.
    const random = new TorchGenerator(frames + 1);
    const music = Int16Array.from(
      { length: frames },
      (_, i) => 12000 * Math.sin(i / 20) + 100 * random.rand(),
    );
    const noise = Int16Array.from({ length: frames }, (_, i) =>
      i % 7 === 0 ? -32768 : random.randint(65536) - 32768,
    );
    const silence = new Int16Array(frames);
    assert.deepEqual(await decodeFlac(encodeFlac([music, noise], 22050)), {
      sampleRate: 22050,
      channels: [music, noise],
    });
    assert.deepEqual(await decodeFlac(encodeFlac([silence], 44100)), {
      sampleRate: 44100,
      channels: [silence],
    });
  });
}

test("FLAC makes music smaller", () => {
  const { samples } = synthesizeClip(all[0]);
  const pcm = Int16Array.from(samples[0], (x) => x * 32767);
  assert.ok(encodeFlac([pcm], 16000).length < 0.8 * pcm.byteLength);
});

test("an MP3 file decodes to the clip's sound, as long as it was, in place", async (t) => {
  const spec = all.find((each) => each.format === "mp3")!;
  const { samples, sampleRate } = synthesizeClip(spec);
  const decoder = new MPEGDecoder();
  await decoder.ready;
  const path = join(temporaryRoot(t), "clip.mp3");
  await writeClip(path, samples, sampleRate, "mp3");
  const decoded = decoder.decode(readFileSync(path));
  decoder.free();
  assert.equal(decoded.sampleRate, sampleRate);
  assert.equal(decoded.samplesDecoded, clipFrames(spec));
  assert.ok(correlation(samples[0], decoded.channelData[0]) > 0.98);
});

test("making the data writes audio, sidecars and three manifests whose lines name the files", async (t) => {
  const root = temporaryRoot(t);
  const progress: number[] = [];
  const result = await ensureExampleData({
    root,
    specs: few,
    onProgress: (done, total) => progress.push(done / total),
  });
  assert.deepEqual(result, { manifest: join(root, "egs/example/data.jsonl"), created: true });
  assert.deepEqual(progress, [0.25, 0.5, 0.75, 1]);
  const entries = manifest(root, "data.jsonl");
  assert.equal(entries.length, 4);
  entries.forEach((entry, i) => {
    assert.deepEqual(Object.keys(entry), [
      "path",
      "duration",
      "sample_rate",
      "amplitude",
      "weight",
      "info_path",
    ]);
    assert.match(entry.path, /^egs\/example\/clips\/\d{4}\.(wav|flac|mp3)$/);
    assert.ok(statSync(join(root, entry.path)).size > 30_000);
    const sidecar = JSON.parse(readFileSync(join(root, entry.path.replace(/\.\w+$/, ".json")), "utf8"));
    assert.equal(sidecar.duration, entry.duration);
    assert.equal(sidecar.name, `example_${few[i].id}`);
  });
  assert.deepEqual([...manifest(root, "train/data.jsonl"), ...manifest(root, "valid/data.jsonl")], entries);
  assert.deepEqual(readdirSync(join(root, "egs/example")).sort(), [
    "clips",
    "data.jsonl",
    "train",
    "valid",
    "version.json",
  ]);
});

test("a complete folder is left alone", async (t) => {
  const root = temporaryRoot(t);
  await ensureExampleData({ root, specs: few });
  const before = changeTimes(root);
  assert.equal((await ensureExampleData({ root, specs: few })).created, false);
  assert.deepEqual(changeTimes(root), before);
});

test("a half-made folder is completed without making the finished clips again", async (t) => {
  const root = temporaryRoot(t);
  await ensureExampleData({ root, specs: few });
  const before = changeTimes(root);
  const lost = `${few[1].id}.json`;
  rmSync(join(root, "egs/example/clips", lost));
  assert.equal((await ensureExampleData({ root, specs: few })).created, true);
  const after = changeTimes(root);
  const remade = Object.keys(after).filter((name) => after[name] !== before[name]);
  assert.deepEqual(remade.sort(), [`${few[1].id}.flac`, lost]);
});

test("a folder of another version is made anew", async (t) => {
  const root = temporaryRoot(t);
  mkdirSync(join(root, "egs/example/clips"), { recursive: true });
  writeFileSync(join(root, "egs/example/version.json"), '{"version":0,"clips":4,"complete":true}');
  writeFileSync(join(root, "egs/example/clips/old.wav"), "");
  assert.equal((await ensureExampleData({ root, specs: few })).created, true);
  assert.ok(!existsSync(join(root, "egs/example/clips/old.wav")));
});

test("of two calls at once, one makes the data and the other waits for it", async (t) => {
  const root = temporaryRoot(t);
  const results = await Promise.all([1, 2].map(() => ensureExampleData({ root, specs: few })));
  assert.deepEqual(results.map((result) => result.created).sort(), [false, true]);
  assert.equal(manifest(root, "data.jsonl").length, few.length);
});

test("the lock of a process that died is taken over, and its unfinished files go", async (t) => {
  const root = temporaryRoot(t);
  const lock = join(root, "egs/example/.lock");
  mkdirSync(lock, { recursive: true });
  writeFileSync(join(lock, "owner.json"), JSON.stringify({ pid: spawnSync("true").pid, host: hostname() }));
  writeFileSync(join(lock, "half.tmp"), "half");
  assert.equal((await ensureExampleData({ root, specs: few })).created, true);
  assert.ok(!existsSync(lock));
});

test("a process that loses its lock starts over instead of failing", async (t) => {
  const root = temporaryRoot(t);
  let taken = false;
  const onProgress = () => {
    if (!taken) rmSync(join(root, "egs/example/.lock"), { recursive: true });
    taken = true;
  };
  assert.equal((await ensureExampleData({ root, specs: few, onProgress })).created, true);
});

test("a manifest of the user's own in egs/example is not touched", async (t) => {
  const root = temporaryRoot(t);
  mkdirSync(join(root, "egs/example"), { recursive: true });
  writeFileSync(join(root, "egs/example/data.jsonl"), "mine");
  assert.equal((await ensureExampleData({ root, specs: few })).created, false);
  assert.deepEqual(readdirSync(join(root, "egs/example")), ["data.jsonl"]);
});

test("a file in the place of the folder is reported as a user's error that names it", async (t) => {
  const root = temporaryRoot(t);
  writeFileSync(join(root, "egs"), "");
  await assert.rejects(ensureExampleData({ root, specs: few }), (error: Error) => {
    return error instanceof UserError && error.message.includes(join(root, "egs/example"));
  });
});

interface Entry {
  path: string;
  duration: number;
}

function manifest(root: string, name: string): Entry[] {
  const text = readFileSync(join(root, "egs/example", name), "utf8");
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}

function changeTimes(root: string): Record<string, number> {
  const clips = join(root, "egs/example/clips");
  return Object.fromEntries(readdirSync(clips).map((name) => [name, statSync(join(clips, name)).mtimeMs]));
}

function temporaryRoot(t: TestContext): string {
  const root = mkdtempSync(join(tmpdir(), "example-data-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  return root;
}

async function decodeFlac(file: Uint8Array): Promise<{ sampleRate: number; channels: Int16Array[] }> {
  const decoder = new FLACDecoder();
  await decoder.ready;
  const decoded = await decoder.decodeFile(file);
  decoder.free();
  assert.deepEqual(decoded.errors, []);
  return {
    sampleRate: decoded.sampleRate,
    // This decoder scales by 1 / 32767.
    channels: decoded.channelData.map((samples) => Int16Array.from(samples, (x) => Math.round(x * 32767))),
  };
}

/** Pearson correlation over the shorter length. */
function correlation(a: Float32Array, b: Float32Array): number {
  let ab = 0;
  let aa = 0;
  let bb = 0;
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    ab += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return ab / Math.sqrt(aa * bb);
}
