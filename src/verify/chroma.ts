/** Chroma of waveforms and its filters against AudioCraft's ChromaExtractor. */
import { chromaBank } from "../models/conditioners/chroma_bank.ts";
import { ChromaExtractor } from "../models/conditioners/chroma_extractor.ts";
import { type Checks, check, failed } from "./check.ts";
import { maxDifference, mismatches } from "./compare.ts";
import type { GoldenFolder } from "./folder.ts";

const tolerance = 1e-4;
const sampleRate = 32000;

interface Settings {
  radix2_exp: number;
  argmax: boolean;
  n_fft: number;
}

/** `chroma_NAME` of `wav` and `chroma_null_wav_NAME` of `null_wav`, with the settings NAME of meta.json. */
export async function* verifyChroma(folder: GoldenFolder): Checks {
  const file = folder.tensors("chroma");
  const all = folder.meta.chroma as Record<string, Settings>;
  for (const name of folder.namesInOrder("chroma")) {
    const [, kind, nullWav, setting] = /^(chroma|fbanks)_(null_wav_)?(.+)$/.exec(name) ?? [];
    if (kind === undefined) continue;
    const settings = all[setting];
    if (settings === undefined) {
      yield failed(name, tolerance, `meta.json has no settings chroma.${setting}`);
      continue;
    }
    const nChroma = kind === "chroma" ? file.shape(name).at(-1)! : file.shape(name)[0];
    const expected = () => folder.values("chroma", name);
    if (kind === "fbanks") {
      yield await check(name, tolerance, () =>
        maxDifference(chromaBank(sampleRate, settings.n_fft, nChroma), expected()),
      );
      continue;
    }
    yield await check(name, settings.argmax ? 0 : tolerance, () => {
      const { radix2_exp: radix2Exp, argmax } = settings;
      const extractor = new ChromaExtractor({ sampleRate, nChroma, radix2Exp, argmax });
      try {
        const wav = Float32Array.from(folder.values("chroma", nullWav ? "null_wav" : "wav"));
        const ours = extractor.extract(wav);
        return argmax ? mismatches(ours, expected()) : maxDifference(ours, expected());
      } finally {
        extractor.dispose();
      }
    });
  }
}
