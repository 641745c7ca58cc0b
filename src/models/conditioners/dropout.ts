/** Dropping conditions: at random in training for classifier-free guidance, on purpose for the null conditions. */
import { UserError } from "../../errors.ts";
import { TorchGenerator } from "../../random/mt19937.ts";

export const CONDITION_KINDS = ["wav", "text", "joint_embed"] as const;
export type ConditionKind = (typeof CONDITION_KINDS)[number];

/** The part of a sample's conditioning attributes that can be dropped, by kind and by attribute name. */
export interface Droppable<Wav, JointEmbed> {
  text: Record<string, string | null>;
  wav: Record<string, Wav>;
  joint_embed?: Record<string, JointEmbed>;
}

/** What "no condition" looks like for the kinds that hold audio; a dropped text is null. */
export interface Nullify<Wav, JointEmbed> {
  wav(condition: Wav): Wav;
  joint_embed(condition: JointEmbed): JointEmbed;
}

/**
 * The samples without any condition of the given kinds; the samples passed in stay as they are.
 * The default kinds are those that AudioCraft drops.
 */
export function dropConditions<Wav, JointEmbed, Sample extends Droppable<Wav, JointEmbed>>(
  samples: readonly Sample[],
  nullify: Nullify<Wav, JointEmbed>,
  kinds: readonly ConditionKind[] = ["wav", "text"],
): Sample[] {
  return samples.map((sample) =>
    kinds.reduce(
      (dropped, kind) => dropAttributes(dropped, nullify, kind, Object.keys(sample[kind] ?? {})),
      sample,
    ),
  );
}

/**
 * Drops every condition of the given kinds in the whole batch together, with probability `p`: one draw per batch. AudioCraft
 * leaves joint embeddings alone; guidance by them needs them among the kinds.
 */
export class ClassifierFreeGuidanceDropout<Wav, JointEmbed> {
  readonly p: number;
  private readonly nullify: Nullify<Wav, JointEmbed>;
  private readonly kinds: readonly ConditionKind[];
  private readonly generator: TorchGenerator;

  /** @throws UserError when `p` is not a probability */
  constructor(
    p: number,
    nullify: Nullify<Wav, JointEmbed>,
    { seed = 1234, kinds = ["wav", "text"] }: { seed?: number; kinds?: readonly ConditionKind[] } = {},
  ) {
    checkProbability("classifier_free_guidance.training_dropout", p);
    this.p = p;
    this.nullify = nullify;
    this.kinds = kinds;
    this.generator = new TorchGenerator(seed);
  }

  /** The samples, or copies of them without conditions. Draws only in training. */
  apply<Sample extends Droppable<Wav, JointEmbed>>(samples: Sample[], training: boolean): Sample[] {
    if (!training || this.generator.rand() >= this.p) return samples;
    return dropConditions(samples, this.nullify, this.kinds);
  }

  /** The random state, for a checkpoint. */
  state(): number[] {
    return this.generator.state();
  }

  restore(state: readonly number[]): void {
    this.generator.restore(state);
  }
}

/** Probabilities by kind and attribute: the config's `attribute_dropout`, with its `args` beside the kinds. */
export type AttributeDropoutConfig = Partial<Record<ConditionKind | "args", Record<string, unknown> | null>>;

/**
 * Drops single attributes in the whole batch together: one draw per listed attribute and batch, in the config's order.
 * `args.active_on_eval` makes it act outside training, too. As in AudioCraft each entry of `args` also consumes one
 * draw, which keeps the decisions of both systems alike.
 */
export class AttributeDropout<Wav, JointEmbed> {
  readonly activeOnEval: boolean;
  private readonly draws: { kind: string; attribute: string; p: number }[];
  private readonly nullify: Nullify<Wav, JointEmbed>;
  private readonly generator: TorchGenerator;

  /** @throws UserError for an unknown kind, or a value that is not a probability */
  constructor(config: AttributeDropoutConfig, nullify: Nullify<Wav, JointEmbed>, seed = 1234) {
    this.activeOnEval = config.args?.active_on_eval === true;
    this.draws = Object.entries(config).flatMap(([kind, attributes]) =>
      Object.entries(attributes ?? {}).map(([attribute, value]) => {
        if (kind === "args") return { kind, attribute, p: 0 };
        if (!CONDITION_KINDS.includes(kind as ConditionKind)) {
          throw new UserError(
            `attribute_dropout.${kind}: unknown kind of condition; known: ${CONDITION_KINDS.join(", ")}`,
          );
        }
        checkProbability(`attribute_dropout.${kind}.${attribute}`, value);
        return { kind, attribute, p: value };
      }),
    );
    this.nullify = nullify;
    this.generator = new TorchGenerator(seed);
  }

  /**
   * The samples, or copies of them without the attributes that were drawn.
   * @throws UserError when an attribute to drop is missing in a sample
   */
  apply<Sample extends Droppable<Wav, JointEmbed>>(samples: Sample[], training: boolean): Sample[] {
    if (!training && !this.activeOnEval) return samples;
    return this.draws.reduce((kept, { kind, attribute, p }) => {
      if (this.generator.rand() >= p) return kept;
      return kept.map((sample) => dropAttributes(sample, this.nullify, kind as ConditionKind, [attribute]));
    }, samples);
  }

  /** The random state, for a checkpoint. */
  state(): number[] {
    return this.generator.state();
  }

  restore(state: readonly number[]): void {
    this.generator.restore(state);
  }
}

/** A copy of the sample in which the named attributes of one kind are null. */
function dropAttributes<Wav, JointEmbed, Sample extends Droppable<Wav, JointEmbed>>(
  sample: Sample,
  nullify: Nullify<Wav, JointEmbed>,
  kind: ConditionKind,
  attributes: readonly string[],
): Sample {
  const conditions: Record<string, unknown> = { ...sample[kind] };
  for (const attribute of attributes) {
    if (!Object.hasOwn(conditions, attribute)) {
      const present = Object.keys(conditions).join(", ") || "none";
      throw new UserError(
        `attribute_dropout.${kind}.${attribute}: the samples have no such ${kind} attribute (they have: ${present})`,
      );
    }
    if (kind === "text") conditions[attribute] = null;
    if (kind === "wav") conditions[attribute] = nullify.wav(sample.wav[attribute]);
    if (kind === "joint_embed") conditions[attribute] = nullify.joint_embed(sample.joint_embed![attribute]);
  }
  return { ...sample, [kind]: conditions };
}

function checkProbability(key: string, value: unknown): asserts value is number {
  if (typeof value !== "number" || !(value >= 0 && value <= 1)) {
    throw new UserError(`${key} must be a probability between 0 and 1, got ${JSON.stringify(value)}`);
  }
}
