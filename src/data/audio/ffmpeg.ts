/** Decoding by the system's ffmpeg, one process per segment. */
import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { UserError } from "../../errors.ts";
import { type AudioFile, type AudioInfo, AudioReadError, describeAudio } from "./audio.ts";
import { requireSaneLevel } from "./level.ts";

/** Seconds decoded before a segment: after a seek, MP3 (bit reservoir) and Opus (prediction) are wrong for a while. */
const PREROLL = 1;

export class FfmpegFile implements AudioFile {
  readonly info: AudioInfo;
  private path: string;
  private ffmpeg: string;

  /** `info` must be exact: ffmpeg is asked for samples by time, and must give as many as were asked. */
  constructor(ffmpeg: string, path: string, info: AudioInfo) {
    this.ffmpeg = ffmpeg;
    this.path = path;
    this.info = info;
  }

  async read(start: number, frames: number): Promise<Float32Array[]> {
    const { sampleRate, channels } = this.info;
    const preroll = Math.min(start, Math.ceil(PREROLL * sampleRate));
    const count = preroll + frames;
    // Not even to 0 where it need not seek: that may lose an MP3's first frame.
    const seek = start > preroll ? ["-ss", ((start - preroll) / sampleRate).toFixed(9)] : [];
    const bytes = await this.run(
      [...seek, "-i", `file:${this.path}`, "-map", "0:a:0"],
      [
        "-af",
        `atrim=end_sample=${count}`,
        "-ar",
        String(sampleRate),
        "-ac",
        String(channels),
        "-f",
        "f32le",
        "-",
      ],
    );
    if (bytes.length < count * channels * 4) {
      const got = Math.max(0, bytes.length / (4 * channels) - preroll);
      throw new AudioReadError(
        this.path,
        `ffmpeg gave ${got} of ${frames} samples: it is damaged or truncated`,
      );
    }
    const interleaved = new Float32Array(bytes.buffer, 4 * preroll * channels, frames * channels);
    const samples = Array.from({ length: channels }, (_, c) => {
      const out = new Float32Array(frames);
      for (let i = 0, j = c; i < frames; i++, j += channels) out[i] = interleaved[j];
      return out;
    });
    return requireSaneLevel(this.path, samples);
  }

  close(): void {}

  private run(input: string[], output: string[]): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const child = spawn(this.ffmpeg, ["-v", "error", "-nostdin", ...input, ...output], {
        stdio: ["ignore", "pipe", "pipe"],
      });
      const chunks: Buffer[] = [];
      let complaint = "";
      child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
      child.stderr.on("data", (chunk: Buffer) => {
        if (complaint.length < 1000) complaint += chunk;
      });
      child.on("error", (error) =>
        reject(new AudioReadError(this.path, `ffmpeg did not start: ${error.message}`)),
      );
      child.on("close", (code) => {
        if (code !== 0)
          reject(new AudioReadError(this.path, `ffmpeg: ${complaint.trim().split("\n")[0] || code}`));
        else resolve(join4(chunks));
      });
    });
  }
}

/** What ffmpeg says of a file that only it can read. The duration has a resolution of 10 ms. */
export function probeWithFfmpeg(ffmpeg: string, path: string): AudioInfo {
  const { stderr } = spawnSync(ffmpeg, ["-hide_banner", "-nostdin", "-i", `file:${path}`], {
    encoding: "utf8",
  });
  const duration = /Duration: (\d+):(\d+):([\d.]+)/.exec(stderr);
  const stream = /Audio: .*?, (\d+) Hz, ([^,\n]+)/.exec(stderr);
  if (!duration || !stream) {
    const reason = stderr.trim().split("\n").at(-1)?.replace(`file:${path}: `, "") ?? "no audio in it";
    throw new AudioReadError(path, `ffmpeg: ${reason}`);
  }
  const seconds = 3600 * Number(duration[1]) + 60 * Number(duration[2]) + Number(duration[3]);
  const sampleRate = Number(stream[1]);
  return describeAudio(path, sampleRate, channelCount(stream[2]), Math.floor(seconds * sampleRate));
}

const LAYOUTS: Record<string, number> = {
  mono: 1,
  stereo: 2,
  "2.1": 3,
  "4.0": 4,
  quad: 4,
  "5.0": 5,
  "5.1": 6,
  "7.1": 8,
};

function channelCount(layout: string): number {
  const name = layout.replace(/\(.*\)/, "").trim();
  return LAYOUTS[name] ?? Number.parseInt(name, 10);
}

/** Path of ffmpeg: $FFMPEG_PATH ("none": use no ffmpeg), else the first in PATH, else undefined. */
export function findFfmpeg(environment: NodeJS.ProcessEnv = process.env): string | undefined {
  const chosen = environment.FFMPEG_PATH;
  if (chosen === "none") return undefined;
  if (chosen) {
    if (!isExecutable(chosen))
      throw new UserError(`FFMPEG_PATH=${chosen}: there is no executable file of this name`);
    return chosen;
  }
  for (const folder of (environment.PATH ?? "").split(delimiter)) {
    const path = join(folder, "ffmpeg");
    if (folder && isExecutable(path)) return path;
  }
  return undefined;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Joins chunks into memory aligned for float32 (Buffer.concat may hand out an unaligned slice of its pool). */
function join4(chunks: Buffer[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
