/** Trains MusicGen: a language model on the tokens of a frozen codec, conditioned on texts (arXiv 2306.05284). */
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import type { MusicGenConfig } from "../config/schema.ts";
import { dataMoment } from "../data/advice.ts";
import { type Batch, filledBatch, filledRows, itemWav } from "../data/batch.ts";
import { first, grouped, repeated } from "../data/batch_sequence.ts";
import { buildLoaders, type DataConfig, type Split } from "../data/build_loaders.ts";
import type { TextStatesCache } from "../data/cache/text_states.ts";
import { toCodes } from "../data/cache/tokens.ts";
import type { UpdateWriter } from "../data/cache/updates.ts";
import type { ConditioningAttributes, JointEmbedCondition, WavCondition } from "../data/conditioning.ts";
import { type MusicInfo, musicConditions } from "../data/music_dataset.ts";
import { UserError } from "../errors.ts";
import { averager } from "../log/averager.ts";
import { Formatter } from "../log/formatter.ts";
import { terminal } from "../log/live_line.ts";
import { buildMetrics, measuresAudio } from "../metrics/build.ts";
import { buildLM, trainedDuration } from "../models/builders.ts";
import type { CompressionModel } from "../models/compression.ts";
import { nullify } from "../models/conditioners/base.ts";
import {
  AttributeDropout,
  ClassifierFreeGuidanceDropout,
  CONDITION_KINDS,
} from "../models/conditioners/dropout.ts";
import { LazyCompressionModel } from "../models/lazy_codec.ts";
import type { MusicGenLM } from "../models/lm/lm.ts";
import { MusicGen } from "../models/musicgen.ts";
import type { Parameter } from "../nn/index.ts";
import {
  buildOptimizer,
  buildSchedule,
  ExponentialMovingAverage,
  LossScaler,
  type Optimizer,
  type Schedule,
} from "../optim/index.ts";
import { type AutocastType, isGpu, scoped, type Tensor, tf } from "../runtime/index.ts";
import { BestState } from "./best_state.ts";
import type { CheckpointContent } from "./checkpoint.ts";
import { type Cost, costText, estimateCost, memoryAdvice, type Workload } from "./cost.ts";
import { evaluateGeneration } from "./evaluate_stage.ts";
import { TrainingFailures } from "./failures.ts";
import { generateSamples } from "./generate_stage.ts";
import { LMStep } from "./lm_step.ts";
import { isOutOfMemory } from "./memory.ts";
import { checkOptions } from "./musicgen_options.ts";
import { optimizerGroups } from "./optimizer_groups.ts";
import { parameterTable } from "./parameter_table.ts";
import { UpdateProfiler } from "./profiler.ts";
import type { Run } from "./run.ts";
import { Solver } from "./solver.ts";
import { type Loaders, requireSplits, StageData } from "./stage_data.ts";
import { MeanMetrics, type Metrics } from "./stage_metrics.ts";
import {
  cachedSplits,
  openCachedUpdates,
  openCodec,
  openedCache,
  openTextCaches,
  openUpdateWriter,
} from "./token_cache.ts";
import { openMusicGen } from "./trained.ts";
import { TrainingState } from "./training_state.ts";

export class MusicGenSolver extends Solver<MusicGenConfig> {
  protected readonly bestMetric: "ce" | null;
  protected readonly formatter = new Formatter({
    formats: { lr: ".2E", ce: ".3f", ppl: ".3f", grad_norm: ".3E", d: ".2E", skipped: ".0f" },
    excludeKeys: ["ce_q*", "ppl_q*"],
  });
  private readonly lm: MusicGenLM;
  private readonly codec: CompressionModel;
  private readonly data: StageData<MusicInfo>;
  private readonly loaders: Loaders<MusicInfo>;
  private readonly parameters: [string, Parameter][];
  private readonly optimizer: Optimizer;
  /** The rates of the optimizer's groups. */
  private readonly schedules: Schedule[];
  private readonly ema: ExponentialMovingAverage | null;
  private readonly cfgDropout: ClassifierFreeGuidanceDropout<WavCondition, JointEmbedCondition>;
  private readonly attributeDropout: AttributeDropout<WavCondition, JointEmbedCondition>;
  private readonly precision: AutocastType | null;
  private readonly scaler: LossScaler | null;
  private readonly failures: TrainingFailures;
  /** What an update takes, as far as it can be known before; null when nothing is trained. */
  private readonly cost: Cost | null = null;
  private readonly musicgen: MusicGen;
  private readonly step: LMStep;
  private readonly best: BestState;
  private readonly state: TrainingState;
  /** With `cache.write`: takes what is trained on. */
  private readonly updateWriter: UpdateWriter | null;
  private readonly textCaches: TextStatesCache[];
  /** Whether the weights that were validated last are the best, and still there. */
  private bestIsNow = false;
  private updates = 0;
  private profiler: UpdateProfiler | null = null;
  /** Whether this process has described its training step (`jit_report`). */
  private hasReported = false;

  /** Builds everything that the config describes; data first, because its errors are the most frequent. */
  static async build(cfg: MusicGenConfig, run: Run): Promise<MusicGenSolver> {
    const { log } = run;
    checkOptions(cfg);
    const cache = openedCache(cfg);
    const cachedUpdates = openCachedUpdates(cfg, cache);
    const fromFiles: Split[] = ["valid", "evaluate", "generate"];
    const loaders: Loaders<MusicInfo> = buildLoaders<MusicInfo>(
      cfg as unknown as DataConfig,
      cachedUpdates ? fromFiles : ["train", ...fromFiles],
      {
        type: "music",
        warn: (message) => log.warn(message),
        mappers: run.datasetMappers,
        cache: cachedSplits(cfg, cache),
      },
    );
    if (cachedUpdates) {
      loaders.train = cachedUpdates;
      const last = cachedUpdates.epochs().at(-1)!;
      if (last < cfg.optim.epochs)
        log.warn(
          `the cache ends with epoch ${last}: of optim.epochs=${cfg.optim.epochs}, only so many can be trained`,
        );
    }
    requireSplits(cfg, loaders);
    if (cfg.execute_only === null) loaders.train?.start?.();
    if (cache) log.info(`tokens come from the cache ${cfg.cache.path} (${cache.kind})`);
    else log.info(`loading the codec ${cfg.compression_model_checkpoint}`);
    const codec = await openCodec(cfg, cache);
    const lm = await buildLM(cfg);
    const textCaches = openTextCaches(cfg, lm.conditionProvider);
    const updateWriter = await openUpdateWriter(cfg, codec);
    return new MusicGenSolver(cfg, run, { lm, codec, loaders, textCaches, updateWriter });
  }

  private constructor(
    cfg: MusicGenConfig,
    run: Run,
    parts: {
      lm: MusicGenLM;
      codec: CompressionModel;
      loaders: Loaders<MusicInfo>;
      textCaches: TextStatesCache[];
      updateWriter: UpdateWriter | null;
    },
  ) {
    super(cfg, run);
    // what is written to a cache is not trained for its own sake
    this.bestMetric = parts.updateWriter ? null : "ce";
    this.textCaches = parts.textCaches;
    this.updateWriter = parts.updateWriter;
    this.lm = parts.lm;
    this.codec = parts.codec;
    this.data = new StageData(cfg, parts.loaders, this.log, this.formatter);
    this.loaders = parts.loaders;
    this.parameters = this.lm.namedParameters();
    const trainable = this.parameters.filter(([, parameter]) => parameter.trainable);
    const { optim } = cfg;
    const { groups, rates } = optimizerGroups(this.lm, trainable, optim.lr, optim.adam.weight_decay);
    this.optimizer = buildOptimizer(optim.optimizer, trainable, optim.adam as never, groups);
    this.schedules = rates.map((rate) =>
      buildSchedule(cfg.schedule as never, rate, this.updatesPerEpoch * optim.epochs),
    );
    this.ema = optim.ema.use ? new ExponentialMovingAverage(this.parameters, optim.ema.decay) : null;
    this.cfgDropout = new ClassifierFreeGuidanceDropout(
      cfg.classifier_free_guidance.training_dropout,
      nullify,
      { kinds: CONDITION_KINDS },
    );
    this.attributeDropout = new AttributeDropout(cfg.attribute_dropout as never, nullify);
    this.precision = this.choosePrecision();
    const { lm, optimizer, ema, precision } = this;
    this.musicgen = new MusicGen(lm, this.codec, trainedDuration(cfg));
    this.scaler = precision === "float16" ? new LossScaler() : null;
    const skipNonfinite = optim.skip_nonfinite ?? false;
    this.step = new LMStep({
      lm,
      optimizer,
      ema,
      precision,
      maxNorm: optim.max_norm ?? null,
      scaler: this.scaler,
      skipNonfinite,
    });
    this.failures = new TrainingFailures(run, { skips: skipNonfinite || this.scaler !== null });
    this.best = new BestState(this.parameters, precision);
    const { parameters, scaler, best, cfgDropout, attributeDropout } = this;
    const { conditionProvider } = lm;
    this.state = new TrainingState({
      parameters,
      optimizer,
      ema,
      scaler,
      best,
      random: {
        cfg_dropout: cfgDropout,
        attribute_dropout: attributeDropout,
        conditioners: {
          state: () => conditionProvider.randomStates(),
          restore: (states) => conditionProvider.restoreRandomStates(states),
        },
      },
    });
    this.log.info(
      `model: ${(this.lm.parameterCount() / 1e6).toFixed(2)} M parameters, ${trainable.length} tensors; ` +
        `codec: ${this.codec.numCodebooks} codebooks of ${this.codec.cardinality} at ${this.codec.frameRate} Hz`,
    );
    for (const notice of this.lm.conditionProvider.notices) this.log.warn(notice);
    if (this.loaders.train && cfg.execute_only === null) {
      this.data.describeTraining();
      this.cost = estimateCost(this.workload());
      this.log.info(costText(this.cost, this.updatesPerEpoch));
      const advice = this.cost.memory > this.cost.available ? memoryAdvice(this.cost) : null;
      if (advice) this.log.warn(`this may be more memory than there is: ${advice}`);
    }
  }

  private get updatesPerEpoch(): number {
    return this.data.updatesPerEpoch;
  }

  private get accumulate(): number {
    return this.data.accumulate;
  }

  protected async trainEpoch(
    epoch: number,
    start: number,
    onStep: (metrics: Metrics) => Promise<void>,
  ): Promise<void> {
    const loader = this.loaders.train!;
    const total = this.updatesPerEpoch - start;
    const progress = this.data.progress("train", epoch, this.updatesPerEpoch, loader, {
      start,
      batches: this.accumulate,
    });
    const batches = this.cfg.benchmark_no_load
      ? repeated(loader.batches(epoch))
      : loader.batches(epoch, start * this.accumulate);
    const from = dataMoment(loader);
    let average = averager();
    let skipped = 0;
    let index = start;
    if (this.cfg.profiler.enabled) this.profiler ??= this.buildProfiler();
    this.profiler?.begin(this.updates + 1);
    for await (const group of progress.over(first(total, grouped(batches, this.accumulate)))) {
      this.beat("batch");
      this.profiler?.phase("conditions");
      const attributes = [];
      for (const batch of group) attributes.push(await this.attributes(batch, true));
      const metrics = this.updateWith(group, attributes, index++);
      this.profiler?.phase("log and checkpoint");
      this.failures.check(metrics, { epoch, update: index, batches: group });
      if (metrics.skipped) skipped++;
      const usable = metrics.skipped ? finiteOnly(metrics) : metrics;
      const shown = { ...average(usable), ...(skipped > 0 && { skipped }) };
      if (progress.update(shown)) average = averager();
      await onStep(usable);
      await setImmediate(); // lets signals and the loader's messages in
      this.profiler?.done();
      if (index < start + total) this.profiler?.begin(this.updates + 1);
    }
    this.profiler?.finish();
    this.data.report(from, dataMoment(loader), loader);
  }

  /** What conditions a batch, after the dropouts, with all that its conditioners need from files. */
  private async attributes(batch: Batch<MusicInfo>, training: boolean): Promise<ConditioningAttributes[]> {
    const kept = this.cfgDropout.apply(attributesOf(batch), training);
    const attributes = this.attributeDropout.apply(kept, training);
    await this.lm.conditionProvider.load(attributes);
    return attributes;
  }

  /** One update of the weights with some batches and what conditions each; `index` counts the epoch's updates. */
  private updateWith(
    batches: Batch<MusicInfo>[],
    attributes: ConditioningAttributes[][],
    index: number,
  ): Metrics {
    const rates = this.schedules.map((schedule) => schedule(this.updates));
    const averages =
      this.ema !== null &&
      (index + 1) % Math.min(this.cfg.optim.ema.updates ?? this.updatesPerEpoch, this.updatesPerEpoch) === 0;
    const compute = () => {
      const inputs = batches.map((batch, i) => {
        this.profiler?.phase("conditions");
        const rows = this.fullRows("train", this.updatesPerEpoch * this.accumulate);
        const whole = filledBatch(batch, rows ?? 0);
        const conditioned = filledRows(attributes[i], rows ?? 0);
        const conditions = this.lm.conditionProvider.prepare(conditioned, { training: true });
        const draw = this.updates * this.accumulate + i;
        const dropoutKey = tf.tensor1d([this.cfg.seed ?? 0, draw], "int32") as Tensor;
        this.profiler?.phase("codec");
        const codes = this.codes(whole);
        this.keep(codes, batch, index * this.accumulate + i);
        return { ...this.tokens(codes, batch, rows !== null), conditions, dropoutKey };
      });
      this.profiler?.phase("train step");
      const result = this.step.train(inputs, rates, averages);
      if (this.cfg.jit_report && !this.hasReported) {
        this.hasReported = true;
        this.log.info(this.step.report(join(this.run.folder, "graphs"), inputs[0]));
      }
      return result;
    };
    const metrics = this.withAdvice(() => scoped(compute));
    this.updates++;
    this.bestIsNow = false;
    return { lr: rates[0], ...metrics };
  }

  /** For the updates that this process has still to do. */
  private buildProfiler(): UpdateProfiler {
    const left = this.updatesPerEpoch * this.cfg.optim.epochs - this.updates;
    return new UpdateProfiler(join(this.run.folder, "profile"), this.log, left);
  }

  /** What the estimate of memory and time is made from. */
  private workload(): Workload {
    const { batchSize } = this.loaders.train!.options;
    const state = [...this.optimizer.state(), ...(this.ema?.averages ?? [])];
    return {
      config: this.lm.config,
      parameters: this.lm.parameterCount(),
      stateValues: state.reduce((sum, [, { size }]) => sum + size, 0),
      batchSize,
      accumulate: this.accumulate,
      steps: Math.ceil((this.cfg.dataset.segment_duration ?? 30) * this.codec.frameRate),
      precision: this.precision,
    };
  }

  /** Says what would fit when TensorFlow finds no memory. */
  private withAdvice<T>(f: () => T): T {
    try {
      return f();
    } catch (error) {
      if (!isOutOfMemory(error)) throw error;
      const advice = this.cost ? memoryAdvice(this.cost) : "use a smaller dataset.batch_size";
      throw new UserError(`not enough memory for an update: ${advice}`, { cause: error });
    }
  }

  /** The codec's codes of a batch, int32 [B, K, T]. */
  private codes({ codes, wav, shape }: Batch<MusicInfo>): Tensor {
    if (codes) return tf.tensor3d(Int32Array.from(codes.values), codes.shape, "int32") as Tensor;
    return this.codec.encode(tf.tensor3d(wav, shape) as Tensor).codes;
  }

  /** Puts a batch of the epoch into the cache that is written. */
  private keep(codes: Tensor, { infos }: Batch<MusicInfo>, number: number): void {
    if (!this.updateWriter) return;
    const values = codes.dataSync() as Int32Array;
    const size = values.length / infos.length;
    const rows = infos.map((_, i) => toCodes(values.slice(i * size, (i + 1) * size), codes.shape[1]!));
    this.updateWriter.write(this.epoch, number, rows, infos);
  }

  /** With `cache.write`, each of `cache.write_num_shards` jobs runs its share of the epochs. */
  protected override isMine(epoch: number): boolean {
    const { write_shard: shard, write_num_shards: shards } = this.cfg.cache;
    return !this.updateWriter || (epoch - 1) % shards === shard;
  }

  /** From a cache of tokens, training has not needed the codec so far. */
  private async loadCodec(): Promise<void> {
    if (!(this.codec instanceof LazyCompressionModel) || this.codec.isLoaded) return;
    this.log.info(`loading the codec ${this.cfg.compression_model_checkpoint}`);
    const { codec } = this;
    await this.whileLoading(() => codec.load());
  }

  /**
   * How many rows every batch of a split is filled up to, `used` of which are taken; null: none is. The last batch of an epoch may
   * be smaller, and the functions that compute it would be traced for it alone. Its rows are filled up then, and those do not
   * count. They could do more than not count where conditioners draw, or take the mean of a batch: only texts are sure not to.
   */
  private fullRows(split: Split, used: number): number | null {
    const loader = this.loaders[split]!;
    const conditioners = Object.values(this.lm.conditionProvider.conditioners);
    const fills =
      loader.endsSmaller && used === loader.length && conditioners.every(({ kind }) => kind === "text");
    return fills && !this.updateWriter ? loader.options.batchSize : null;
  }

  /**
   * Codes as the step takes them: of `batch`, and with `filled` of more rows that do not count. With
   * `tokens.padding_with_special_token`, what lies in an item's padding is the special token and not counted: mask float32
   * [B, K, T]. Otherwise padded silence is learned like any sound.
   */
  private tokens(
    codes: Tensor,
    batch: Batch<MusicInfo>,
    filled: boolean,
  ): { codes: Tensor; mask: Tensor | null } {
    const paddingCounts = !this.cfg.tokens.padding_with_special_token;
    if (paddingCounts && !filled) return { codes, mask: null };
    const [rows, codebooks, frames] = codes.shape as [number, number, number];
    const valid = new Float32Array(rows * codebooks * frames);
    for (const [row, info] of batch.infos.entries()) {
      const count = paddingCounts
        ? frames
        : Math.floor((info.nFrames / info.sampleRate) * this.codec.frameRate);
      for (let k = 0; k < codebooks; k++)
        valid.fill(1, (row * codebooks + k) * frames, (row * codebooks + k) * frames + count);
    }
    const mask = tf.tensor3d(valid, [rows, codebooks, frames]) as Tensor;
    if (paddingCounts) return { codes, mask };
    const special = tf.fill(codes.shape as [number, number, number], this.lm.specialToken, "int32");
    return { codes: tf.where(tf.greater(mask, 0), codes, special), mask };
  }

  protected validEpoch(epoch: number, check: () => void): Promise<Metrics> {
    return this.measure("valid", epoch, check);
  }

  /** The loss, and the quality of generated audio, as far as they are asked for. */
  protected async evaluateEpoch(epoch: number, check: () => void): Promise<Metrics> {
    if (!this.loaders.evaluate) return {};
    const losses = this.cfg.evaluate.metrics.base ? await this.measure("evaluate", epoch, check) : {};
    return measuresAudio(this.cfg) ? { ...losses, ...(await this.measureAudio(epoch, check)) } : losses;
  }

  private async measureAudio(epoch: number, check: () => void): Promise<Metrics> {
    const loader = this.loaders.evaluate!;
    const count = this.data.batches("evaluate");
    const progress = this.data.progress("evaluate_generation", epoch, count, loader);
    await this.loadCodec();
    const metrics = await this.whileLoading(() => buildMetrics(this.cfg));
    try {
      const batches = progress.over(first(count, loader.batches(0)));
      return await evaluateGeneration(this.musicgen, this.cfg, batches, metrics, {
        onFrame: (done, frames) => {
          terminal.update(`Evaluate | Epoch ${epoch} | frame ${done}/${frames}`);
          check();
        },
        onBatch: (means) => {
          progress.update(means);
          check();
        },
      });
    } finally {
      for (const { metric } of metrics) metric.dispose();
    }
  }

  /** Mean loss over a split, without training. */
  private async measure(split: "valid" | "evaluate", epoch: number, check: () => void): Promise<Metrics> {
    const loader = this.loaders[split]!;
    const batches = this.data.batches(split);
    const progress = this.data.progress(split, epoch, batches, loader);
    const mean = new MeanMetrics();
    const rows = this.fullRows(split, batches);
    for await (const batch of progress.over(first(batches, loader.batches(0)))) {
      const attributes = await this.attributes(batch, false);
      if (!batch.codes) await this.loadCodec();
      const metrics = scoped(() => {
        const conditioned = filledRows(attributes, rows ?? 0);
        const conditions = this.lm.conditionProvider.prepare(conditioned, { training: false });
        const codes = this.codes(filledBatch(batch, rows ?? 0));
        return this.step.valid({ ...this.tokens(codes, batch, rows !== null), conditions });
      });
      mean.add(metrics);
      progress.update(mean.mean());
      await setImmediate();
      check();
    }
    const { ce } = mean.mean();
    if (!Number.isFinite(ce)) throw this.failures.validation(ce, epoch);
    return mean.mean();
  }

  /** Generates audio for the descriptions of the `generate` split and saves it with the run. */
  protected async generateEpoch(epoch: number, check: () => void): Promise<Metrics> {
    const loader = this.loaders.generate;
    if (!loader) return {};
    await this.loadCodec();
    const folder = join(this.run.folder, this.cfg.generate.path);
    const batches = this.data.batches("generate");
    const progress = this.data.progress("generate", epoch, batches, loader);
    const mean = new MeanMetrics();
    let index = 0;
    let written = 0;
    for await (const batch of progress.over(first(batches, loader.batches(0)))) {
      const where = `Generate | Epoch ${epoch} | from sample ${index + 1}`;
      const onProgress = (done: number, frames: number) => {
        terminal.update(`${where} | frame ${done}/${frames}`);
        check();
      };
      const attributes = attributesOf(batch);
      const factors = await generateSamples(this.musicgen, this.cfg, {
        batch,
        attributes,
        index,
        epoch,
        folder,
        trackers: this.trackers,
        onProgress,
      });
      for (const rtf of factors) mean.add({ rtf });
      written += factors.length * batch.infos.length;
      index += batch.infos.length;
      progress.update(mean.mean());
    }
    if (written > 0) this.log.info(`${written} samples with their prompts: ${join(folder, String(epoch))}`);
    return mean.mean();
  }

  protected withAverage<T>(f: () => Promise<T>): Promise<T> {
    return this.ema ? this.ema.use(f) : f();
  }

  protected async withBest<T>(f: () => Promise<T>): Promise<T> {
    return this.bestIsNow || this.best.isEmpty ? this.withAverage(f) : this.best.use(f);
  }

  protected keepBest(): void {
    this.best.keep();
    this.bestIsNow = true;
  }

  protected saveState(): CheckpointContent {
    return this.state.save(this.updates);
  }

  protected loadState(content: Required<CheckpointContent>): void {
    this.updates = this.state.load(content);
  }

  /** `continue_from`: the best weights of another run, or of a published model; schedule, optimizer and history start anew. */
  protected async loadWeights(from: string): Promise<void> {
    const trained = await openMusicGen(from, this.run.doraDir);
    try {
      trained.loadInto(this.lm);
    } finally {
      trained.close();
    }
    for (const [index, [, average]] of (this.ema?.averages ?? []).entries()) {
      tf.tidy(() => average.assign(this.parameters[index][1].value));
    }
    this.log.info(
      `starting from the weights of ${trained.path} (${trained.signature}, ${trained.epochs} epochs)`,
    );
  }

  show(): string {
    return parameterTable(this.lm);
  }

  async close(): Promise<void> {
    this.profiler?.finish();
    await this.data.close();
    for (const cache of this.textCaches) cache.close();
    this.updateWriter?.close();
  }

  private choosePrecision(): AutocastType | null {
    if (!this.cfg.autocast) return null;
    if (this.cfg.autocast_dtype === "bfloat16") return "bfloat16";
    if (isGpu) return "float16";
    this.log.warn("autocast_dtype=float16: using bfloat16 on the CPU, which has no fast float16");
    return "bfloat16";
  }
}

function attributesOf(batch: Batch<MusicInfo>): ConditioningAttributes[] {
  return batch.infos.map((info, index) => musicConditions(info, itemWav(batch, index)));
}

/** What of the metrics of an update that was left out can be averaged. */
function finiteOnly(metrics: Metrics): Metrics {
  return Object.fromEntries(Object.entries(metrics).filter(([, value]) => Number.isFinite(value)));
}
