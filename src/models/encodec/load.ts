/** Codecs by the names that configs give them (`compression_model_checkpoint`). */
import { existsSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { openHubWeights, resolveHubFile } from "../../checkpoint/hub.ts";
import { openSafetensors, type WeightsReader } from "../../checkpoint/safetensors.ts";
import { UserError } from "../../errors.ts";
import { InitializerStream } from "../../nn/index.ts";
import type { CompressionModel } from "../compression.ts";
import { EncodecCompressionModel } from "./compression.ts";
import { buildEncodec, buildHfEncodec } from "./config.ts";
import { debugEncodec } from "./debug.ts";
import { loadEncodec } from "./weights.ts";

/** Weights that are about to be loaded are never drawn. */
const undrawn = new InitializerStream(0);

/**
 * Loads the codec that `spec` names:
 * - `//embedded/<name>`: a file of ours in assets/
 * - `//pretrained/facebook/encodec_32khz`, or any Hugging Face repository of an EnCodec: from the hub or its cache
 * - `//pretrained/debug_compression_model`: tiny and random
 * - a folder that holds config.json and model.safetensors, or a file of the embedded kind
 *
 * `sampleRate` is for the debug model, which exists at 16 and 32 kHz.
 * @throws UserError when it can't be found, read or built
 */
export async function loadCompressionModel(
  spec: string,
  { sampleRate = 32000 }: { sampleRate?: number } = {},
): Promise<CompressionModel> {
  const [, kind, name] = /^\/\/(\w+)\/(.+)$/.exec(spec) ?? [null, "path", spec];
  switch (kind) {
    case "embedded":
      return loadFile(spec, fileURLToPath(new URL(`../../../assets/${name}.safetensors`, import.meta.url)));
    case "pretrained":
      return loadPretrained(spec, name, sampleRate);
    case "sig":
      throw new UserError(`${spec}: using a codec of your own training (//sig/…) is not built.`);
    case "path":
      return name.endsWith(".safetensors") ? loadFile(spec, name) : loadHf(spec, name);
    default:
      throw new UserError(
        `compression_model_checkpoint=${spec}: //${kind}/ is none of //embedded/ and //pretrained/.`,
      );
  }
}

async function loadPretrained(spec: string, name: string, sampleRate: number): Promise<CompressionModel> {
  if (name === "debug_compression_model") return new EncodecCompressionModel(debugEncodec(sampleRate));
  if (name.startsWith("dac_")) throw new UserError(`${spec}: DAC codecs are not built; use an EnCodec.`);
  return loadHf(spec, name);
}

/** A safetensors file with AudioCraft's names and, as JSON in its metadata under `config`, AudioCraft's sections. */
function loadFile(spec: string, path: string): CompressionModel {
  if (!existsSync(path))
    throw new UserError(`compression_model_checkpoint=${spec}: there is no file ${path}.`);
  return withReader(openSafetensors(path), (reader) => {
    const { config } = reader.metadata;
    if (config === undefined) {
      throw new UserError(`${path} does not say in its metadata (key "config") which codec it is.`);
    }
    const model = buildEncodec(parseJson(config, `the metadata of ${basename(path)}`), undrawn);
    loadEncodec(model, reader);
    return new EncodecCompressionModel(model);
  });
}

/** A repository or folder of Hugging Face's layout. */
async function loadHf(spec: string, repository: string): Promise<CompressionModel> {
  const configPath = await resolveHubFile(repository, "config.json");
  const config = parseJson(readFileSync(configPath, "utf8"), configPath);
  if (config.model_type !== "encodec") {
    throw new UserError(
      `compression_model_checkpoint=${spec} is a model of type ${JSON.stringify(config.model_type)}, not an EnCodec (${configPath}).`,
    );
  }
  const model = buildHfEncodec(config, undrawn);
  return withReader(await openHubWeights(repository), (reader) => {
    loadEncodec(model, reader);
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
