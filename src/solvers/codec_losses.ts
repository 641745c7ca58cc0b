/** The losses of a codec's reconstructions, as a config weighs them. */
import type { CompressionConfig } from "../config/index.ts";
import { UserError } from "../errors.ts";
import { Balancer } from "../losses/balancer.ts";
import { type AudioLoss, buildLoss } from "../losses/build.ts";
import type { Tensor } from "../runtime/index.ts";
import type { AdversaryLearner } from "./adversary_learner.ts";

/** A loss as a function of the model's wave [B, C, T]. */
export type WaveLoss = (wav: Tensor) => Tensor;

export class CodecLosses {
  readonly balancer: Balancer;
  private readonly weights: Record<string, number>;
  private readonly audio: [string, AudioLoss][];
  private readonly adversaries: readonly AdversaryLearner[];

  /** @throws UserError for unknown losses, and when none has a weight */
  constructor(cfg: CompressionConfig, adversaries: readonly AdversaryLearner[]) {
    const { adv, feat, ...audio } = Object.fromEntries(
      Object.entries(cfg.losses).filter((entry): entry is [string, number] => entry[1] !== null),
    );
    const sections = cfg as unknown as Record<string, Record<string, unknown> | undefined>;
    this.audio = Object.keys(audio).map((name) => [name, buildLoss(name, sections[name] ?? {})]);
    this.adversaries = adversaries;
    const played = adversaries.flatMap(({ name }): [string, number][] => [
      [`adv_${name}`, adv ?? 0],
      [`feat_${name}`, feat ?? 0],
    ]);
    this.weights = Object.fromEntries([...played, ...Object.entries(audio)]);
    const weighed = Object.fromEntries(Object.entries(this.weights).filter(([, weight]) => weight > 0));
    if (Object.keys(weighed).length === 0) {
      throw new UserError(
        "losses: no loss has a weight above 0 (those of adv and feat need adversarial.adversaries)",
      );
    }
    this.balancer = new Balancer(weighed, cfg.balancer);
  }

  /**
   * The losses for real waves [B, C, T] by AudioCraft's names: those that are minimised, and those of weight 0, which are only
   * measured.
   */
  against(
    real: Tensor,
    training: boolean,
  ): { minimised: [string, WaveLoss][]; measured: [string, WaveLoss][] } {
    const all = [
      ...this.adversaries.flatMap(({ name, adversary }): [string, WaveLoss][] => {
        const { adversarial, featureMatching } = adversary.modelLosses(real, training);
        return [
          [`adv_${name}`, adversarial],
          [`feat_${name}`, featureMatching],
        ];
      }),
      ...this.audio.map(([name, loss]): [string, WaveLoss] => [name, (wav) => loss(wav, real)]),
    ];
    const isMinimised = ([name]: [string, WaveLoss]) => this.weights[name] > 0;
    return { minimised: all.filter(isMinimised), measured: all.filter((loss) => !isMinimised(loss)) };
  }
}
