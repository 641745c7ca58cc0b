/** Generation of one sample with guidance, and how soon its first audio comes when it is streamed. */
import { Generator } from "../../models/lm/generation.ts";
import { conditionStreams } from "../../models/musicgen/attributes.ts";
import { generationDefaults } from "../../models/musicgen/params.ts";
import { MusicGen } from "../../models/musicgen.ts";
import { type Measurement, peakBytes, timed } from "../measurement.ts";
import type { Request } from "../request.ts";
import { GENERATION } from "../sizes.ts";
import { buildCodec } from "./codec.ts";
import { buildModel, versions } from "./model.ts";

/** Seconds of audio in the first chunk. */
const CHUNK = 0.2;

export async function measureGeneration(request: Request): Promise<Measurement> {
  const lm = buildModel(request.model);
  if (request.weights) lm.compress(request.weights);
  const samples = Array.from({ length: request.model.batch }, () => ({
    text: { description: "text" },
    wav: {},
    joint_embed: {},
  }));
  const streams = await conditionStreams(lm.conditionProvider, samples, generationDefaults);
  const generator = new Generator(lm);
  const options = {
    use_sampling: true,
    temp: 1,
    top_k: GENERATION.topK,
    top_p: 0,
    cfgCoef: GENERATION.cfgCoef,
    seed: 0,
    maxGenLen: request.frames,
  };
  const generate = await timed(() => generator.generate(streams, samples.length, options), request);
  const peak = peakBytes();
  const series: Record<string, number[]> = { generate };
  if (!request.onlyGenerate) series["first audio"] = await firstAudio(lm, request);
  return { series, peakBytes: peak, facts: { parameters: lm.parameterCount() }, versions: versions() };
}

async function firstAudio(lm: ReturnType<typeof buildModel>, request: Request): Promise<number[]> {
  const musicgen = new MusicGen(lm, buildCodec(), 30);
  return await timed(async () => {
    for await (const _ of musicgen.generateStream(["text"], { duration: 10, chunkDuration: CHUNK })) break;
  }, request);
}
