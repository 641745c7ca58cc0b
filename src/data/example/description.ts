/** Says in words what is heard in a clip: the sidecar that AudioCraft's MusicDataset reads beside the audio. */
import { type ClipSpec, clipFrames, type Instrument, type Key, type Part, type Tempo } from "./specs.ts";

/** The JSON beside an audio file, with the keys of AudioCraft's MusicDataset. */
export interface Sidecar {
  key: string;
  artist: string;
  sample_rate: number;
  file_extension: string;
  description: string;
  keywords: string;
  duration: number;
  bpm: number;
  genre: string;
  title: string;
  name: string;
  instrument: string;
  moods: string[];
}

const MAJOR_NAMES = ["C", "D-flat", "D", "E-flat", "E", "F", "F-sharp", "G", "A-flat", "A", "B-flat", "B"];
const MINOR_NAMES = ["C", "C-sharp", "D", "E-flat", "E", "F", "F-sharp", "G", "G-sharp", "A", "B-flat", "B"];

/** A wave shape is named with a hyphen everywhere, so that a word-level tokenizer sees one word. */
const INSTRUMENT_WORDS: Record<Instrument, { adjective: string; noun: string }> = {
  "sine wave": { adjective: "sine-wave", noun: "sine-wave synth" },
  "square wave": { adjective: "square-wave", noun: "square-wave synth" },
  "triangle wave": { adjective: "triangle-wave", noun: "triangle-wave synth" },
  "sawtooth wave": { adjective: "sawtooth-wave", noun: "sawtooth-wave synth" },
  "plucked string": { adjective: "plucked-string", noun: "plucked-string guitar" },
  bell: { adjective: "bell", noun: "bell" },
  "electric piano": { adjective: "electric-piano", noun: "electric-piano" },
  organ: { adjective: "organ", noun: "organ" },
  flute: { adjective: "flute", noun: "flute" },
  marimba: { adjective: "marimba", noun: "marimba" },
};

const MOODS: Record<Key["mode"], Record<Tempo, [string, string]>> = {
  major: { slow: ["calm", "peaceful"], moderate: ["cheerful", "bright"], fast: ["happy", "joyful"] },
  minor: { slow: ["sad", "melancholic"], moderate: ["mysterious", "thoughtful"], fast: ["tense", "urgent"] },
};
const DRUM_MOODS: Record<Tempo, [string, string]> = {
  slow: ["relaxed", "heavy"],
  moderate: ["steady", "groovy"],
  fast: ["energetic", "driving"],
};

/** The metadata of a clip. `duration` is in seconds; a clip of drums alone has the empty key. */
export function describeClip(spec: ClipSpec): Sidecar {
  const { part, tempo } = spec;
  const instrument = part ? INSTRUMENT_WORDS[part.instrument].noun : "drums";
  const moods = part ? MOODS[part.key.mode][tempo] : DRUM_MOODS[tempo];
  const what = part ? part.pattern : `${spec.groove} drum beat`;
  return {
    key: part ? keyName(part.key) : "",
    artist: "musicgen-tfjs example synthesizer",
    sample_rate: spec.sampleRate,
    file_extension: spec.format,
    description: part ? describePart(spec, part) : describeDrums(spec),
    keywords: [tempo, instrument, what, ...(part && spec.groove ? ["drum beat"] : []), ...moods].join(", "),
    duration: clipFrames(spec) / spec.sampleRate,
    bpm: spokenBpm(spec),
    genre: genre(spec),
    title: capitalize(part ? `${tempo} ${patternPhrase(part)} in ${keyName(part.key)}` : `${tempo} ${what}`),
    name: `example_${spec.id}`,
    instrument,
    moods,
  };
}

/** Descriptions have whole numbers. */
function spokenBpm({ bpm }: ClipSpec): number {
  return Math.round(bpm);
}

export function keyName(key: Key): string {
  return `${(key.mode === "major" ? MAJOR_NAMES : MINOR_NAMES)[key.tonic]} ${key.mode}`;
}

function describePart(spec: ClipSpec, part: Part): string {
  const { tempo } = spec;
  const bpm = spokenBpm(spec);
  const key = keyName(part.key);
  const mood = MOODS[part.key.mode][tempo][spec.mood];
  const words = INSTRUMENT_WORDS[part.instrument];
  const plain = patternPhrase({ ...part, direction: null }, words.adjective);
  const full = patternPhrase(part, words.adjective);
  const extras = [...(spec.groove ? ["a drum beat"] : []), ...(spec.effect === "dry" ? [] : [spec.effect])];
  const and = extras.length > 0 ? ` with ${extras.join(" and ")}` : "";
  const a = isPlural(part) ? "" : `${article(mood)} `;
  switch (spec.wording) {
    case 0:
      return `${tempo} ${plain} in ${key}${and}`;
    case 1:
      return `${a}${mood} ${tempo} ${full} in ${key} at ${bpm} bpm${and}`;
    case 2:
      return `${mood} ${patternPhrase(part)} played by ${article(words.noun)} ${words.noun} at a ${tempo} tempo in ${key}${and}`;
    case 3:
      return [`${tempo} ${full}`, key, `${bpm} bpm`, mood, ...extras].join(", ");
    default:
      return `${mood} music in ${key}: ${isPlural(part) ? "" : "a "}${tempo} ${full}${and}`;
  }
}

function describeDrums(spec: ClipSpec): string {
  const { tempo, groove } = spec;
  const bpm = spokenBpm(spec);
  const mood = DRUM_MOODS[tempo][spec.mood];
  const and = spec.effect === "dry" ? "" : ` with ${spec.effect}`;
  switch (spec.wording) {
    case 0:
    case 2:
      return `${tempo} ${groove} drum beat${and}`;
    case 1:
    case 4:
      return `${article(mood)} ${mood} ${tempo} ${groove} drum beat at ${bpm} bpm${and}`;
    default:
      return [`${tempo} ${groove} drum beat`, `${bpm} bpm`, mood, ...(and ? [spec.effect] : [])].join(", ");
  }
}

/** "rising marimba arpeggio", "pulsing organ chords": the instrument stands before the noun. */
function patternPhrase(part: Part, adjective?: string): string {
  const words = part.pattern.split(" ");
  const qualifier = isPlural(part) ? [words.shift()] : [];
  return [part.direction, ...qualifier, adjective, ...words].filter((word) => word).join(" ");
}

function isPlural(part: Part): boolean {
  return part.pattern.endsWith("chords");
}

function genre(spec: ClipSpec): string {
  if (!spec.part) return "percussion";
  if (spec.part.pattern === "chord pad" && !spec.groove) return "ambient";
  if (!spec.part.instrument.endsWith("wave")) return "instrumental";
  return spec.groove ? "dance" : "electronic";
}

function article(next: string): string {
  return /^[aeiou]/.test(next) ? "an" : "a";
}

function capitalize(text: string): string {
  return text[0].toUpperCase() + text.slice(1);
}
