/** The metrics of generated audio that a config asks for (`evaluate.metrics.*`, `metrics.*`; AudioCraft's keys and our models). */
import { existsSync } from "node:fs";
import type { MusicGenConfig } from "../config/schema.ts";
import { UserError } from "../errors.ts";
import { loadClap } from "../models/clap/load.ts";
import type { Clap } from "../models/clap/model.ts";
import { Options } from "../models/conditioners/options.ts";
import { loadMert, MERT_REPOSITORY } from "../models/mert/load.ts";
import { resolveReference } from "../xp/reference.ts";
import { ChromaCosineSimilarity } from "./chroma_cosine.ts";
import { ClapEmbeddings, type EmbeddingModel, MertEmbeddings } from "./embedding_model.ts";
import { FrechetAudioDistance } from "./frechet_audio_distance.ts";
import { KLDivergence } from "./kl_divergence.ts";
import type { GenerationMetric } from "./metric.ts";
import { OnnxModel, requireOnnxRuntime } from "./onnx.ts";
import { OnnxClassifier, OnnxEmbeddings, VggishEmbeddings } from "./onnx_audio.ts";
import { TextConsistency } from "./text_consistency.ts";
import { VGGISH_RATE } from "./vggish.ts";

const METRICS = ["fad", "kld", "text_consistency", "chroma_cosine"] as const;
export type MetricName = (typeof METRICS)[number];

/** A metric and what it measures: generated audio or, to know the codec's part, references through the codec. */
export interface ChosenMetric {
  name: MetricName;
  metric: GenerationMetric;
  useGt: boolean;
}

/** The models that each metric can do with. */
const MODELS: Record<MetricName, readonly string[]> = {
  fad: ["onnx", "clap", "mert"],
  kld: ["onnx"],
  text_consistency: ["clap"],
  chroma_cosine: ["chroma_base"],
};

/** Models of AudioCraft that are Python programs of others: what to use instead. */
const FOREIGN: Record<string, string> = {
  "fad.tf":
    "is Google's Python program with VGGish; use metrics.fad.model=onnx metrics.fad.onnx.model_path=FILE with a VGGish in ONNX (metrics.fad.onnx.features=vggish for one that takes spectrograms), or metrics.fad.model=clap or mert",
  "kld.passt":
    "is a Python package; export PaSST to ONNX, with samples at 32 kHz as input and logits as output, and use metrics.kld.model=onnx metrics.kld.onnx.model_path=FILE",
};

/** What a metric needs to be told. */
interface MetricSection {
  name: MetricName;
  model: string;
  useGt: boolean;
  /** The settings of its model: `metrics.<name>.<model>`. */
  options: Options;
}

/**
 * Checks what can be checked without loading a model.
 * @throws UserError for models that are not built, wrong settings and missing files
 */
export function checkMetrics(cfg: MusicGenConfig): void {
  const evaluates = cfg.execute_only === null || cfg.execute_only === "evaluate";
  if (!evaluates) return;
  if (measuresAudio(cfg) && cfg.datasource.evaluate === null) {
    const [{ name }] = wantedSections(cfg);
    throw new UserError(
      `evaluate.metrics.${name}=true, but there is no data for it: datasource.evaluate is null`,
    );
  }
  for (const section of wantedSections(cfg)) {
    if (section.model === "onnx") {
      onnxPath(section);
      requireOnnxRuntime();
    } else if (section.model === "clap") {
      clapPath(section);
    }
  }
}

/** Whether generated audio is to be measured. */
export function measuresAudio({ evaluate }: MusicGenConfig): boolean {
  return METRICS.some((name) => (evaluate.metrics as Record<string, unknown>)[name] === true);
}

/** Loads the models and makes the metrics. @throws UserError as `checkMetrics`, and for models that cannot be loaded */
export async function buildMetrics(cfg: MusicGenConfig): Promise<ChosenMetric[]> {
  const chosen: ChosenMetric[] = [];
  try {
    for (const section of wantedSections(cfg)) {
      const { name, useGt } = section;
      chosen.push({ name, useGt, metric: await buildMetric(section, cfg.sample_rate) });
    }
  } catch (error) {
    for (const { metric } of chosen) metric.dispose();
    throw error;
  }
  return chosen;
}

async function buildMetric(section: MetricSection, sampleRate: number): Promise<GenerationMetric> {
  const { name, options } = section;
  switch (name) {
    case "fad":
      return new FrechetAudioDistance(await buildEmbeddings(section));
    case "kld": {
      options.only(["model_path", "sample_rate", "pretrained_length", "output"]);
      const model = await OnnxModel.open(onnxPath(section), options.optionalString("output"));
      const settings = {
        sampleRate: options.size("sample_rate", 32000),
        length: options.number("pretrained_length", 20),
      };
      return disposedOnError(model, () => new KLDivergence(new OnnxClassifier(model, settings)));
    }
    case "text_consistency":
      options.only(["model_path", "model_arch", "enable_fusion"]);
      return new TextConsistency(await buildClap(section));
    case "chroma_cosine":
      options.only(["sample_rate", "n_chroma", "radix2_exp", "argmax"]);
      return new ChromaCosineSimilarity({
        sampleRate: options.size("sample_rate", sampleRate),
        nChroma: options.size("n_chroma", 12),
        radix2Exp: options.size("radix2_exp", 14),
        argmax: options.boolean("argmax", true),
      });
  }
}

async function buildEmbeddings(section: MetricSection): Promise<EmbeddingModel> {
  const { model, options } = section;
  if (model === "clap") {
    options.only(["model_path", "model_arch", "enable_fusion", "stride"]);
    const stride = options.number("stride", 1);
    if (!(stride > 0)) throw new UserError(`${options.path}.stride=${stride} must be above 0`);
    return new ClapEmbeddings(await buildClap(section), stride);
  }
  if (model === "mert") {
    options.only(["model_path"]);
    return new MertEmbeddings(await loadMert(options.string("model_path", MERT_REPOSITORY)));
  }
  options.only(["model_path", "sample_rate", "window", "output", "features"]);
  const features = options.string("features", "waveform");
  const settings = {
    sampleRate: options.size("sample_rate", VGGISH_RATE),
    window: options.optionalNumber("window"),
  };
  if (features !== "waveform" && features !== "vggish") {
    throw new UserError(`${options.path}.features=${features}: use waveform or vggish`);
  }
  if (features === "vggish" && (settings.sampleRate !== VGGISH_RATE || settings.window !== null)) {
    throw new UserError(
      `${options.path}.features=vggish: leave sample_rate and window as they are, VGGish has its own`,
    );
  }
  const onnx = await OnnxModel.open(onnxPath(section), options.optionalString("output"));
  return disposedOnError(onnx, () =>
    features === "vggish" ? new VggishEmbeddings(onnx) : new OnnxEmbeddings(onnx, settings),
  );
}

/** What `make` makes of a model, which is disposed of when it cannot. */
function disposedOnError<T>(model: OnnxModel, make: () => T): T {
  try {
    return make();
  } catch (error) {
    model.dispose();
    throw error;
  }
}

function buildClap(section: MetricSection): Promise<Clap> {
  return loadClap(clapPath(section), section.options.string("model_arch", "HTSAT-base"));
}

/** The sections of the metrics that `evaluate.metrics` asks for. */
function wantedSections(cfg: MusicGenConfig): MetricSection[] {
  return METRICS.filter((name) => (cfg.evaluate.metrics as Record<string, unknown>)[name] === true).map(
    (name) => {
      const section = new Options(`metrics.${name}`, (cfg.metrics as Record<string, unknown>)[name] ?? {});
      const model = section.string("model", MODELS[name][0]);
      if (!MODELS[name].includes(model)) {
        const advice = FOREIGN[`${name}.${model}`] ?? `is not built; built: ${MODELS[name].join(", ")}`;
        throw new UserError(`metrics.${name}.model=${model} ${advice} (or evaluate.metrics.${name}=false)`);
      }
      return { name, model, useGt: section.boolean("use_gt", false), options: section.section(model) };
    },
  );
}

function onnxPath({ options }: MetricSection): string {
  const given = options.optionalString("model_path");
  if (given === null) throw new UserError(`${options.path}.model_path: the path of an ONNX file is needed`);
  const path = resolveReference(given, { doraDir: "" });
  if (!existsSync(path)) throw new UserError(`${options.path}.model_path=${given}: no such file`);
  return path;
}

/** A file of laion_clap, or a folder or hub id in transformers' layout. */
function clapPath({ options }: MetricSection): string {
  if (options.boolean("enable_fusion", false)) {
    throw new UserError(`${options.path}.enable_fusion=true is not built: use a checkpoint without fusion`);
  }
  const given = options.string("model_path");
  if (!given.startsWith("//reference/")) return given.replace(/^\/\/pretrained\//, "");
  try {
    return resolveReference(given, { doraDir: "" });
  } catch (error) {
    const advice = "set it to a checkpoint of laion_clap or a repository like laion/larger_clap_music";
    throw new UserError(`${options.path}.model_path: ${(error as Error).message}; ${advice}`);
  }
}
