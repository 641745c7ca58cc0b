/** Trains a codec: reconstruction and adversarial losses, balanced, on segments of audio (EnCodec, arXiv 2210.13438). */
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import type { CompressionConfig } from "../config/index.ts";
import { dataMoment } from "../data/advice.ts";
import type { SegmentInfo } from "../data/audio_dataset.ts";
import type { Batch } from "../data/batch.ts";
import { first, repeated } from "../data/batch_sequence.ts";
import type { BatchSource } from "../data/batch_source.ts";
import { buildLoaders, type DataConfig } from "../data/build_loaders.ts";
import { mixSeed } from "../data/random.ts";
import { UserError } from "../errors.ts";
import { averager } from "../log/averager.ts";
import { Formatter } from "../log/formatter.ts";
import { type AudioLoss, buildLoss } from "../losses/build.ts";
import { buildEncodec, loadCompressionModel } from "../models/encodec/index.ts";
import { initializeCodebooks, isInitialized } from "../models/encodec/kmeans.ts";
import type { EncodecNetwork } from "../models/encodec/model.ts";
import { type QuantizerTrainingOptions, quantizerTrainingOptions } from "../models/encodec/training.ts";
import { seededSampler } from "../models/encodec/vector_sampler.ts";
import { InitializerStream, loadState, stateOf } from "../nn/index.ts";
import {
  buildOptimizer,
  buildSchedule,
  ExponentialMovingAverage,
  type Optimizer,
  type Schedule,
} from "../optim/index.ts";
import { TorchGenerator } from "../random/mt19937.ts";
import { scoped, type Tensor, tf } from "../runtime/index.ts";
import { AdversaryLearner } from "./adversary_learner.ts";
import type { CheckpointContent } from "./checkpoint.ts";
import { CodecLosses } from "./codec_losses.ts";
import { checkCompressionOptions } from "./compression_options.ts";
import { CompressionStep } from "./compression_step.ts";
import { TrainingFailures } from "./failures.ts";
import { isOutOfMemory } from "./memory.ts";
import { parameterTable } from "./parameter_table.ts";
import { UpdateProfiler } from "./profiler.ts";
import { waveOf, writeReconstructions } from "./reconstruct_stage.ts";
import type { Run } from "./run.ts";
import { Solver } from "./solver.ts";
import { type Loaders, requireSplits, StageData } from "./stage_data.ts";
import { MeanMetrics, type Metrics } from "./stage_metrics.ts";
import { TrainingState } from "./training_state.ts";

/** Vectors for each entry, at least, that codebooks are made of. */
const VECTORS_PER_ENTRY = 4;

export class CompressionSolver extends Solver<CompressionConfig> {
  /** None: the newest weights, averaged, are those that are used. */
  protected readonly bestMetric = null;
  protected readonly formatter = new Formatter({ formats: { bandwidth: ".1f" }, excludeKeys: ["ratio_*"] });
  private readonly model: EncodecNetwork;
  private readonly quantization: QuantizerTrainingOptions;
  private readonly adversaries: AdversaryLearner[];
  private readonly data: StageData<SegmentInfo>;
  private readonly optimizer: Optimizer;
  private readonly schedule: Schedule;
  private readonly ema: ExponentialMovingAverage | null;
  private readonly step: CompressionStep;
  private readonly state: TrainingState;
  private readonly failures: TrainingFailures;
  private profiler: UpdateProfiler | null = null;
  private updates = 0;
  /** Whether this process has described its training step (`jit_report`). */
  private hasReported = false;

  /** Builds everything that the config describes; data first, because its errors are the most frequent. */
  static async build(cfg: CompressionConfig, run: Run): Promise<CompressionSolver> {
    checkCompressionOptions(cfg);
    const loaders = buildLoaders(cfg as unknown as DataConfig, ["train", "valid", "evaluate", "generate"], {
      type: "audio",
      warn: (message) => run.log.warn(message),
      mappers: run.datasetMappers,
    });
    requireSplits(cfg, loaders);
    return new CompressionSolver(cfg, run, loaders);
  }

  private constructor(cfg: CompressionConfig, run: Run, loaders: Loaders<SegmentInfo>) {
    super(cfg, run);
    this.data = new StageData(cfg, loaders, this.log, this.formatter);
    const init = new InitializerStream(cfg.seed ?? 0);
    this.model = buildEncodec(cfg as never, init);
    this.checkModel();
    this.quantization = quantizerTrainingOptions(cfg.rvq);
    this.adversaries = cfg.adversarial.adversaries.map((name) => new AdversaryLearner(name, cfg, init));
    const losses = new CodecLosses(cfg, this.adversaries);
    const { optim } = cfg;
    const parameters = this.model.namedParameters();
    const trainable = parameters.filter(([, parameter]) => parameter.trainable);
    this.optimizer = buildOptimizer(optim.optimizer, trainable, optim.adam as never);
    this.schedule = buildSchedule(cfg.schedule as never, optim.lr, this.data.updatesPerEpoch * optim.epochs);
    this.ema = optim.ema.use ? new ExponentialMovingAverage(parameters, optim.ema.decay) : null;
    const { model, quantization, adversaries, optimizer, ema } = this;
    const maxNorm = optim.max_norm ?? null;
    this.step = new CompressionStep({ model, quantization, losses, adversaries, optimizer, ema, maxNorm });
    this.state = new TrainingState({
      parameters,
      optimizer,
      ema,
      adversaries: Object.fromEntries(adversaries.map((learner) => [`adv_losses.${learner.name}`, learner])),
      buffers: losses.balancer.namedParameters("balancer."),
    });
    this.failures = new TrainingFailures(run, { skips: false, loss: "g_loss" });
    this.log.info(this.describe());
    if (cfg.execute_only === null) this.data.describeTraining();
  }

  /** The config says twice what the model's audio is. */
  private checkModel(): void {
    const { sampleRate, channels } = this.model;
    const { sample_rate, channels: wanted } = this.cfg;
    if (sampleRate !== sample_rate || channels !== wanted) {
      throw new UserError(
        `encodec.sample_rate=${sampleRate} and encodec.channels=${channels} do not fit sample_rate=${sample_rate} and channels=${wanted}`,
      );
    }
  }

  private describe(): string {
    const { model, adversaries } = this;
    const millions = (count: number) => `${(count / 1e6).toFixed(2)} M`;
    const others = adversaries.map(
      ({ name, adversary }) => `${name} ${millions(adversary.discriminator.parameterCount())}`,
    );
    return (
      `codec: ${millions(model.parameterCount())} parameters, ${model.totalCodebooks} codebooks of ${model.cardinality} ` +
      `at ${model.frameRate} Hz, ${model.bandwidthOf(model.totalCodebooks).toFixed(2)} kbit/s` +
      (others.length > 0 ? `; discriminators: ${others.join(", ")}` : "; no discriminators")
    );
  }

  protected async trainEpoch(
    epoch: number,
    start: number,
    onStep: (metrics: Metrics) => Promise<void>,
  ): Promise<void> {
    const loader = this.data.loaders.train!;
    await this.makeCodebooks(loader);
    const count = this.data.updatesPerEpoch;
    const progress = this.data.progress("train", epoch, count, loader, { start });
    const batches = this.cfg.benchmark_no_load
      ? repeated(loader.batches(epoch))
      : loader.batches(epoch, start);
    const from = dataMoment(loader);
    let average = averager();
    let index = start;
    if (this.cfg.profiler.enabled) this.profiler ??= this.buildProfiler();
    this.profiler?.begin(this.updates + 1);
    for await (const batch of progress.over(first(count - start, batches))) {
      this.beat("batch");
      this.profiler?.phase("train step");
      const metrics = this.update(batch, index++);
      this.profiler?.phase("log and checkpoint");
      const checked = { ...metrics, grad_norm: metrics.ratio2 };
      this.failures.check(checked, { epoch, update: index, batches: [batch] });
      if (progress.update(average(metrics))) average = averager();
      await onStep(metrics);
      await setImmediate(); // lets signals and the loader's messages in
      this.profiler?.done();
      if (index < count) this.profiler?.begin(this.updates + 1);
    }
    this.profiler?.finish();
    this.data.report(from, dataMoment(loader), loader);
  }

  /** Before the first update: codebooks by k-means of what the encoder makes of the first batches. */
  private async makeCodebooks(loader: BatchSource<SegmentInfo>): Promise<void> {
    const { model, quantization, step, cfg } = this;
    if (!quantization.kmeansInit || isInitialized(model.quantizer)) return;
    const began = performance.now();
    const latents: Tensor[] = [];
    let vectors = 0;
    for await (const batch of loader.batches(1)) {
      latents.push(scoped(() => tf.keep(step.latents(waveOf(batch)) as never) as Tensor));
      vectors += latents.at(-1)!.shape[0];
      if (vectors >= VECTORS_PER_ENTRY * model.cardinality) break;
    }
    scoped(() => {
      const sample = seededSampler(tf.tensor1d([cfg.seed ?? 0, -model.totalCodebooks], "int32") as Tensor);
      const iterations = quantization.kmeansIterations;
      initializeCodebooks(model.quantizer, tf.concat(latents) as Tensor, { iterations, sample });
      // as if they had come from one batch
      for (const codebook of model.quantizer.codebooks) codebook.scaleStatistics(1 / latents.length);
    });
    tf.dispose(latents);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    this.log.info(`codebooks made of ${vectors} vectors in ${seconds} s`);
  }

  /** One update with a batch; `index` counts those of the epoch. */
  private update(batch: Batch, index: number): Metrics {
    const { cfg, step, model } = this;
    const random = new TorchGenerator(mixSeed(cfg.seed ?? 0, this.updates));
    const codebooks = this.quantization.codebookDropout ? 1 + random.randint(model.totalCodebooks) : null;
    const withAdversaries = random.rand() <= 1 / cfg.adversarial.every;
    const everyEma = cfg.optim.ema.updates ?? this.data.updatesPerEpoch;
    const metrics = withAdvice(() =>
      scoped(() => {
        const wav = waveOf(batch);
        const isMeasured = index % Math.ceil(this.data.updatesPerEpoch / cfg.logging.log_updates) === 0;
        const ratio1: Metrics = isMeasured ? { ratio1: step.penaltyGradient(wav, codebooks) } : {};
        const lr = this.schedule(this.updates);
        const key = [cfg.seed ?? 0, this.updates * model.totalCodebooks] as const;
        const averages =
          this.ema !== null && (index + 1) % Math.min(everyEma, this.data.updatesPerEpoch) === 0;
        return { ...step.train(wav, { lr, codebooks, key, withAdversaries, averages }), ...ratio1 };
      }),
    );
    if (cfg.jit_report && !this.hasReported) this.log.info(`training step\n${step.trainStep.describe()}`);
    this.hasReported = true;
    this.updates++;
    return metrics;
  }

  protected async validEpoch(epoch: number, check: () => void): Promise<Metrics> {
    const metrics = await this.measure("valid", epoch, check, (wav) => this.step.valid(wav));
    const broken = Object.values(metrics).find((value) => !Number.isFinite(value));
    if (broken !== undefined) throw this.failures.validation(broken, epoch);
    return metrics;
  }

  /** SI-SNR of the reconstructions: as a loss, in dB, negated. */
  protected async evaluateEpoch(epoch: number, check: () => void): Promise<Metrics> {
    if (!this.data.loaders.evaluate || !this.cfg.evaluate.metrics.sisnr) return {};
    const distance: AudioLoss = buildLoss("sisnr", this.cfg.sisnr);
    return await this.measure("evaluate", epoch, check, (wav) => ({
      sisnr: distance(this.step.reconstruct(wav), wav).dataSync()[0],
    }));
  }

  /** Mean metrics over the batches of a split. */
  private async measure(
    split: "valid" | "evaluate",
    epoch: number,
    check: () => void,
    metricsOf: (wav: Tensor) => Metrics,
  ): Promise<Metrics> {
    const loader = this.data.loaders[split]!;
    const count = this.data.batches(split);
    const progress = this.data.progress(split, epoch, count, loader);
    const mean = new MeanMetrics();
    for await (const batch of progress.over(first(count, loader.batches(0)))) {
      mean.add(scoped(() => metricsOf(waveOf(batch))));
      progress.update(mean.mean());
      await setImmediate();
      check();
    }
    return mean.mean();
  }

  /** Saves the reconstructions of the `generate` split with the run, and what they were made of. */
  protected async generateEpoch(epoch: number, check: () => void): Promise<Metrics> {
    const loader = this.data.loaders.generate;
    if (!loader) return {};
    const folder = join(this.run.folder, this.cfg.generate.path);
    const count = this.data.batches("generate");
    const progress = this.data.progress("generate", epoch, count, loader);
    const mean = new MeanMetrics();
    let index = 0;
    for await (const batch of progress.over(first(count, loader.batches(0)))) {
      const request = { batch, index, epoch, folder, trackers: this.trackers };
      mean.add({ rtf: await writeReconstructions(this.step.reconstruct, this.cfg, request) });
      index += batch.infos.length;
      progress.update(mean.mean());
      check();
    }
    this.log.info(
      `${index} reconstructions: ${join(folder, String(epoch))}, their originals beside it in reference`,
    );
    return mean.mean();
  }

  protected withAverage<T>(f: () => Promise<T>): Promise<T> {
    return this.ema ? this.ema.use(f) : f();
  }

  protected withBest<T>(f: () => Promise<T>): Promise<T> {
    return this.withAverage(f);
  }

  protected keepBest(): void {}

  protected saveState(): CheckpointContent {
    return this.state.save(this.updates);
  }

  protected loadState(content: Required<CheckpointContent>): void {
    this.updates = this.state.load(content);
  }

  /** `continue_from`: the weights of another run or of a published codec; discriminators, optimizers and history start anew. */
  protected async loadWeights(from: string): Promise<void> {
    const { doraDir } = this.run;
    const codec = await loadCompressionModel(from, { sampleRate: this.cfg.sample_rate, doraDir });
    loadState(this.model, stateOf(codec.model, from));
    codec.dispose();
    const parameters = this.model.namedParameters();
    for (const [index, [, average]] of (this.ema?.averages ?? []).entries()) {
      tf.tidy(() => average.assign(parameters[index][1].value));
    }
    this.log.info(`starting from the weights of ${from}`);
  }

  override nextCommand(signature: string): string {
    const { totalCodebooks, cardinality } = this.model;
    const size = `transformer_lm.n_q=${totalCodebooks} transformer_lm.card=${cardinality}`;
    return `npm run train -- compression_model_checkpoint=//sig/${signature} ${size}`;
  }

  show(): string {
    return parameterTable(this.model);
  }

  async close(): Promise<void> {
    this.profiler?.finish();
    await this.data.close();
  }

  /** For the updates that this process has still to do. */
  private buildProfiler(): UpdateProfiler {
    const left = this.data.updatesPerEpoch * this.cfg.optim.epochs - this.updates;
    return new UpdateProfiler(join(this.run.folder, "profile"), this.log, left);
  }
}

/** Says what would help when TensorFlow finds no memory. */
function withAdvice<T>(f: () => T): T {
  try {
    return f();
  } catch (error) {
    if (!isOutOfMemory(error)) throw error;
    const advice = "use a smaller dataset.batch_size, dataset.segment_duration or seanet.n_filters";
    throw new UserError(`not enough memory for an update: ${advice}`, { cause: error });
  }
}
