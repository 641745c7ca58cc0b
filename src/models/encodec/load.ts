/** Codecs by the names that configs give them (`compression_model_checkpoint`). */
import { existsSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { isAudiocraftFile, openAudiocraftPackage } from "../../checkpoint/audiocraft.ts";
import { embeddedFile } from "../../checkpoint/embedded.ts";
import { openHubWeights, resolveHubFile } from "../../checkpoint/hub.ts";
import type { Progress } from "../../checkpoint/hub_download.ts";
import { readJsonObject } from "../../checkpoint/json.ts";
import { openSafetensors, type WeightsReader } from "../../checkpoint/safetensors.ts";
import { type ComposedConfig, configFromYaml } from "../../config/index.ts";
import { UserError } from "../../errors.ts";
import { InitializerStream } from "../../nn/index.ts";
import { newestCheckpoint, resolveDoraDir } from "../../xp/folder.ts";
import { resolveReference } from "../../xp/reference.ts";
import { EncodecCompressionModel } from "./compression.ts";
import { buildEncodec, buildHfEncodec } from "./config.ts";
import { debugEncodec } from "./debug.ts";
import { loadEncodec } from "./weights.ts";

/** Weights that are about to be loaded are never drawn. */
const undrawn = new InitializerStream(0);

export interface LoadCodecOptions {
  /** Of the debug model, which exists at 16 and 32 kHz. */
  sampleRate?: number;
  /** Where runs lie, for //sig/; by default as `dora.dir` is by default. */
  doraDir?: string;
  /** Of a Hugging Face repository: branch, tag or commit. */
  revision?: string;
  onProgress?: Progress;
}

/**
 * Loads the codec that `spec` names:
 * - `//embedded/<name>`: a file of ours in assets/
 * - `//pretrained/facebook/encodec_32khz`, or any Hugging Face repository of an EnCodec, of a MusicGen, or with AudioCraft's
 *   `compression_state_dict.bin`: from the hub or its cache
 * - `//pretrained/debug_compression_model`: tiny and random
 * - `//sig/<signature>`: the best state of a run of ours that trained a codec; `//reference/…`: a path in the team's folder
 * - a folder of the hub's or AudioCraft's layout, a file of the embedded kind, a checkpoint of ours, or a file of AudioCraft's
 *
 * @throws UserError when it can't be found, read or built
 */
export async function loadCompressionModel(
  spec: string,
  options: LoadCodecOptions = {},
): Promise<EncodecCompressionModel> {
  const [, kind, name] = /^\/\/(\w+)\/(.+)$/.exec(spec) ?? [null, "path", spec];
  switch (kind) {
    case "embedded":
      return loadFile(spec, embeddedFile(spec)!);
    case "pretrained":
      return loadPretrained(spec, name, options);
    case "sig":
    case "reference":
      return loadPath(
        spec,
        resolveReference(spec, { doraDir: options.doraDir ?? defaultDoraDir() }),
        options,
      );
    case "path":
      return loadPath(spec, name, options);
    default:
      throw new UserError(
        `compression_model_checkpoint=${spec}: //${kind}/ is none of //embedded/, //pretrained/, //sig/ and //reference/.`,
      );
  }
}

/** AudioCraft's export of a codec, in folders and repositories. */
const audiocraftExport = "compression_state_dict.bin";

async function loadPretrained(
  spec: string,
  name: string,
  options: LoadCodecOptions,
): Promise<EncodecCompressionModel> {
  if (name === "debug_compression_model") {
    return new EncodecCompressionModel(debugEncodec(options.sampleRate ?? 32000));
  }
  if (name.startsWith("dac_")) {
    throw new UserError(
      `${spec}: DAC codecs are not built. Use an EnCodec: //pretrained/facebook/encodec_32khz has 4 codebooks at 50 Hz.`,
    );
  }
  return loadPath(spec, name, options);
}

/** A file, a folder, or a repository's name. */
async function loadPath(
  spec: string,
  path: string,
  options: LoadCodecOptions,
): Promise<EncodecCompressionModel> {
  if (isAudiocraftFile(path)) return loadAudiocraft(spec, path, options);
  if (path.endsWith(".safetensors")) return loadFile(spec, path);
  if (existsSync(path) && !existsSync(join(path, "config.json"))) {
    const checkpoint = statSync(path).isDirectory() ? newestCheckpoint(path) : path;
    if (checkpoint !== undefined) return loadFile(spec, checkpoint);
  }
  const { revision, onProgress } = options;
  const config = await resolveHubFile(path, "config.json", { revision, onProgress, optional: true });
  if (config === null) {
    const exported = await resolveHubFile(path, audiocraftExport, { revision, onProgress, optional: true });
    if (exported !== null) return loadAudiocraft(spec, exported, options);
  }
  return loadHf(spec, path, options);
}

function defaultDoraDir(): string {
  return resolveDoraDir(configFromYaml("{}"));
}

/** A safetensors file with AudioCraft's names: a codec with its sections as JSON in the metadata, or a checkpoint of a run. */
function loadFile(spec: string, path: string): EncodecCompressionModel {
  if (!existsSync(path))
    throw new UserError(`compression_model_checkpoint=${spec}: there is no file ${path}.`);
  return withReader(openSafetensors(path), (reader) => {
    const { config, "xp.cfg": yaml } = reader.metadata;
    if (yaml !== undefined) {
      const prefix = checkpointPrefixes.find((start) => reader.names.some((name) => name.startsWith(start)));
      return codecOf(configFromYaml(yaml, `${path} (xp.cfg)`), reader, prefix);
    }
    if (config === undefined) {
      throw new UserError(`${path} does not say in its metadata (key "config") which codec it is.`);
    }
    const model = buildEncodec(parseJson(config, `the metadata of ${basename(path)}`), undrawn, path);
    loadEncodec(model, reader);
    return new EncodecCompressionModel(model);
  });
}

/** The best state; before the first validation, the averaged weights; without averaging, the trained ones. */
const checkpointPrefixes = ["best_state.model.", "ema.model.", "model."];

/** AudioCraft's own file of a codec (`compression_state_dict.bin`, `checkpoint.th`), which may only name a published one. */
async function loadAudiocraft(
  spec: string,
  path: string,
  options: LoadCodecOptions,
): Promise<EncodecCompressionModel> {
  const found = openAudiocraftPackage(path);
  if (found.kind === "pointer") return loadPretrained(spec, found.pretrained, options);
  return withReader(found.weights, (reader) => codecOf(found.config, reader));
}

/** The codec that a composed config describes. */
function codecOf(config: ComposedConfig, reader: WeightsReader, prefix = ""): EncodecCompressionModel {
  const { path } = reader;
  if (config.has("compression_model") && config.get("compression_model") !== "encodec") {
    throw new UserError(`${path}: compression_model=${config.get("compression_model")} is not built.`);
  }
  const sections = ["encodec", "seanet", "rvq"].filter((key) => config.has(key));
  if (sections.length < 3)
    throw new UserError(`${path} holds no codec: its config has no encodec, seanet and rvq.`);
  const model = buildEncodec(
    Object.fromEntries(sections.map((key) => [key, config.get(key)])),
    undrawn,
    path,
  );
  loadEncodec(model, reader, { prefix });
  return new EncodecCompressionModel(model);
}

/** A repository or folder of Hugging Face's layout: of an EnCodec, or of a MusicGen, which has one as its audio encoder. */
async function loadHf(
  spec: string,
  repository: string,
  { revision, onProgress }: LoadCodecOptions,
): Promise<EncodecCompressionModel> {
  const configPath = await resolveHubFile(repository, "config.json", { revision, onProgress });
  const whole = readJsonObject(configPath);
  const inside = whole.audio_encoder as Record<string, unknown> | undefined;
  const config = inside ?? whole;
  if (config.model_type !== "encodec") {
    throw new UserError(
      `compression_model_checkpoint=${spec} is a model of type ${JSON.stringify(config.model_type)}, not an EnCodec (${configPath}).`,
    );
  }
  const model = buildHfEncodec(config, undrawn, configPath);
  return withReader(await openHubWeights(repository, { revision, onProgress }), (reader) => {
    loadEncodec(model, reader, { prefix: inside ? "audio_encoder." : "" });
    return new EncodecCompressionModel(model);
  });
}

function withReader<T>(reader: WeightsReader, use: (reader: WeightsReader) => T): T {
  try {
    return use(reader);
  } finally {
    reader.close();
  }
}

function parseJson(text: string, where: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    throw new UserError(`${where} is not JSON: ${(error as Error).message}`);
  }
}
