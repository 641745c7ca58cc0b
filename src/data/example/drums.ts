/** Drum strokes: kick (falling sine), snare (tone and noise), hi-hat (high noise). */
import type { TorchGenerator } from "../../random/mt19937.ts";
import { bandPass, decay } from "./instruments.ts";
import type { Stroke } from "./score.ts";
import { sine } from "./wavetable.ts";

/** One stroke at full velocity, samples within about +-1. */
export function renderStroke(drum: Stroke["drum"], sampleRate: number, random: TorchGenerator): Float32Array {
  return { kick, snare, hat }[drum](sampleRate, random);
}

function kick(sampleRate: number, random: TorchGenerator): Float32Array {
  const loss = decay(0.32, sampleRate);
  const fall = decay(0.12, sampleRate);
  const click = bandPass(1800, 0.7, sampleRate);
  let level = 1;
  let sweep = 1;
  let phase = 0;
  return render(0.3, sampleRate, (i) => {
    phase += (78 + 140 * sweep) / sampleRate;
    const tick = i < 0.008 * sampleRate ? 0.5 * click(2 * random.rand() - 1) : 0;
    const y = level * sine(phase) + tick;
    level *= loss;
    sweep *= fall;
    return y;
  });
}

function snare(sampleRate: number, random: TorchGenerator): Float32Array {
  const band = bandPass(2200, 0.6, sampleRate);
  const toneLoss = decay(0.12, sampleRate);
  const noiseLoss = decay(0.22, sampleRate);
  let tone = 0.45;
  let noise = 1.1;
  return render(0.22, sampleRate, (i) => {
    const y = tone * sine((190 * i) / sampleRate) + noise * band(2 * random.rand() - 1);
    tone *= toneLoss;
    noise *= noiseLoss;
    return y;
  });
}

function hat(sampleRate: number, random: TorchGenerator): Float32Array {
  const band = bandPass(6200, 1.5, sampleRate);
  const loss = decay(0.07, sampleRate);
  let level = 0.9;
  return render(0.08, sampleRate, () => {
    const y = level * band(2 * random.rand() - 1);
    level *= loss;
    return y;
  });
}

/** Samples of a function of the sample index, faded out over the last fifth. */
function render(seconds: number, sampleRate: number, sample: (i: number) => number): Float32Array {
  const out = new Float32Array(Math.round(seconds * sampleRate));
  const fade = out.length / 5;
  for (let i = 0; i < out.length; i++) out[i] = sample(i) * Math.min(1, (out.length - i) / fade);
  return out;
}
