/** The command line of `eval`. */

import { UserError } from "../errors.ts";
import { type Options, parseArguments } from "../generate/arguments.ts";

export const help = `usage: npm run eval -- [MODEL] [key=value …]

Generates for held-out descriptions of the example music and listens, by signal analysis, for what the words ask: pitch class, tempo,
wave shape, direction; beside it chance, and the codec's reconstruction of real clips, which is the most that can be reached.

  MODEL         default (the shipped model), run signature, checkpoint    the newest checkpoint
  samples       how many of the 200 held-out descriptions                 200
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

const KEYS = [
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
];

/** The last description of the held-out set. */
export const HELD_OUT = 200;

/** @throws UserError for what the command does not know */
export function parseEvalArguments(argv: readonly string[]): EvalArguments {
  const isSamples = (word: string) => /^(--)?(num_)?samples=/.test(word);
  const { descriptions, options } = parseArguments(argv.filter((word) => !isSamples(word)));
  const text = argv.filter(isSamples).at(-1)?.split("=")[1] ?? String(HELD_OUT);
  const samples = Number(text);
  if (!Number.isInteger(samples) || samples < 1 || samples > HELD_OUT)
    throw new UserError(
      `samples=${text}: a whole number from 1 to ${HELD_OUT}, the held-out descriptions that there are`,
    );
  const unknown = Object.keys(options).find((key) => !KEYS.includes(key) && key !== "model");
  if (unknown) throw new UserError(`eval has no option ${unknown}; it has ${KEYS.join(", ")}, samples`);
  if (descriptions.length > 1)
    throw new UserError(
      `one model at a time: ${descriptions.join(", ")} (descriptions are those of the held-out clips)`,
    );
  return { model: options.model ?? descriptions[0] ?? null, samples, options };
}
