/** The command line of `eval`. */

import { HELD_OUT } from "../data/example/large_set.ts";
import { UserError } from "../errors.ts";
import { ALIASES, type Command, type Options, parseArguments } from "../generate/arguments.ts";

export const help = `usage: npm run eval -- [MODEL] [key=value …]

Generates for held-out descriptions of the example music and listens, by signal analysis, for what the words ask: pitch class, tempo,
wave shape, direction; beside it chance, and the codec's reconstruction of real clips, which is the most that can be reached.

  MODEL         default (the shipped model), run signature, checkpoint    the newest checkpoint
  samples       how many of the ${HELD_OUT} held-out descriptions                 ${HELD_OUT}
  duration      seconds of each clip                                      8
  out           folder for the page, the clips and results.json           evals/<model>
  seed          the same seed gives the same clips                        0
  batch         clips that are generated together                         20
  temperature, top_k, top_p, cfg_coef, use_sampling                       as the model's config says
  device, jit, weights                                                    as for generate
`;

export interface EvalArguments {
  /** null: the newest checkpoint. */
  model: string | null;
  samples: number;
  options: Options;
}

const EVAL: Command = {
  name: "eval",
  options: [
    "model",
    "num_samples",
    "duration",
    "out",
    "seed",
    "batch",
    "temperature",
    "top_k",
    "top_p",
    "cfg_coef",
    "use_sampling",
    "device",
    "jit",
    "weights",
  ],
  aliases: new Map([...ALIASES, ["samples", "num_samples"]]),
  hint: "",
};

/** @throws UserError for what the command does not know */
export function parseEvalArguments(argv: readonly string[]): EvalArguments {
  const { descriptions, options } = parseArguments(argv, EVAL);
  const { num_samples: samples = HELD_OUT, model, ...others } = options;
  if (samples > HELD_OUT)
    throw new UserError(`samples=${samples}: there are ${HELD_OUT} held-out descriptions`);
  if (descriptions.length > 1)
    throw new UserError(
      `eval takes one model, and was given ${descriptions.map((each) => `"${each}"`).join(", ")}`,
    );
  return { model: model ?? descriptions[0] ?? null, samples, options: others };
}
