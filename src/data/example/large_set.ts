/**
 * The larger example set, `dset=audio/example_large`: what the shipped language model was trained on. Its clips are drawn at
 * random from the same music, all of 8 s from the first bar on, and 200 combinations of instrument, pattern, key and tempo
 * are kept out of training: `npm run eval` asks for those.
 */
import { TorchGenerator } from "../../random/mt19937.ts";
import {
  type ClipSpec,
  type Direction,
  deck,
  exampleSpecs,
  GROOVES,
  INSTRUMENTS,
  PATTERNS,
  type Part,
  playable,
  range,
  TEMPO_RANGES,
  TEMPOS,
  type Tempo,
} from "./specs.ts";

const TRAIN_CLIPS = 4000;
/** Descriptions that are kept out of training. */
export const HELD_OUT = 200;

/** Every n-th training clip is drums alone. */
const DRUMS_EVERY = 40;

const SECONDS = 8;

/** Whole bars that fill the seconds at each tempo. */
const BEATS: Record<Tempo, number> = { slow: 12, moderate: 16, fast: 24 };

interface Combination {
  part: Part;
  tempo: Tempo;
}

/** The specs of all clips, always the same; the held-out ones are those of the split "valid". */
export function largeExampleSpecs(): ClipSpec[] {
  const random = new TorchGenerator(20231124);
  const trainedOn = new Set(exampleSpecs().flatMap((spec) => (spec.part ? [name(spec as Combination)] : [])));
  const combinations = shuffled(allCombinations(), random);
  const heldOut = combinations.filter((each) => !trainedOn.has(name(each))).slice(0, HELD_OUT);
  const held = new Set(heldOut.map(name));
  const draw = deck(combinations.filter((each) => !held.has(name(each))));

  const specs = range(TRAIN_CLIPS).map((i) => {
    if (i % DRUMS_EVERY > 0) return { ...draw(random), ...rest(i, random), split: "train" as const };
    const tempo = drawn(TEMPOS, random);
    const groove = drawn(GROOVES, random);
    return { part: null, tempo, ...rest(i, random), groove, split: "train" as const };
  });
  return [
    ...specs,
    ...heldOut.map((each, i) => ({ ...each, ...rest(TRAIN_CLIPS + i, random), split: "valid" as const })),
  ].map((spec) => ({
    ...spec,
    bpm: drawn(TEMPO_RANGES[spec.tempo].bpm, random),
    beats: BEATS[spec.tempo],
  }));
}

function allCombinations(): Combination[] {
  return INSTRUMENTS.flatMap((instrument) =>
    PATTERNS.flatMap((name) =>
      TEMPOS.flatMap((tempo) =>
        (["major", "minor"] as const).flatMap((mode) =>
          range(12).flatMap((tonic) =>
            directions(name).map((direction) => ({
              part: { instrument, pattern: playable(name, instrument), direction, key: { tonic, mode } },
              tempo,
            })),
          ),
        ),
      ),
    ),
  );
}

function directions(pattern: (typeof PATTERNS)[number]): (Direction | null)[] {
  const moves = pattern === "arpeggio" || pattern === "scale run";
  return moves ? ["rising", "falling", "rising-and-falling"] : [null];
}

function name({ part, tempo }: Combination): string {
  const { instrument, pattern, direction, key } = part;
  return [instrument, pattern, direction, key.tonic, key.mode, tempo].join();
}

/** What is drawn for every clip alike. */
function rest(i: number, random: TorchGenerator) {
  return {
    id: String(i + 1).padStart(4, "0"),
    seed: 100_000 + i,
    groove: random.rand() < 0.4 ? ("rock" as const) : null,
    cutAt: SECONDS,
    effect: drawn(["dry", "echo", "reverb"] as const, random),
    wording: random.randint(5),
    mood: random.randint(2) as 0 | 1,
    sampleRate: 16000,
    channels: 1 as const,
    format: "wav" as const,
  };
}

function drawn<T>(items: readonly T[], random: TorchGenerator): T {
  return items[random.randint(items.length)];
}

function shuffled<T>(items: T[], random: TorchGenerator): T[] {
  const next = deck(items);
  return items.map(() => next(random));
}
