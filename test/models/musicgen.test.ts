/** MusicGen's API: lengths, seeds, guidance, windows, prompts, melodies, streams, and what is refused. */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { convertChannels } from "../../src/data/audio/channels.ts";
import { resample } from "../../src/data/audio/resample.ts";
import { UserError } from "../../src/errors.ts";
import { melodiesFrom } from "../../src/models/musicgen/attributes.ts";
import type { GenerateOptions, GenerationParams } from "../../src/models/musicgen/params.ts";
import type { MusicGen } from "../../src/models/musicgen.ts";
import { scoped, type Tensor, tf } from "../../src/runtime/index.ts";
import { MELODY, tinyMusicGen } from "../tiny_model.ts";

const FRAME = 640; // samples, at 16 kHz: 25 frames per second
let model: MusicGen;
before(async () => {
  model = await tinyMusicGen();
});

const refused = (work: Promise<unknown>, message: RegExp) =>
  assert.rejects(work, (error: Error) => {
    assert.ok(error instanceof UserError, `${error.stack}`);
    assert.match(error.message, message);
    return true;
  });

/** Codes of one row and all its codebooks. */
function rowCodes({ codes, frames }: { codes: Int32Array; frames: number }, row: number): number[] {
  const size = model.lm.config.n_q * frames;
  return [...codes.subarray(row * size, (row + 1) * size)];
}

/** Frames [from, to) of every codebook of a row. */
function framesOf(
  result: { codes: Int32Array; frames: number },
  row: number,
  from: number,
  to: number,
): number[] {
  const codes = rowCodes(result, row);
  return Array.from({ length: model.lm.config.n_q }, (_, k) =>
    codes.slice(k * result.frames + from, k * result.frames + to),
  ).flat();
}

function tone(hertz: number, seconds: number, sampleRate: number): Float32Array {
  return Float32Array.from(
    { length: Math.floor(seconds * sampleRate) },
    (_, i) => 0.5 * Math.sin((2 * Math.PI * hertz * i) / sampleRate),
  );
}

const short = { duration: 0.3 };

describe("what comes back", () => {
  test("a clip per description, as long as asked for in whole frames", async () => {
    const { audio, sampleRate, codes, frames } = await model.generate(["piano", null, "drums"], {
      duration: 0.31,
    });
    assert.deepEqual([audio.length, audio[0].length, sampleRate, frames], [3, 1, 16000, 7]);
    for (const [channel] of audio) assert.equal(channel.length, 7 * FRAME);
    assert.equal(codes.length, 3 * 4 * 7);
    assert.ok(codes.every((code) => code >= 0 && code < 400));
  });

  test("the default duration is 15 s, or the trained one where that is shorter", async () => {
    assert.equal(model.generationParams.duration, 1);
    assert.equal((await tinyMusicGen(["dataset.segment_duration=30"])).generationParams.duration, 15);
  });

  test("nothing is left in TensorFlow's memory", async () => {
    await model.generate(["piano"], short);
    const held = tf.memory().numTensors;
    await model.generate(["piano"], short);
    for await (const _ of model.generateStream(["piano"], short));
    assert.equal(tf.memory().numTensors, held);
  });
});

describe("seeds", () => {
  test("the same seed gives the same audio, another gives another", async () => {
    const [a, b, c] = await Promise.all(
      [1, 1, 2].map((seed) => model.generate(["piano"], { ...short, seed })),
    );
    assert.deepEqual(a.audio, b.audio);
    assert.notDeepEqual(a.codes, c.codes);
  });

  test("row b of a batch is what the seed of row b gives alone", async () => {
    const batch = await model.generate(["piano", "piano", "drums"], { ...short, seed: 5 });
    for (const [row, description] of ["piano", "piano", "drums"].entries()) {
      const alone = await model.generate([description], { ...short, seed: 5 + row });
      assert.deepEqual(rowCodes(batch, row), rowCodes(alone, 0));
    }
    assert.notDeepEqual(rowCodes(batch, 0), rowCodes(batch, 1));
  });

  test("each row may have a seed of its own", async () => {
    const same = await model.generate(["piano", "piano"], { ...short, seed: [3, 3] });
    assert.deepEqual(rowCodes(same, 0), rowCodes(same, 1));
    await refused(model.generate(["piano"], { seed: [1, 2] }), /2 seeds for 1 descriptions/);
    await refused(model.generate(["piano"], { seed: 0.5 }), /seed=0.5: a whole number/);
  });

  test("without sampling the seed has no part", async () => {
    const [a, b] = await Promise.all(
      [1, 2].map((seed) => model.generate(["piano"], { ...short, seed, useSampling: false })),
    );
    assert.deepEqual(a.codes, b.codes);
  });
});

describe("parameters", () => {
  test("setGenerationParams holds for all calls, a call's options for that call", async () => {
    const own = await tinyMusicGen();
    own.setGenerationParams({ duration: 0.2, topK: 1 }).setGenerationParams({ cfgCoef: 1 });
    assert.deepEqual(
      [own.generationParams.duration, own.generationParams.topK, own.generationParams.cfgCoef],
      [0.2, 1, 1],
    );
    assert.equal((await own.generate(["a"])).frames, 5);
    assert.equal((await own.generate(["a"], { duration: 0.4, topK: undefined })).frames, 10);
    assert.equal(own.generationParams.duration, 0.2);
  });

  for (const [params, message] of [
    [{ top_k: 5 }, /no generation parameter top_k; did you mean topK\?/],
    [{ loudness: 5 }, /no generation parameter loudness; they are useSampling/],
    [{ topP: 2 }, /topP=2: a number from 0 to 1/],
    [{ topK: 1.5 }, /topK=1.5: a whole number/],
    [{ temperature: -1 }, /temperature=-1: a number of at least 0/],
    [{ duration: Number.NaN }, /duration=NaN/],
    [{ useSampling: "yes" }, /useSampling=yes: true or false/],
  ] as [object, RegExp][]) {
    test(`${JSON.stringify(params)} is refused, set or given with a call`, async () => {
      assert.throws(() => model.setGenerationParams(params as Partial<GenerationParams>), message);
      await refused(model.generate(["a"], params as GenerateOptions), message);
    });
  }

  test("less than a frame, no description at all, and a stride of a window are refused", async () => {
    await refused(model.generate(["a"], { duration: 0.001 }), /less than one frame/);
    await refused(model.generate([]), /no description was given/);
    await refused(model.generate(["a"], { extendStride: 1 }), /stride of 1 s must be below the 1 s/);
  });
});

test("stereo by time steps: counts of frames are even, so that left and right stay in their places", async () => {
  const stereo = await tinyMusicGen([
    "interleave_stereo_codebooks.use=true",
    "interleave_stereo_codebooks.per_timestep=true",
    "channels=2",
  ]);
  assert.deepEqual([stereo.frameRate, stereo.codec.framesPerStep], [50, 2]);
  const { frames, audio } = await stereo.generate(["piano"], { duration: 0.3 });
  assert.deepEqual([frames, audio[0].map(({ length }) => length)], [14, [7 * FRAME, 7 * FRAME]]);
  const oddStride = { duration: 1.5, extendStride: 0.5 }; // 75 frames, 25 a window
  const whole = await stereo.generate(["piano"], oddStride);
  assert.equal(whole.frames, 74);
  assert.deepEqual(
    whole.codes,
    (await stereo.generate(["piano"], { ...oddStride, extendStride: 0.48 })).codes,
  );
  assert.equal(await collected(stereo, ["piano"], oddStride), whole.audio[0][1].length);
  await refused(stereo.generate(["piano"], { duration: 0.03 }), /less than one frame of 0.04 s/);
});

test("a codec of other channels than the config's is refused", async () => {
  await refused(tinyMusicGen(["channels=2"]), /channels=2, but the codec has 1/);
});

test("one text in the place of a list, and a style of a model without, are refused", async () => {
  await refused(model.generate("piano" as never), /descriptions must be a list/);
  assert.throws(() => model.setStyleParams({ length: 2 }), UserError);
});

test("a model that is disposed of leaves no tensors, and other models as they are", async () => {
  const before = tf.memory().numTensors;
  const other = await tinyMusicGen();
  await other.generate(["piano"], short);
  other.dispose();
  assert.equal(tf.memory().numTensors, before);
  await model.generate(["piano"], short);
});

describe("guidance", () => {
  test("changes what conditions say, and nothing without conditions", async () => {
    const codesOf = async (description: string | null, cfgCoef: number) =>
      (await model.generate([description], { ...short, cfgCoef })).codes;
    assert.notDeepEqual(await codesOf("piano", 1), await codesOf("piano", 8));
    assert.deepEqual(await codesOf(null, 1), await codesOf(null, 8));
    assert.deepEqual((await model.generateUnconditional(1, short)).codes, await codesOf(null, 3));
  });

  test("in two steps it is the same where nothing is padded", async () => {
    const joint = await model.generate(["piano"], { ...short, cfgCoef: 4 });
    const apart = await model.generate(["piano"], { ...short, cfgCoef: 4, twoStepCfg: true });
    assert.deepEqual(apart.codes, joint.codes);
  });

  test("double guidance with beta 1 is single guidance: the middle cancels", async () => {
    const melodic = await tinyMusicGen(MELODY);
    const codesOf = async (cfgCoefBeta: number | null) =>
      (await melodic.generate(["piano", "drums"], { ...short, cfgCoef: 4, cfgCoefBeta })).codes;
    const single = await codesOf(null);
    assert.deepEqual(await codesOf(1), single);
    assert.notDeepEqual(await codesOf(8), single);
    await refused(
      melodic.generate(["piano"], { ...short, cfgCoefBeta: 2, twoStepCfg: true }),
      /twoStepCfg=true is not built for double guidance/,
    );
  });

  test("double guidance of a model of texts alone is refused", async () => {
    await refused(
      model.generate(["piano"], { ...short, cfgCoefBeta: 2 }),
      /needs a model with audio conditions/,
    );
  });
});

describe("beyond the trained duration", () => {
  test("the first window is what its length alone gives, and later ones go on from it", async () => {
    const first = await model.generate(["piano"], { duration: 1, seed: 3 });
    const long = await model.generate(["piano"], { duration: 2.3, seed: 3, extendStride: 0.5 });
    assert.equal(long.frames, 57);
    assert.deepEqual(framesOf(long, 0, 0, 25), framesOf(first, 0, 0, 25));
  });

  test("two windows do not draw alike", async () => {
    const { codes, frames } = await model.generateUnconditional(1, {
      duration: 2,
      extendStride: 0.96,
      temperature: 50,
      topK: 0,
    });
    const result = { codes, frames };
    assert.notDeepEqual(framesOf(result, 0, 3, 20), framesOf(result, 0, 27, 44));
  });
});

describe("prompts", () => {
  const prompt = tone(440, 0.4, 16000);

  test("the result begins with the codec's codes of the prompt, and without them when they are to be removed", async () => {
    const result = await model.generateContinuation([[prompt]], 16000, ["piano"], { duration: 1 });
    const coded = scoped(() => [
      ...(model.codec
        .encode(tf.tensor3d(prompt, [1, 1, prompt.length]) as Tensor)
        .codes.dataSync() as Int32Array),
    ]);
    assert.equal(result.frames, 25);
    assert.deepEqual(framesOf(result, 0, 0, 10), coded);
    const removed = await model.generateContinuation([[prompt]], 16000, ["piano"], {
      duration: 1,
      removePrompt: true,
    });
    assert.deepEqual(removed.audio[0][0], result.audio[0][0].slice(10 * FRAME), "decoded in its context");
    assert.deepEqual(rowCodes(removed, 0), framesOf(result, 0, 10, 25));
  });

  test("any rate and number of channels is converted, and descriptions may be left out", async () => {
    const stereo = [tone(440, 0.4, 44100), tone(220, 0.4, 44100)];
    const mono = resample(convertChannels(stereo, 1), 44100, 16000);
    const converted = await model.generateContinuation([stereo], 44100, undefined, short1);
    assert.deepEqual(
      converted.codes,
      (await model.generateContinuation([mono], 16000, [null], short1)).codes,
    );
  });
  const short1 = { duration: 0.6 };

  test("a prompt longer than a window is kept whole, and its end is continued", async () => {
    const long = tone(300, 1.5, 16000);
    const result = await model.generateContinuation([[long]], 16000, ["piano"], {
      duration: 2,
      extendStride: 0.5,
    });
    assert.equal(result.frames, 50);
    const end = await model.generateContinuation([[long]], 16000, ["piano"], {
      duration: 1.56,
      extendStride: 0.5,
    });
    assert.deepEqual(framesOf(result, 0, 0, 37), framesOf(end, 0, 0, 37));
  });

  test("what cannot be a prompt is refused", async () => {
    const go = (clips: Float32Array[][], options = {}, rate = 16000) =>
      model.generateContinuation(clips, rate, undefined, { duration: 1, ...options });
    await refused(go([[prompt], [prompt.subarray(1)]]), /equally long; these have 6400 and 6399/);
    await refused(go([[prompt]], { duration: 0.4 }), /prompt of 0.4 s leaves nothing of duration=0.4/);
    await refused(go([[new Float32Array(0)]]), /empty/);
    await refused(go([[prompt, prompt.subarray(1)]]), /differ in length/);
    await refused(go([[prompt]], {}, 0), /sample rate of 0: a whole/);
    await refused(model.generateContinuation([[prompt]], 16000, ["a", "b"]), /1 prompts for 2 descriptions/);
  });
});

describe("melodies", () => {
  let melodic: MusicGen;
  before(async () => {
    melodic = await tinyMusicGen(MELODY);
  });
  const song = tone(440, 0.5, 16000);

  test("a melody has its part, null is none, and a batch may mix them", async () => {
    const options = { ...short, cfgCoef: 1, useSampling: false };
    const plain = await melodic.generate(["piano"], options);
    const none = await melodic.generateWithChroma(["piano"], [null], 16000, options);
    assert.deepEqual(none.codes, plain.codes);
    const sampled = { ...short, cfgCoef: 1, temperature: 0.3 };
    const mixed = await melodic.generateWithChroma(["piano", "piano"], [[song], null], 16000, {
      ...sampled,
      seed: [1, 1],
    });
    assert.notDeepEqual(rowCodes(mixed, 0), rowCodes(mixed, 1));
  });

  test("any rate and number of channels is converted", async () => {
    const stereo = [tone(440, 0.5, 44100), tone(880, 0.5, 44100)];
    const mono = resample(convertChannels(stereo, 1), 44100, 16000);
    assert.deepEqual(
      (await melodic.generateWithChroma(["a"], [stereo], 44100, short)).codes,
      (await melodic.generateWithChroma(["a"], [mono], 16000, short)).codes,
    );
  });

  test("a window of long audio hears the melody from its place on, repeated to the window's length", () => {
    const wav = Float32Array.of(0, 1, 2, 3, 4, 10, 11, 12, 13, 14);
    const condition = {
      wav,
      shape: [1, 2, 5] as [1, number, number],
      length: 5,
      sampleRate: 10,
      path: null,
      seekTime: null,
    };
    const sample = { text: { description: "a" }, wav: { self_wav: condition }, joint_embed: {} };
    const [moved] = melodiesFrom([sample], 0.8, 0.7);
    assert.deepEqual([...moved.wav.self_wav.wav], [3, 4, 0, 1, 2, 3, 4, 13, 14, 10, 11, 12, 13, 14]);
    assert.deepEqual([moved.wav.self_wav.length, moved.wav.self_wav.shape], [7, [1, 2, 7]]);
    const silent = { ...condition, length: 0 };
    assert.equal(melodiesFrom([{ ...sample, wav: { self_wav: silent } }], 3, 1)[0].wav.self_wav, silent);
  });

  test("long audio with a melody is streamed and generated alike", async () => {
    const options = { duration: 1.6, extendStride: 0.5, melody: { audio: [[song]], sampleRate: 16000 } };
    const whole = await melodic.generate(["piano"], options);
    assert.deepEqual(await collected(melodic, ["piano"], options), whole.audio[0][0].length);
  });

  test("a model without melodies says so, and one melody per description is needed", async () => {
    await refused(
      model.generateWithChroma(["a"], [[song]], 16000),
      /takes no melodies: .*it has: description/,
    );
    await refused(melodic.generateWithChroma(["a"], [[song], null], 16000), /2 melodies for 1 descriptions/);
  });
});

async function collected(of: MusicGen, descriptions: string[], options: GenerateOptions): Promise<number> {
  let samples = 0;
  for await (const { audio } of of.generateStream(descriptions, options)) samples += audio[0][0].length;
  return samples;
}

describe("streams", () => {
  for (const [name, options] of [
    ["within a window", { duration: 0.9, chunkDuration: 0.2 }],
    ["over several windows", { duration: 2.4, chunkDuration: 0.3, extendStride: 0.4 }],
    [
      "a prompt",
      {
        duration: 1,
        chunkDuration: 0.1,
        prompt: { audio: [[tone(440, 0.4, 16000)], [tone(220, 0.4, 16000)]], sampleRate: 16000 },
      },
    ],
    [
      "without its prompt",
      {
        duration: 1,
        removePrompt: true,
        prompt: { audio: [[tone(440, 0.4, 16000)], [tone(220, 0.4, 16000)]], sampleRate: 16000 },
      },
    ],
  ] as [string, GenerateOptions & { chunkDuration?: number }][]) {
    test(`${name}: chunks put together are what generate gives, and say where they begin`, async () => {
      const { chunkDuration, ...rest } = options;
      const whole = await model.generate(["piano", "drums"], rest);
      const parts: Float32Array[][] = [[], []];
      let at = 0;
      for await (const chunk of model.generateStream(["piano", "drums"], options)) {
        assert.equal(chunk.start, at / 16000);
        assert.equal(chunk.totalSamples, whole.audio[0][0].length);
        at += chunk.audio[0][0].length;
        for (const [row, [samples]] of chunk.audio.entries()) parts[row].push(samples);
      }
      if (chunkDuration)
        assert.ok(parts[0].length >= 0.5 * (at / 16000 / chunkDuration), `${parts[0].length} chunks`);
      for (const [row, [expected]] of whole.audio.entries()) {
        const joined = Float32Array.from(parts[row].flatMap((part) => [...part]));
        assert.equal(joined.length, expected.length);
        const worst = joined.reduce((most, x, i) => Math.max(most, Math.abs(x - expected[i])), 0);
        assert.ok(worst < 1e-5, `off by ${worst}`);
      }
    });
  }

  test("the generation is at most one chunk ahead of who takes them", async () => {
    let frames = 0;
    const stream = model.generateStream(["piano"], {
      duration: 1,
      chunkDuration: 0.1,
      onProgress: (done) => {
        frames = done;
      },
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(frames, 0, "it began before it was asked");
    await stream.next();
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.ok(frames < 15, `${frames} frames`);
    await stream.return();
    const stopped = frames;
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(frames, stopped, "it went on after the loop was left");
  });

  test("leaving the loop and aborting free all memory", async () => {
    await collected(model, ["piano"], { duration: 0.5 });
    const held = tf.memory().numTensors;
    for await (const _ of model.generateStream(["piano"], { duration: 0.8, chunkDuration: 0.1 })) break;
    const aborted = new AbortController();
    await assert.rejects(async () => {
      for await (const _ of model.generateStream(["piano"], {
        duration: 0.8,
        chunkDuration: 0.1,
        signal: aborted.signal,
      }))
        aborted.abort(new Error("enough"));
    }, /enough/);
    assert.equal(tf.memory().numTensors, held);
  });

  test("chunks need a length", async () => {
    const stream = model.generateStream(["x"], { ...short, chunkDuration: -1 });
    await refused(stream.next(), /chunkDuration=-1: a number of seconds above 0/);
  });

  test("a signal ends generate too, also before it begins", async () => {
    const signal = AbortSignal.abort(new Error("never mind"));
    await assert.rejects(model.generate(["piano"], { ...short, signal }), /never mind/);
    const later = new AbortController();
    const work = model.generate(["piano"], {
      duration: 1,
      signal: later.signal,
      onProgress: (done) => done > 5 && later.abort(new Error("too long")),
    });
    await assert.rejects(work, /too long/);
  });

  test("what goes wrong is thrown in the loop", async () => {
    await refused(model.generateStream(["a"], { duration: 0.001 }).next(), /less than one frame/);
    const failing = model.generateStream(["a"], {
      duration: 0.5,
      onProgress: () => {
        throw new Error("no more");
      },
    });
    await assert.rejects(failing.next(), /no more/);
  });
});
