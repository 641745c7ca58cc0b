/** Manifests: reading, errors that say what to do, and making them from folders. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { readManifest, writeManifest } from "../../src/data/manifest.ts";
import { scanFolder } from "../../src/data/scan.ts";
import { UserError } from "../../src/errors.ts";
import { main } from "../../src/manifest.ts";
import { rampWav, scratch } from "./files.ts";

const folder = scratch();
const ROW =
  '{"path": "/a/x.mp3", "duration": 15.024, "sample_rate": 48000, "amplitude": null, "weight": 2, "info_path": null}';

function put(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}

const META = {
  path: "/a/x.mp3",
  duration: 15.024,
  sampleRate: 48000,
  amplitude: null,
  weight: 2,
  infoPath: null,
};

test("the team's mappers replace parts of paths, in order, before they are looked up", () => {
  const folder = scratch();
  writeFileSync(
    join(folder, "data.jsonl"),
    '{"path": "/datasets/a.wav", "duration": 1, "sample_rate": 16000}\n',
  );
  const [row] = readManifest(folder, folder, [
    [/^\/datasets/gu, "/mnt"],
    [/^\/mnt/gu, "/data01"],
  ]);
  assert.equal(row.path, "/data01/a.wav");
});

test("the archive of an info path is mapped and looked up like the audio", () => {
  const folder = scratch();
  const row = { path: "/old/a.wav", duration: 1, info_path: "/old/infos.zip:deep/a.json" };
  writeFileSync(join(folder, "data.jsonl"), JSON.stringify(row));
  const mapped = readManifest(folder, folder, [[/^\/old/gu, "/new"]]);
  assert.equal(mapped[0].infoPath, "/new/infos.zip:deep/a.json");
  assert.equal(readManifest(folder, folder)[0].infoPath, row.info_path);
});

test("AudioCraft's rows are read, unknown fields and blank lines ignored", () => {
  const path = put("plain.jsonl", `${ROW}\n\n{"path": "/b.wav", "duration": 1, "colour": "red"}\n`);
  const rows = readManifest(path);
  assert.deepEqual(rows[0], META);
  assert.equal(rows[1].weight, null);
  assert.equal(rows.length, 2);
});

test("a folder is read by its data.jsonl, rather than data.jsonl.gz", () => {
  put("both/data.jsonl.gz", gzipSync(ROW.replace("x.mp3", "zipped.mp3")));
  assert.equal(readManifest(join(folder, "both"))[0].path, "/a/zipped.mp3");
  put("both/data.jsonl", ROW);
  assert.equal(readManifest(join(folder, "both"))[0].path, "/a/x.mp3");
});

test("relative paths are looked up from the working folder, then from the manifest's folder", () => {
  put("work/audio/here.wav", "x");
  put("work/egs/audio/there.wav", "x");
  const rows = ["audio/here.wav", "audio/there.wav", "audio/nowhere.wav"].map((path) => ({
    path,
    duration: 1,
  }));
  put("work/egs/data.jsonl", rows.map((row) => JSON.stringify(row)).join("\n"));
  const work = join(folder, "work");
  const [here] = readManifest("egs", work);
  assert.equal(here.path, join(work, "audio/here.wav"));
  put("work/egs/data.jsonl", JSON.stringify(rows[1]));
  assert.equal(readManifest("egs/data.jsonl", work)[0].path, join(work, "egs/audio/there.wav"));
  put("work/egs/data.jsonl", JSON.stringify(rows[2]));
  assert.equal(readManifest("egs", work)[0].path, join(work, "audio/nowhere.wav"));
});

const ERRORS: [string, RegExp, () => string][] = [
  ["a missing file", /does not exist.*npm run manifest/s, () => join(folder, "none.jsonl")],
  ["a folder without one", /neither data.jsonl nor data.jsonl.gz/, () => dirname(put("lonely/x.txt", ""))],
  [
    "a line that is not JSON",
    /bad.jsonl:2: this line is not JSON: \{oops/,
    () => put("bad.jsonl", `${ROW}\n{oops\n`),
  ],
  ["a row without a path", /nopath.jsonl:1: .*"path"/, () => put("nopath.jsonl", '{"duration": 1}')],
  ["a row without a duration", /nodur.jsonl:1: .*"duration"/, () => put("nodur.jsonl", '{"path": "a.wav"}')],
  [
    "a negative weight",
    /weight.jsonl:1: "weight"/,
    () => put("weight.jsonl", '{"path": "a", "duration": 1, "weight": -1}'),
  ],
  ["no rows", /empty.jsonl: the data set is empty/, () => put("empty.jsonl", "\n")],
  [
    "a broken gzip file",
    /cut.jsonl.gz: not a valid gzip/,
    () => put("cut.jsonl.gz", gzipSync(ROW).subarray(0, 20)),
  ],
];
for (const [what, message, make] of ERRORS)
  test(`a manifest that is ${what} is a user's error that says where`, () => {
    const source = make();
    assert.throws(
      () => readManifest(source),
      (error) => error instanceof UserError && message.test(error.message),
    );
  });

test("scanning finds audio by suffix, follows links without looping, and reports what it cannot read", async () => {
  const root = join(folder, "scan");
  mkdirSync(join(root, "deep"), { recursive: true });
  rampWav(join(root, "deep", "b.WAV"), 2);
  rampWav(join(root, "a.wav"), 1.5);
  writeFileSync(join(root, "broken.wav"), "RIFF");
  writeFileSync(join(root, "notes.txt"), "");
  symlinkSync(root, join(root, "deep", "up"));
  const unreadable: string[] = [];
  const rows = await scanFolder(root, { amplitude: true, onUnreadable: (path) => unreadable.push(path) });
  assert.deepEqual(
    rows.map(({ path, duration }) => [path, duration]),
    [
      [join(root, "a.wav"), 1.5],
      [join(root, "deep", "b.WAV"), 2],
    ],
  );
  assert.equal(rows[1].amplitude, 1999 / 2 ** 20);
  assert.deepEqual(unreadable, [join(root, "broken.wav")]);
});

test("written manifests read back the same, plain and gzipped", () => {
  for (const name of ["out/data.jsonl", "out/data.jsonl.gz"]) {
    const path = join(folder, name);
    writeManifest(path, [META]);
    assert.deepEqual(readManifest(path), [META]);
  }
});

test("the manifest command writes the manifest of a folder", async (t) => {
  t.mock.method(console, "log", () => {});
  t.mock.method(console, "error", () => {});
  const out = join(folder, "made", "data.jsonl");
  await main([join(folder, "scan"), "--out", out]);
  assert.equal(readManifest(out).length, 2);
  assert.match(
    readFileSync(out, "utf8"),
    /^\{"path":".*","duration":1.5,"sample_rate":1000,"amplitude":null/,
  );
});

test("the manifest command without a target, or over a folder without audio, is a user's error", async () => {
  await assert.rejects(main([folder]), UserError);
  const quiet = join(folder, "quiet");
  mkdirSync(quiet);
  await assert.rejects(main([quiet, "--out", join(quiet, "data.jsonl")]), /no readable audio/);
  assert.equal(existsSync(join(quiet, "data.jsonl")), false);
});
