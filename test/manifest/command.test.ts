/** `npm run manifest`: folders, limits, updates, splits, tables and shards. */
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { readManifest } from "../../src/data/manifest.ts";
import { UserError } from "../../src/errors.ts";
import { main } from "../../src/manifest.ts";
import { rampWav, scratch } from "../data/files.ts";
import { printed } from "../printed.ts";

const root = scratch();
let folders = 0;

/** A new folder with mono files of 1000 Hz: name -> seconds. */
function audioFolder(files: Record<string, number> = {}): string {
  const folder = join(root, `set${folders++}`);
  mkdirSync(join(folder, "deep"), { recursive: true });
  for (const [name, seconds] of Object.entries(files)) rampWav(join(folder, name), seconds);
  return folder;
}

/** Runs the command: its exit code and what it printed. */
async function run(t: TestContext, ...argv: string[]) {
  const lines: string[] = [];
  t.mock.method(console, "error", (line: string) => lines.push(line));
  try {
    const { result, text } = await printed(() => main(argv));
    return { code: result, text: [...lines, text].join("\n") };
  } finally {
    t.mock.restoreAll();
  }
}

const names = (manifest: string) => readManifest(manifest).map(({ path }) => basename(path));
const sidecar = (path: string) => JSON.parse(readFileSync(path, "utf8"));

test("a folder becomes a manifest, named by --out or, as in AudioCraft, after it", async (t) => {
  const folder = audioFolder({ "b.wav": 2, "deep/a.wav": 1 });
  for (const argv of [
    [folder, "--out", join(folder, "1.jsonl.gz")],
    [folder, join(folder, "2.jsonl")],
  ]) {
    assert.equal((await run(t, ...argv)).code, 0);
    const rows = readManifest(argv.at(-1)!);
    assert.deepEqual(
      rows.map(({ path, duration, sampleRate, amplitude }) => [path, duration, sampleRate, amplitude]),
      [
        [join(folder, "b.wav"), 2, 1000, null],
        [join(folder, "deep", "a.wav"), 1, 1000, null],
      ],
    );
  }
});

test("many files are read by several threads, with the same result as by one", async (t) => {
  const files = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`f${i}.wav`, 0.1 + i / 100]));
  const folder = audioFolder(files);
  writeFileSync(join(folder, "broken.wav"), "RIFF");
  const one = await run(t, folder, "--complete", "-j", "1", join(folder, "1.jsonl"));
  const two = await run(t, folder, "--complete", "-j", "2", join(folder, "2.jsonl"));
  assert.equal(readFileSync(join(folder, "2.jsonl"), "utf8"), readFileSync(join(folder, "1.jsonl"), "utf8"));
  assert.equal(readManifest(join(folder, "2.jsonl")).length, 60);
  assert.deepEqual([one.code, two.code], [1, 1]);
});

test("files that cannot be read are named at the end, and make the exit code 1; the manifest holds the others", async (t) => {
  const folder = audioFolder({ "good.wav": 1 });
  writeFileSync(join(folder, "broken.flac"), "fLaC");
  writeFileSync(join(folder, "empty.mp3"), "");
  mkdirSync(join(folder, "folder.wav"));
  symlinkSync(join(folder, "nowhere"), join(folder, "dangling.wav"));
  const { code, text } = await run(t, folder, join(folder, "data.jsonl"));
  assert.equal(code, 1);
  for (const name of ["broken.flac", "empty.mp3", "dangling.wav"]) assert.match(text, new RegExp(name));
  assert.match(text, /1 files, .*3 not readable/);
  assert.deepEqual(names(join(folder, "data.jsonl")), ["good.wav"]);
});

test("a file that links also lead to is listed once, by its own path; --resolve follows links", async (t) => {
  const folder = audioFolder({ "deep/z.wav": 1 });
  symlinkSync(join(folder, "deep", "z.wav"), join(folder, "a.wav"));
  symlinkSync(join(folder, "deep"), join(folder, "a"));
  await run(t, folder, join(folder, "data.jsonl"));
  assert.deepEqual(
    readManifest(join(folder, "data.jsonl")).map(({ path }) => path),
    [join(folder, "deep", "z.wav")],
  );
  const links = audioFolder();
  symlinkSync(join(folder, "deep", "z.wav"), join(links, "link.wav"));
  await run(t, links, join(links, "1.jsonl"));
  await run(t, links, "--resolve", join(links, "2.jsonl"));
  assert.deepEqual(
    [...names(join(links, "1.jsonl")), ...names(join(links, "2.jsonl"))],
    ["link.wav", "z.wav"],
  );
});

test("limits of duration and rate leave files out", async (t) => {
  const folder = audioFolder({ "1.wav": 1, "2.wav": 2, "3.wav": 3 });
  rampWav(join(folder, "high.wav"), 2, 4000);
  const out = join(folder, "data.jsonl");
  const { text } = await run(
    t,
    folder,
    out,
    "--min-duration",
    "1.5",
    "--max-duration",
    "2.5",
    "--max-rate",
    "2000",
  );
  assert.deepEqual(names(out), ["2.wav"]);
  assert.match(text, /3 outside of the limits/);
  await run(t, folder, out, "--min-rate", "2000");
  assert.deepEqual(names(out), ["high.wav"]);
  await assert.rejects(run(t, folder, out, "--min-duration", "50"), /none of the 4 files/);
});

test("an update keeps what is known of unchanged files, reads changed and new ones, and drops vanished ones", async (t) => {
  const folder = audioFolder({ "same.wav": 1, "changed.wav": 1, "gone.wav": 1 });
  const out = join(folder, "data.jsonl");
  for (const name of ["same", "changed", "gone"]) utimesSync(join(folder, `${name}.wav`), 1000, 1000);
  await new Promise((resolve) => setTimeout(resolve, 20));
  await run(t, folder, out);
  // A weight set by hand, and a duration that only a file that is not read again can keep.
  const text = readFileSync(out, "utf8")
    .replaceAll('"weight":null', '"weight":3')
    .replaceAll('"duration":1,', '"duration":1.25,');
  writeFileSync(`${out}.new`, text);
  renameSync(`${out}.new`, out);
  await new Promise((resolve) => setTimeout(resolve, 20));
  rmSync(join(folder, "gone.wav"));
  rampWav(join(folder, "changed.wav"), 2);
  // The time of modification alone would not tell.
  utimesSync(join(folder, "changed.wav"), 1000, 1000);
  rampWav(join(folder, "new.wav"), 3);
  await run(t, folder, out, "--update");
  assert.deepEqual(
    readManifest(out).map(({ path, duration, weight }) => [basename(path), duration, weight]),
    [
      ["changed.wav", 2, 3],
      ["new.wav", 3, null],
      ["same.wav", 1.25, 3],
    ],
  );
});

test("--complete updates too, and fills in the amplitudes that are missing", async (t) => {
  const folder = audioFolder({ "a.wav": 1 });
  const out = join(folder, "data.jsonl");
  await run(t, folder, out);
  rampWav(join(folder, "b.wav"), 2);
  await run(t, folder, out, "--complete");
  assert.deepEqual(
    readManifest(out).map(({ amplitude }) => amplitude),
    [999 / 2 ** 20, 1999 / 2 ** 20],
  );
});

test("an update with another folder adds to the manifest", async (t) => {
  const [first, second] = [audioFolder({ "a.wav": 1 }), audioFolder({ "b.wav": 1 })];
  const out = join(first, "data.jsonl");
  await run(t, first, out);
  await run(t, second, out, "--update");
  assert.deepEqual(names(out), ["a.wav", "b.wav"]);
});

test("a split puts each file into one of three manifests, by its name and the seed alone", async (t) => {
  const files = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`f${i}.wav`, 0.1]));
  const folder = audioFolder(files);
  const split = async (from: string, out: string, ...argv: string[]) => {
    await run(t, from, "--out", join(out, "data.jsonl"), "--split", "0.6/0.2/0.2", ...argv);
    return ["train", "valid", "evaluate"].map((name) => names(join(out, name)));
  };
  const first = await split(folder, join(folder, "one"));
  assert.deepEqual(first.flat().sort(), Object.keys(files).sort());
  assert.ok(
    first[0].length > 15 && first[1].length > 1 && first[2].length > 1,
    `${first.map(({ length }) => length)}`,
  );
  assert.notDeepEqual(await split(folder, join(folder, "two"), "--seed", "1"), first);
  // Elsewhere, and among other files, each stays where it was.
  const moved = audioFolder({ ...files, "more.wav": 0.1, "deep/f1.wav": 0.1 });
  const second = await split(moved, join(moved, "one"));
  for (const [i, part] of first.entries()) for (const name of part) assert.ok(second[i].includes(name), name);
  // An update moves nothing, whatever the seed.
  rampWav(join(folder, "late.wav"), 0.1);
  const third = await split(folder, join(folder, "one"), "--update", "--seed", "5");
  for (const [i, part] of first.entries()) for (const name of part) assert.ok(third[i].includes(name), name);
  assert.equal(third.flat().length, 41);
});

const MUSICCAPS = `ytid,start_s,end_s,audioset_positive_labels,aspect_list,caption,author_id,is_balanced_subset,is_audioset_eval
-0Gj8-vB1q4,30,40,"/m/0140xf,/m/02cjck","['low quality', ""it's sad"", 'slow']","A ""low"" quality
recording, calm",4,False,True
ABCDEFGHIJK,0,10,/m/0140xf,['bright'],Second,4,False,True
12345678901,30,40,/m/0140xf,[],Third,4,False,True
zzzzzzzzzzz,30,40,/m/0140xf,[],Vanished,4,False,True
`;

test("MusicCaps' table finds its audio by YouTube id and writes descriptions", async (t) => {
  const folder = audioFolder();
  const audio = [
    "-0Gj8-vB1q4.wav",
    "Title [ABCDEFGHIJK].wav",
    "12345678901_30_40.wav",
    "12345678901_50_60.wav",
  ];
  for (const name of audio) rampWav(join(folder, name), 10);
  writeFileSync(join(folder, "12345678901_30_40.json"), '{"description": "mine"}');
  const table = join(root, "musiccaps.csv");
  writeFileSync(table, MUSICCAPS);
  const out = join(folder, "data.jsonl");
  const { code, text } = await run(t, table, "--audio", folder, "--out", out);
  assert.equal(code, 0);
  assert.deepEqual(names(out), ["-0Gj8-vB1q4.wav", "12345678901_30_40.wav", "Title [ABCDEFGHIJK].wav"]);
  assert.match(text, /no audio for 1 of 4 rows: zzzzzzzzzzz/);
  const first = sidecar(join(folder, "-0Gj8-vB1q4.json"));
  assert.deepEqual(first.keywords, ["low quality", "it's sad", "slow"]);
  assert.equal(first.description, 'A "low" quality\nrecording, calm');
  assert.deepEqual([first.duration, first.sample_rate, first.title], [10, 1000, null]);
  assert.equal(sidecar(join(folder, "12345678901_30_40.json")).description, "mine");
  await run(t, table, "--audio", folder, "--out", out, "--overwrite");
  assert.equal(sidecar(join(folder, "12345678901_30_40.json")).description, "Third");
});

test("other tables name files by path, and fields by their usual names", async (t) => {
  const folder = audioFolder({ "a.wav": 1, "deep/b.wav": 1 });
  const table = join(folder, "table.tsv");
  writeFileSync(
    table,
    "file_name\ttext\tTempo\tgenres\tmood\tweight\r\na.wav\tOne\t120\trock\tsad, slow\t2\r\nb.wav\t\t\t\t\t\r\n",
  );
  const out = join(folder, "data.jsonl");
  await run(t, table, "--out", out);
  assert.deepEqual(
    readManifest(out).map(({ path, weight }) => [basename(path), weight]),
    [
      ["a.wav", 2],
      ["b.wav", null],
    ],
  );
  const { description, bpm, genre, moods } = sidecar(join(folder, "a.json"));
  assert.deepEqual([description, bpm, genre, moods], ["One", 120, "rock", "sad, slow"]);
  assert.equal(existsSync(join(folder, "deep", "b.json")), false);
});

for (const compression of ["snappy", "gzip", "brotli"])
  test(`the hub's Parquet files (${compression}) give their audio, descriptions and weights`, async (t) => {
    const folder = audioFolder();
    const table = fileURLToPath(new URL(`../golden/parquet/${compression}.parquet`, import.meta.url));
    const out = join(folder, "data.jsonl");
    const { code } = await run(t, table, "--out", out);
    assert.equal(code, 0);
    const rows = readManifest(out);
    const audio = join(folder, "audio", compression);
    assert.deepEqual(
      rows.map(({ path, duration, weight }) => [path, duration, weight]),
      [
        [join(audio, "000002.wav"), 0.25, 2],
        [join(audio, "deep", "first.wav"), 0.1, 0.5],
      ],
    );
    const first = sidecar(join(audio, "deep", "first.json"));
    assert.deepEqual(
      [first.description, first.keywords, first.bpm],
      ["The first", ["slow", "very sad"], 120],
    );
    assert.equal(sidecar(join(audio, "000002.json")).description, "Überall Töne");
  });

/** Bytes of a tar file. */
async function tar(files: [string, string | Buffer][]): Promise<Buffer> {
  const archive = pack();
  for (const [name, content] of files) archive.entry({ name }, content);
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

const wavBytes = (seconds: number) => readFileSync(rampWav(join(root, "temporary.wav"), seconds).path);

test("WebDataset shards are extracted, with their JSON and text as descriptions; again, nothing is written anew", async (t) => {
  const folder = audioFolder();
  const shard = join(folder, "shard-0000.tar.gz");
  const content = await tar([
    ["./000.wav", wavBytes(1)],
    ["./000.json", '{"caption": "By JSON", "key": "000", "bpm": NaN}'],
    ["./000.txt", "By text"],
    ["part/001.txt", " Only text\n"],
    ["part/001.wav", wavBytes(2)],
    ["002.txt", "no audio"],
  ]);
  writeFileSync(shard, gzipSync(content));
  const out = join(folder, "data.jsonl");
  assert.equal((await run(t, shard, "--out", out)).code, 0);
  const audio = join(folder, "audio", "shard-0000");
  assert.deepEqual(
    readManifest(out).map(({ path, duration }) => [path, duration]),
    [
      [join(audio, "000.wav"), 1],
      [join(audio, "part", "001.wav"), 2],
    ],
  );
  assert.deepEqual(
    [sidecar(join(audio, "000.json")).description, sidecar(join(audio, "000.json")).key],
    ["By JSON", null],
  );
  assert.equal(sidecar(join(audio, "part", "001.json")).description, "Only text");
  utimesSync(join(audio, "000.wav"), 1000, 1000);
  const before = readFileSync(out, "utf8");
  await run(t, shard, "--out", out);
  assert.equal(readFileSync(out, "utf8"), before);
  assert.deepEqual(readdirSync(audio).sort(), ["000.json", "000.wav", "part"]);
});

test("of a truncated shard the whole files are used, and it is named", async (t) => {
  const folder = audioFolder();
  const content = await tar([
    ["a.wav", wavBytes(1)],
    ["b.wav", wavBytes(2)],
  ]);
  const shard = join(folder, "cut.tar");
  writeFileSync(shard, content.subarray(0, 8000));
  const out = join(folder, "data.jsonl");
  const { code, text } = await run(t, shard, "--out", out);
  assert.equal(code, 1);
  assert.match(text, /cut\.tar: the shard is damaged/);
  assert.deepEqual(names(out), ["a.wav"]);
  assert.deepEqual(readdirSync(join(folder, "audio", "cut")), ["a.wav"]);
});

const WRONG: [string, RegExp, (folder: string) => string[] | Promise<string[]>][] = [
  ["no target", /where shall the manifest go/, (folder) => [folder]],
  ["no source", /no folder with audio/, (folder) => [join(folder, "data.jsonl")]],
  ["a target of another kind", /ends in \.jsonl/, (folder) => [folder, "--out", join(folder, "data.json")]],
  [
    "a source that does not exist",
    /nothing does not exist/,
    (folder) => ["nothing", join(folder, "d.jsonl")],
  ],
  ["an unknown option", /--colour/, (folder) => [folder, join(folder, "d.jsonl"), "--colour"]],
  [
    "a number that is none",
    /--min-duration/,
    (folder) => [folder, join(folder, "d.jsonl"), "--min-duration", "x"],
  ],
  [
    "shares that do not add up",
    /add up to 0.7/,
    (folder) => [folder, join(folder, "d.jsonl"), "--split", "0.5/0.2"],
  ],
  ["a folder without audio", /no readable audio/, (folder) => [folder, join(folder, "d.jsonl")]],
  [
    "a table that names no audio",
    /no column names an audio file.*there are: caption, author/,
    (folder) => {
      writeFileSync(join(folder, "t.csv"), "caption,author\nx,y\n");
      return [join(folder, "t.csv"), join(folder, "d.jsonl")];
    },
  ],
  [
    "a table with an open quote",
    /t\.csv:2: a quote/,
    (folder) => {
      writeFileSync(join(folder, "t.csv"), 'path,caption\na.wav,"open\n');
      return [join(folder, "t.csv"), join(folder, "d.jsonl")];
    },
  ],
  [
    "a Parquet file that is none",
    /t\.parquet cannot be read as a Parquet file/,
    (folder) => {
      writeFileSync(join(folder, "t.parquet"), "not parquet at all");
      return [join(folder, "t.parquet"), join(folder, "d.jsonl")];
    },
  ],
  [
    "a shard that would write elsewhere",
    /outside of/,
    async (folder) => {
      writeFileSync(join(folder, "evil.tar"), await tar([["../../evil.wav", wavBytes(1)]]));
      return [join(folder, "evil.tar"), join(folder, "d.jsonl")];
    },
  ],
];
for (const [what, message, make] of WRONG)
  test(`${what} is a user's error, and no manifest is written`, async (t) => {
    const folder = audioFolder();
    const argv = await make(folder);
    await assert.rejects(
      run(t, ...argv),
      (error) => error instanceof UserError && message.test(error.message),
    );
    assert.ok(!readdirSync(folder).some((name) => name.endsWith(".jsonl") || name.endsWith(".tmp")));
  });
