/** A corpus of files that no data set can use, in every way that occurred to us: none may stop a run or pass for audio. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { encodeWav } from "../../src/data/audio/write_wav.ts";
import type { AudioMeta } from "../../src/data/manifest.ts";
import { goldenPath } from "./files.ts";

export interface Damaged {
  meta: AudioMeta;
  /** What the message must say. */
  reason: RegExp;
}

/** Makes the files in a folder; all claim `seconds` in the manifest. `close` ends the socket among them. */
export async function makeDamagedFiles(
  folder: string,
  seconds: number,
): Promise<{ files: Damaged[]; close: () => void }> {
  mkdirSync(folder, { recursive: true });
  const files: Damaged[] = [];
  const add = (name: string, reason: RegExp, content?: Uint8Array | ((path: string) => void)) => {
    const path = join(folder, name);
    if (typeof content === "function") content(path);
    else if (content) writeFileSync(path, content);
    const sampleRate = name.endsWith(".wav") ? 8000 : null;
    const meta = { path, duration: seconds, sampleRate, amplitude: null, weight: null, infoPath: null };
    files.push({ meta, reason });
  };
  addWavs(add, seconds);
  addAiffs(add);
  addCompressed(add);
  addOtherThings(add);
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(join(folder, "socket.wav"), resolve));
  server.unref();
  add("socket.wav", /not a regular file/);
  return { files, close: () => server.close() };
}

type Add = (name: string, reason: RegExp, content?: Uint8Array | ((path: string) => void)) => void;

/** `good` with some bytes replaced. */
function patched(good: Uint8Array, at: number, ...values: number[]): Uint8Array {
  const bytes = Uint8Array.from(good);
  bytes.set(values, at);
  return bytes;
}

function addWavs(add: Add, seconds: number): void {
  const noise = Float32Array.from({ length: seconds * 8000 }, (_, i) => Math.sin(i * i) / 2);
  const good = encodeWav({ samples: [noise], sampleRate: 8000 }, "s16");
  // Fields of the header begin at these bytes; the samples at 44.
  for (const [at, reason] of [
    [0, /empty/],
    [4, /no audio format/],
    [8, /no audio format/],
    [12, /cut off/],
    [16, /cut off/],
    [20, /cut off/],
    [22, /cut off/],
    [24, /cut off/],
    [28, /cut off/],
    [32, /cut off/],
    [34, /cut off/],
    [36, /no data chunk/],
    [40, /no data chunk/],
    [44, /truncated/],
    [good.length >> 1, /truncated/],
    [good.length - 100, /truncated/],
  ] as const)
    add(`cut_at_${at}.wav`, reason, good.subarray(0, at));
  add("no_samples.wav", /no audio/, patched(good.subarray(0, 44), 40, 0, 0, 0, 0));
  add("no_channels.wav", /0 channels/, patched(good, 22, 0, 0));
  add("many_channels.wav", /channels|bits/, patched(good, 22, 255, 255));
  add("rate_0.wav", /rate of 0 Hz/, patched(good, 24, 0, 0, 0, 0));
  add("rate_2_31.wav", /2147483648 Hz/, patched(good, 24, 0, 0, 0, 128));
  add("rate_flipped.wav", /claims 24576 Hz/, patched(good, 24, 0, 0x20 ^ 0x40));
  add("unknown_encoding.wav", /not supported/, patched(good, 20, 0x55));
  add("block_of_0_bytes.wav", /0 bits/, patched(good, 32, 0, 0));
  add("promises_more.wav", /truncated/, patched(good, 43, 1));
  const float = encodeWav({ samples: [noise], sampleRate: 8000 }, "f32");
  const header = float.length - 4 * noise.length;
  const nan = Uint8Array.from(float);
  for (let at = header + 60; at + 4 < nan.length; at += 4000) nan.set([0, 0, 0xc0, 0x7f], at);
  add("nan.wav", /NaN/, nan);
  const loud = Uint8Array.from(float);
  for (let at = header + 60; at + 4 < loud.length; at += 4000) loud.set([0, 0, 0x80, 0x7e], at);
  add("absurdly_loud.wav", /full scale/, loud);
  const brief = encodeWav({ samples: [noise.subarray(0, 2000)], sampleRate: 8000 }, "s16");
  add("shorter_than_its_row.wav", /the manifest says/, brief);
}

function addAiffs(add: Add): void {
  const good = Buffer.alloc(54 + 16000);
  good.write("FORM\0\0>\xb6AIFFCOMM\0\0\0\x12", 0, "latin1");
  good.writeInt16BE(1, 20);
  good.writeUInt32BE(8000, 22);
  good.writeInt16BE(16, 26);
  good.set([0x40, 0x0b, 0xfa], 28);
  good.write("SSND", 38);
  good.writeUInt32BE(8 + 16000, 42);
  add("cut.aiff", /truncated/, good.subarray(0, 8000));
  add("no_header.aiff", /cut off/, good.subarray(0, 14));
  add("no_sound.aiff", /no sound chunk/, good.subarray(0, 38));
  add("rate_0.aiff", /rate of 0 Hz/, patched(good, 28, 0, 0, 0));
}

function addCompressed(add: Add): void {
  const flac = readFileSync(goldenPath("s16_44100_stereo.flac"));
  const mp3 = readFileSync(goldenPath("tone.mp3"));
  const ogg = readFileSync(goldenPath("tone.ogg"));
  const opus = readFileSync(goldenPath("tone.opus"));
  const half = (bytes: Buffer) => bytes.subarray(0, bytes.length >> 1);
  const noise = (bytes: Buffer, from: number) =>
    bytes.map((byte, i) => (i < from ? byte : (i * i * 31) & 255));
  add("cut_in_the_mark.flac", /no audio format/, flac.subarray(0, 3));
  add("cut_in_the_header.flac", /cut off/, flac.subarray(0, 20));
  // Where the samples are counted: more than the row's 4 s, so that only the frames are at fault.
  const counted = (bytes: Uint8Array) => patched(bytes, 21, flac[21] & 0xf0, 0, 3, 0xff, 0xff);
  add("without_frames.flac", /no valid frame/, counted(patched(flac.subarray(0, 42), 4, 0x80)));
  add("promises_more.flac", /no valid frame/, counted(half(flac)));
  add("noise_for_frames.flac", /no valid frame/, counted(noise(flac, 200)));
  add("cut.mp3", /truncated/, half(mp3));
  add("tags_only.mp3", /no MPEG audio/, Buffer.from("ID3\x04\0\0\0\0\0\x0aTIT2 words"));
  add("words.mp3", /no MPEG audio/, Buffer.from("This is a letter, and no music. ".repeat(200)));
  add("cut.ogg", /./, half(ogg));
  add("first_page.ogg", /./, ogg.subarray(0, 58));
  add("noise_for_pages.ogg", /./, noise(ogg, 5000));
  add("cut.opus", /./, half(opus));
  add("noise_for_pages.opus", /./, noise(opus, 200));
}

function addOtherThings(add: Add): void {
  add("words.wav", /no audio format/, Buffer.from("These are only words."));
  add("picture.flac", /no audio format/, Buffer.from("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "latin1"));
  add("folder.wav", /not a regular file/, (path) => mkdirSync(path));
  add("pipe.wav", /not a regular file/, (path) => spawnSync("mkfifo", [path]));
  add("device.wav", /not a regular file/, (path) => symlinkSync("/dev/zero", path));
  add("dangling_link.wav", /no such file/, (path) => symlinkSync(`${path}.gone`, path));
  add("circle.wav", /too many symbolic links/, (path) => symlinkSync(path, path));
  add("vanished.wav", /no such file/);
  add(`long_${"x".repeat(300)}.wav`, /./);
  if (process.getuid?.() !== 0)
    add("forbidden.wav", /permission denied/, (path) => {
      writeFileSync(path, "RIFF");
      chmodSync(path, 0);
    });
}
