/** Audio: resampling, channels, levels, loudness, 16-bit samples, chroma, and reading files. */
import { convertChannels } from "../data/audio/channels.ts";
import { integratedLoudness } from "../data/audio/loudness.ts";
import { type NormalizeOptions, normalizeAudio } from "../data/audio/normalize.ts";
import { audioInfo, readAudio } from "../data/audio/read.ts";
import { resample } from "../data/audio/resample.ts";
import { toInt16 } from "../data/audio/write_wav.ts";
import { type Checks, check, failed } from "./check.ts";
import { maxDifference, mismatches } from "./compare.ts";
import type { GoldenFolder, Json } from "./folder.ts";

const sampleRate = 32000;

export async function* verifyAudio(folder: GoldenFolder): Checks {
  if (folder.has("resample.safetensors")) yield* verifyResampling(folder);
  if (folder.has("channels.safetensors")) yield* verifyChannels(folder);
  if (folder.has("normalize.safetensors")) yield* verifyLevels(folder);
  if (folder.has("wav_read.safetensors")) yield* verifyReads(folder);
  if (folder.has("wav_info.json")) yield* verifyInfos(folder);
  if (folder.has("chroma.safetensors")) yield* (await import("./chroma.ts")).verifyChroma(folder);
}

async function* verifyResampling(folder: GoldenFolder): Checks {
  const file = "resample";
  for (const name of folder.tensors(file).names) {
    const rates = /^(short_)?out_(\d+)_(\d+)(?:_(full|len\d+))?$/.exec(name);
    if (!rates) continue;
    const [, short, from, to, ending] = rates;
    yield await check(`resample ${name}`, 2e-6, () => {
      const input = planar(folder, file, short ? "short_in" : `in_${from}`);
      const output = resample(input, Number(from), Number(to));
      const length = folder.tensors(file).shape(name).at(-1)!;
      const cut = ending?.startsWith("len") ? output.map((channel) => channel.subarray(0, length)) : output;
      return maxDifference(flatten(cut), folder.values(file, name));
    });
  }
}

async function* verifyChannels(folder: GoldenFolder): Checks {
  const file = "channels";
  for (const name of folder.tensors(file).names) {
    const conversion = /^(.+)_to_(\d+)$/.exec(name);
    const whole = /^conv_out_(\d+)_(mono|stereo)$/.exec(name);
    if (conversion) {
      const [, from, channels] = conversion;
      yield await check(`channels ${name}`, 0, () => {
        const batch = clips(folder, file, from);
        const converted = batch.map((clip) => convertChannels(clip, Number(channels)));
        return mismatches(flatten(converted.flat()), folder.values(file, name));
      });
    } else if (whole) {
      const channels = whole[2] === "mono" ? 1 : 2;
      yield await check(`channels and rate ${name}`, 2e-6, () => {
        const input = folder.tensors(file).names.find((other) => /^conv_in_\d+/.test(other))!;
        const rate = Number(/\d+/.exec(input)![0]);
        const converted = resample(
          convertChannels(planar(folder, file, input), channels),
          rate,
          Number(whole[1]),
        );
        return maxDifference(flatten(converted), folder.values(file, name));
      });
    }
  }
  const refused = Object.keys((folder.meta.channel_errors ?? {}) as Json);
  for (const name of refused) {
    yield await check(`channels ${name} is refused`, 0, () => {
      const [from, channels] = name.split("_to_");
      try {
        convertChannels(planar(folder, file, from), Number(channels));
        return 1;
      } catch {
        return 0;
      }
    });
  }
}

const strategies: Record<string, NormalizeOptions> = {
  peak: { strategy: "peak" },
  clip: { strategy: "clip" },
  rms: { strategy: "rms" },
  loudness: { strategy: "loudness" },
  peak_nonorm: { strategy: "peak", normalize: false },
  rms_nonorm: { strategy: "rms", normalize: false },
  loudness_compressor: { strategy: "loudness", loudnessCompressor: true },
};

async function* verifyLevels(folder: GoldenFolder): Checks {
  const file = "normalize";
  for (const name of folder.tensors(file).names) {
    if (name.startsWith("in_")) continue;
    const [signal, ...rest] = name.split("_");
    const what = rest.join("_");
    const input = () => planar(folder, file, `in_${signal}`);
    const expected = () => folder.values(file, name);
    if (what === "lufs") {
      yield await check(`loudness ${name}`, 1e-2, () =>
        maxDifference([integratedLoudness(input(), sampleRate)], expected()),
      );
    } else if (what === "i16") {
      yield await check(`16-bit ${name}`, 0, () => {
        const channels = input();
        const interleaved = toInt16(channels);
        const ours = channels.map((_, c) => interleaved.filter((_value, i) => i % channels.length === c));
        return mismatches(flatten(ours), expected());
      });
    } else if (strategies[what]) {
      yield await check(`normalize ${name}`, 1e-5, () =>
        maxDifference(flatten(normalizeAudio(input(), sampleRate, strategies[what])), expected()),
      );
    } else yield failed(`normalize ${name}`, 1e-5, "no check is made for this tensor");
  }
}

async function* verifyReads(folder: GoldenFolder): Checks {
  for (const name of folder.tensors("wav_read").names) {
    const [, file, how] = /^(.*\.\w+?)\.(full|soundfile|seek.*)$/.exec(name) ?? [];
    if (file === undefined) {
      yield failed(`read ${name}`, 0, "no check is made for this tensor");
      continue;
    }
    yield await check(`read ${name}`, 0, async () => {
      const [, start, duration, pad] = /^seek([\d.]+)_dur([\d.]+)(_pad)?$/.exec(how) ?? [];
      const segment =
        start === undefined
          ? {}
          : { start: Number(start), duration: Number(duration), pad: pad !== undefined };
      const { samples } = await readAudio(folder.file(`wav/${file}`), { ...segment, decoder: "wasm" });
      return mismatches(flatten(samples), folder.values("wav_read", name));
    });
  }
}

/** Rate, channels and duration; files that only the original cannot read have a text there. */
async function* verifyInfos(folder: GoldenFolder): Checks {
  for (const [file, expected] of Object.entries(
    folder.json<Record<string, Json | string>>("wav_info.json"),
  )) {
    if (typeof expected === "string") continue;
    yield await check(`info ${file}`, 1e-9, async () => {
      const info = await audioInfo(folder.file(`wav/${file}`), { decoder: "wasm" });
      return maxDifference([info.sampleRate, info.channels, info.duration], [
        expected.sample_rate,
        expected.channels,
        expected.duration,
      ] as number[]);
    });
  }
}

/** Tensor [C, T] as planar channels. */
function planar(folder: GoldenFolder, file: string, name: string): Float32Array[] {
  const values = Float32Array.from(folder.values(file, name));
  const length = folder.tensors(file).shape(name).at(-1)!;
  return Array.from({ length: values.length / length }, (_, c) =>
    values.subarray(c * length, (c + 1) * length),
  );
}

/** Tensor [C, T], or [B, C, T], as clips of planar channels. */
function clips(folder: GoldenFolder, file: string, name: string): Float32Array[][] {
  const channels = planar(folder, file, name);
  const perClip = folder.tensors(file).shape(name).at(-2)!;
  return Array.from({ length: channels.length / perClip }, (_, b) =>
    channels.slice(b * perClip, (b + 1) * perClip),
  );
}

function flatten(channels: ArrayLike<number>[]): Float64Array {
  const out = new Float64Array(channels.reduce((sum, channel) => sum + channel.length, 0));
  let at = 0;
  for (const channel of channels) {
    out.set(channel, at);
    at += channel.length;
  }
  return out;
}
