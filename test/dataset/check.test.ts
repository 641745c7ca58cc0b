/** `npm run dataset`: what is wrong with data sets, and what they hold. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { encodeFlac } from "../../src/data/audio/write_flac.ts";
import { toInt16, writeWav } from "../../src/data/audio/write_wav.ts";
import { type AudioMeta, readManifest } from "../../src/data/manifest.ts";
import { fingerprint } from "../../src/dataset/fingerprint.ts";
import { nearDuplicates } from "../../src/dataset/near_duplicates.ts";
import type { Report } from "../../src/dataset/report.ts";
import { main } from "../../src/dataset.ts";
import { UserError } from "../../src/errors.ts";
import { TorchGenerator } from "../../src/random/mt19937.ts";
import { manifestOf, scratch } from "../data/files.ts";
import { printed } from "../printed.ts";

const folder = scratch();
const RATE = 8000;

/** A tune: four notes a second, and a little noise. */
function tune(seed: number, seconds: number, rate = RATE): Float32Array {
  const random = new TorchGenerator(seed);
  const notes = Array.from({ length: Math.ceil(seconds * 4) }, () => 200 * 2 ** (random.randint(30) / 12));
  return Float32Array.from({ length: seconds * rate }, (_, i) => {
    const t = i / rate;
    const hertz = notes[Math.floor(4 * t)];
    const envelope = Math.exp(-3 * (t % 0.25));
    const tone = Math.sin(2 * Math.PI * hertz * t) + 0.3 * Math.sin(6 * Math.PI * hertz * t);
    return 0.3 * envelope * tone + 0.002 * (random.rand() - 0.5);
  });
}

/** Writes a described file; its manifest row, as the manifest has it. */
function file(
  name: string,
  wave: Float32Array,
  row: Partial<AudioMeta> = {},
  rate = RATE,
): Record<string, unknown> {
  const path = join(folder, name);
  if (name.endsWith(".flac")) writeFileSync(path, encodeFlac([toInt16([wave])], rate));
  else writeWav(path, { samples: [wave], sampleRate: rate });
  writeFileSync(path.replace(/\.\w+$/, ".json"), JSON.stringify({ description: `About ${name}` }));
  return { path, duration: row.duration ?? wave.length / rate, sample_rate: row.sampleRate ?? rate };
}

async function run(t: TestContext, ...argv: string[]) {
  t.mock.method(console, "error", () => {});
  const { result, text } = await printed(() => main(argv));
  return { code: result, text };
}

async function check(t: TestContext, ...argv: string[]): Promise<Report> {
  const { text } = await run(t, "check", "--json", ...argv);
  return JSON.parse(text);
}

const GOOD = [1, 2, 3, 4].map((seed) => file(`good${seed}.wav`, tune(seed, 4)));
const manifest = (name: string, rows: Record<string, unknown>[]) => manifestOf(join(folder, name), rows);
const good = manifest("good.jsonl", GOOD);

test("a data set without problems has exit code 0, and its durations are drawn as bars", async (t) => {
  const { code, text } = await run(t, "check", good);
  assert.equal(code, 0);
  assert.match(text, /4 files, 0\.00 h/);
  assert.match(text, /sample rates: 8000 Hz \(4\)/);
  assert.match(text, /2 to 5 s █+ 4\n/);
  assert.match(text, /no problems found/);
});

const loud = tune(5, 4).map((x) => Math.max(-1, Math.min(1, 8 * x)));
const half = tune(6, 4).map((x, i) => (i < 3 * RATE ? 0 : x));
writeFileSync(join(folder, "broken.wav"), "RIFF");
const bare = file("bare.wav", tune(7, 4));
writeFileSync(join(folder, "bare.json"), '{"title": "no description"}');

let before = 0;
const muffled = tune(4, 4).map((x) => {
  before = 0.9 * before + 0.2 * x;
  return before;
});
const infinite = file("infinite.wav", tune(8, 1));
writeWav(infinite.path as string, { samples: [tune(8, 1)], sampleRate: RATE }, { format: "f32" });
const bytes = readFileSync(infinite.path as string);
bytes.writeFloatLE(Number.NaN, bytes.length - 4000);
writeFileSync(infinite.path as string, bytes);

const PROBLEMS: [string, Record<string, unknown>, RegExp][] = [
  ["broken", { path: join(folder, "broken.wav"), duration: 4, sample_rate: RATE }, /no audio format/],
  ["broken", { path: join(folder, "gone.wav"), duration: 4, sample_rate: RATE }, /there is no such file/],
  ["broken", infinite, /NaN or infinite/],
  ["silence", file("silent.wav", new Float32Array(RATE)), /peak 0/],
  ["mostly-silence", file("half.wav", half), /75 %/],
  ["clipping", file("loud.wav", loud), /% of the samples/],
  ["duration", file("lying.wav", tune(9, 4), { duration: 5 }), /4\.00 s, the manifest says 5\.00 s/],
  ["rate", file("rate.wav", tune(10, 4), { sampleRate: 16000 }), /8000 Hz, the manifest says 16000 Hz/],
  ["no-description", bare, /has no "description"/],
  ["duplicate", file("copy.flac", tune(1, 4)), /like .*good1\.wav/],
  [
    "near-duplicate",
    file(
      "quiet.wav",
      tune(2, 4).map((x) => 0.4 * x),
    ),
    /like .*good2\.wav/,
  ],
  ["near-duplicate", file("muffled.wav", muffled), /like .*good4\.wav/],
  ["near-duplicate", file("late.wav", tune(3, 4).subarray(900)), /like .*good3\.wav/],
  ["near-duplicate", file("other_rate.wav", tune(4, 4, 22050), {}, 22050), /like .*good4\.wav/],
];

for (const [i, [problem, row, detail]] of PROBLEMS.entries())
  test(`${problem} is found: ${row.path?.toString().replace(`${folder}/`, "")}`, async (t) => {
    const report = await check(t, manifest(`problem${i}.jsonl`, [...GOOD, row]));
    const about = Object.entries(report.problems).map(([name, found]) => [
      name,
      found.map(({ path }) => path),
    ]);
    const expected = problem === "broken" && !existsSync(String(row.path).replace("wav", "json"));
    assert.deepEqual(
      about.filter(([name]) => !expected || name !== "no-description"),
      [[problem, [row.path]]],
    );
    assert.match(report.problems[problem as keyof Report["problems"]]![0].detail, detail);
  });

test("the exit code is 1 if there is a problem, and the text names the files, ten for each", async (t) => {
  const bad = Array.from({ length: 12 }, (_, i) => ({ path: join(folder, `no${i}.wav`), duration: 1 }));
  const { code, text } = await run(t, "check", manifest("bad.jsonl", [...GOOD, ...bad]));
  assert.equal(code, 1);
  assert.match(text, /broken \(cannot be read\): 12\n/);
  assert.match(text, /no9\.wav: there is no such file\n {2}… and 2 more/);
  const { text: all } = await run(t, "check", "--all", join(folder, "bad.jsonl"));
  assert.match(all, /no11\.wav: there is no such file/);
});

test("what two manifests share is a duplicate: the same file, or a copy", async (t) => {
  const copy = file("copy2.wav", tune(2, 4));
  const report = await check(t, good, manifest("valid.jsonl", [GOOD[0], copy]));
  assert.deepEqual(
    report.problems.duplicate?.map(({ detail }) => detail.replaceAll(`${folder}/`, "")),
    ["listed before in good.jsonl", "like good2.wav in good.jsonl"],
  );
});

test("--out writes a manifest without broken, silent and doubled files, with facts as they are", async (t) => {
  const out = join(folder, "clean.jsonl");
  const all = manifest("all.jsonl", [...GOOD, ...PROBLEMS.map(([, row]) => row)]);
  await run(t, "check", all, "--out", out);
  const rows = readManifest(out);
  const dropped = new Set(["broken", "silence", "duplicate"]);
  const kept = PROBLEMS.filter(([problem]) => !dropped.has(problem)).map(([, row]) => row.path);
  assert.deepEqual(
    rows.map(({ path }) => path),
    [...GOOD.map(({ path }) => path), ...kept],
  );
  const lying = rows.find(({ path }) => path.endsWith("lying.wav"))!;
  assert.equal(lying.duration, 4);
  assert.ok(lying.amplitude! > 0.2);
  await run(t, "check", all, "--out", out, "--drop", "broken,no-description");
  assert.ok(!readManifest(out).some(({ path }) => path.endsWith("bare.wav")));
});

test("several threads find the same as one", async (t) => {
  const rows = Array.from({ length: 50 }, (_, i) => file(`many${i}.wav`, tune(50 + i, 0.5)));
  const many = manifest("many.jsonl", [...rows, ...PROBLEMS.map(([, row]) => row)]);
  assert.deepEqual(await check(t, many, "-j", "2"), await check(t, many, "-j", "1"));
});

test("stationary and unrelated sounds are no near duplicates", () => {
  const tones = [220, 330, 440].map((hertz) =>
    fingerprint(
      Float32Array.from({ length: 4 * RATE }, (_, i) => 0.3 * Math.sin((2 * Math.PI * hertz * i) / RATE)),
      RATE,
    ),
  );
  const noises = [1, 2].map((seed) => {
    const random = new TorchGenerator(seed);
    return fingerprint(
      Float32Array.from({ length: 4 * RATE }, () => random.rand() - 0.5),
      RATE,
    );
  });
  const tunes = [20, 21, 22].map((seed) => fingerprint(tune(seed, 4), RATE));
  assert.deepEqual(nearDuplicates([...tones, ...noises, ...tunes]), []);
  assert.deepEqual(nearDuplicates([...noises, ...tunes, noises[0]]), [[0, 5]]);
});

test("show prints entries with their descriptions", async (t) => {
  const { code, text } = await run(t, "show", good, "-n", "2");
  assert.equal(code, 0);
  assert.match(text, /good1\.wav: 4\.00 s, 8000 Hz\n {4}description: About good1\.wav/);
  assert.ok(text.includes("good2") && !text.includes("good3"));
});

const WRONG: [string, RegExp, string[]][] = [
  ["an unknown command", /no command 'dataset mend'/, ["mend"]],
  ["no manifest", /no manifest is given/, ["check"]],
  ["a missing manifest", /manifest not found/, ["check", join(folder, "none.jsonl")]],
  ["an unknown problem", /--drop ugly/, ["check", good, "--drop", "ugly"]],
  ["one target for two manifests", /one manifest/, ["check", good, good, "--out", join(folder, "x.jsonl")]],
];
for (const [what, message, argv] of WRONG)
  test(`${what} is a user's error`, async (t) => {
    await assert.rejects(
      run(t, ...argv),
      (error) => error instanceof UserError && message.test(error.message),
    );
  });
