/**
 * What this program makes of four seconds of the example music with a codec, for check_codec.py:
 *
 *   node --import tsx test/peers/code_clip.ts CODEC FOLDER
 *
 * FOLDER gets wav.f32 and decoded.f32 (samples) and codes.i32 ([K, T]). CODEC as compression_model_checkpoint.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { exampleSpecs } from "../../src/data/example/specs.ts";
import { synthesizeClip } from "../../src/data/example/synthesize.ts";
import { loadCompressionModel } from "../../src/models/encodec/index.ts";
import { type Tensor, tf } from "../../src/runtime/index.ts";

const [name, folder] = process.argv.slice(2);
const codec = await loadCompressionModel(name);
const spec = exampleSpecs().find(({ split }) => split === "valid")!;
const clip = synthesizeClip({ ...spec, sampleRate: codec.sampleRate, channels: 1 });
const wav = clip.samples[0].slice(0, 4 * codec.sampleRate);
const { codes, scale } = codec.encode(tf.tensor3d(wav, [1, 1, wav.length]) as Tensor);
const decoded = codec.decode(codes, scale);
mkdirSync(folder, { recursive: true });
const write = (file: string, values: Float32Array | Int32Array) =>
  writeFileSync(join(folder, file), new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
write("wav.f32", wav);
write("codes.i32", codes.dataSync() as Int32Array);
write("decoded.f32", decoded.dataSync() as Float32Array);
