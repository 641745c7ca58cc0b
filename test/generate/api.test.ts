/** The public API: every example of docs/api.md runs, on tiny models in the place of the published ones. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { writeWav } from "../../src/data/audio/write_wav.ts";
import {
  AudioReadError,
  convertAudio,
  EncodecModel,
  MusicGen,
  readAudio,
  UserError,
} from "../../src/index.ts";
import { MELODY, writeTinyCheckpoint } from "../tiny_model.ts";

const project = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "musicgen-api-"));
const text = join(folder, "text.safetensors");
const melody = join(folder, "melody.safetensors");
const intro = join(folder, "intro.wav");

before(async () => {
  await writeTinyCheckpoint(text);
  await writeTinyCheckpoint(melody, MELODY);
  const tone = Float32Array.from({ length: 3 * 22050 }, (_, i) => 0.5 * Math.sin(i / 15));
  writeWav(intro, { samples: [tone, tone], sampleRate: 22050 });
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** What stands in for the published models, and the files that an example must leave behind. */
const STAND_INS: Record<string, string> = {
  "musicgen-tfjs": pathToFileURL(join(project, "src/index.ts")).href,
  "facebook/musicgen-small": text,
  "facebook/musicgen-melody": melody,
  "facebook/encodec_32khz": "//embedded/encodec_tiny_16khz",
};

const examples = [
  ...readFileSync(join(project, "docs/api.md"), "utf8").matchAll(/```ts\n([\s\S]*?)```/g),
].map(([, code]) => code);

test("docs/api.md has examples", () => {
  assert.ok(examples.length >= 6);
});

for (const [index, example] of examples.entries()) {
  const written = [...example.matchAll(/writeAudio\("([^"]+)"/g)].map(([, name]) => name);
  test(`example ${index + 1} of docs/api.md runs${written.length ? ` and writes ${written.join(" and ")}` : ""}`, () => {
    const place = mkdtempSync(join(folder, "example-"));
    cpSync(intro, join(place, "intro.wav"));
    const code = Object.entries(STAND_INS).reduce(
      (script, [name, standIn]) => script.replaceAll(JSON.stringify(name), JSON.stringify(standIn)),
      example,
    );
    writeFileSync(join(place, "example.mts"), code);
    const tsx = pathToFileURL(join(project, "node_modules/tsx/dist/loader.mjs")).href;
    const { status, stderr } = spawnSync(process.execPath, ["--import", tsx, "example.mts"], {
      cwd: place,
      encoding: "utf8",
    });
    assert.equal(status, 0, stderr);
    for (const name of written) assert.ok(existsSync(join(place, name)), name);
  });
}

test("importing the library loads no TensorFlow", () => {
  const tsx = pathToFileURL(join(project, "node_modules/tsx/dist/loader.mjs")).href;
  const script = `await import(${JSON.stringify(STAND_INS["musicgen-tfjs"])});
    process.exit(process.report.getReport().sharedObjects.some((name) => /tensorflow/.test(name)) ? 1 : 0)`;
  const { status } = spawnSync(process.execPath, ["--import", tsx, "--input-type=module", "-e", script]);
  assert.equal(status, 0);
});

test("a model that is not there, and a device that comes too late, are refused in the user's words", async () => {
  await assert.rejects(MusicGen.fromPretrained(join(folder, "nothing.safetensors")), UserError);
  await MusicGen.fromPretrained(text, { device: "cuda" });
  await assert.rejects(MusicGen.fromPretrained(text, { device: "cpu" }), {
    name: "UserError",
    message: /device=cpu comes too late/,
  });
  await assert.rejects(MusicGen.fromPretrained(text, { jit: "fast" as never }), /jit=fast: use auto/);
  await assert.rejects(readAudio(join(folder, "nothing.wav")), AudioReadError);
});

test("a codec decodes what it encoded", async () => {
  const codec = await EncodecModel.fromPretrained("//embedded/encodec_tiny_16khz");
  const { samples } = convertAudio(await readAudio(intro), codec);
  const coded = codec.encode([samples]);
  assert.deepEqual(coded.shape, [1, 4, 150]);
  const [decoded] = codec.decode(coded);
  assert.deepEqual([decoded.length, decoded[0].length], [1, 48000]);
});
