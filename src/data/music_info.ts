/** What a sidecar JSON says about a piece of music: cleaning, and merging the fields into the description. */
import type { TorchGenerator } from "../random/mt19937.ts";
import { permutation } from "./random.ts";

export interface MusicAttributes {
  title: string | null;
  artist: string | null;
  key: string | null;
  bpm: number | null;
  genre: string | null;
  moods: string[] | null;
  keywords: string[] | null;
  description: string | null;
  name: string | null;
  instrument: string | null;
}

/** Attribute names in the order in which they draw random numbers. */
export const MUSIC_FIELDS = [
  "title",
  "artist",
  "key",
  "bpm",
  "genre",
  "moods",
  "keywords",
  "description",
  "name",
  "instrument",
] as const satisfies readonly (keyof MusicAttributes)[];

/** Cleaned attributes of a sidecar's content; what it lacks is null. */
export function cleanMusicInfo(sidecar: Record<string, unknown>): MusicAttributes {
  return {
    title: cleanText(sidecar.title),
    artist: cleanText(sidecar.artist),
    key: cleanKey(sidecar.key),
    bpm: cleanBpm(sidecar.bpm),
    genre: cleanLabel(sidecar.genre),
    moods: cleanList(sidecar.moods),
    keywords: cleanList(sidecar.keywords),
    description: cleanText(sidecar.description),
    name: cleanLabel(sidecar.name),
    instrument: cleanLabel(sidecar.instrument),
  };
}

function cleanText(value: unknown): string | null {
  const text = typeof value === "string" ? value.trim() : "";
  return text === "" || text === "None" ? null : text;
}

/** Text in small letters. */
export function cleanLabel(value: unknown): string | null {
  return cleanText(value)?.toLowerCase() ?? null;
}

/** A list, or a text split at commas and white space; a lone number is its digits. */
export function cleanList(value: unknown): string[] | null {
  const items =
    typeof value === "string"
      ? value.split(/[,\s]/)
      : Array.isArray(value)
        ? value
        : typeof value === "number"
          ? [String(value)]
          : [];
  const cleaned = items.map(cleanLabel).filter((item) => item !== null);
  return cleaned.length > 0 ? cleaned : null;
}

/** Several keys ("C major, A minor") say nothing. */
function cleanKey(value: unknown): string | null {
  const key = cleanLabel(value);
  return key?.includes(",") ? null : key;
}

function cleanBpm(value: unknown): number | null {
  if (typeof value === "string" ? value.trim() === "" : typeof value !== "number") return null;
  const bpm = Number(value);
  return Number.isFinite(bpm) ? bpm : null;
}

/** An attribute as text for a conditioner: lists joined by spaces. */
export function attributeText(attributes: MusicAttributes, field: keyof MusicAttributes): string | null {
  const value = attributes[field];
  if (Array.isArray(value)) return value.join(" ");
  return typeof value === "number" ? pythonFloat(value) : value;
}

/** Numbers as AudioCraft (Python) prints floats: 120 is "120.0". */
function pythonFloat(value: number): string {
  return Number.isInteger(value) ? value.toFixed(1) : String(value);
}

export interface MergeOptions {
  /** Probability of merging; 0 or null: descriptions stay as they are. */
  mergeTextP: number | null;
  /** Probability of dropping the description when fields are merged. */
  dropDescP: number;
  /** Probability of *keeping* each other field (the name is AudioCraft's). */
  dropOtherP: number;
}

const MERGED_FIELDS = new Set<string>(["key", "bpm", "genre", "moods", "instrument", "keywords"]);

/**
 * The description with "field: value" pairs merged in, in random order, joined by ". ". One number is drawn for every field,
 * filled or not. A description that is kept always ends up with a full stop, also when nothing is merged, as in AudioCraft.
 */
export function mergeDescription(
  attributes: MusicAttributes,
  options: MergeOptions,
  random: TorchGenerator,
): string | null {
  if (!options.mergeTextP) return attributes.description;
  let { description } = attributes;
  let merged = "";
  if (random.rand() < options.mergeTextP) {
    const pairs: string[] = [];
    for (const field of MUSIC_FIELDS) {
      const kept = random.rand() < options.dropOtherP;
      const value = attributes[field];
      if (!kept || !MERGED_FIELDS.has(field) || value === null) continue;
      const text = Array.isArray(value) ? value.join(", ") : attributeText(attributes, field);
      pairs.push(`${field}: ${text}`);
    }
    merged = Array.from(permutation(random, pairs.length), (i) => pairs[i]).join(". ");
    if (random.rand() < options.dropDescP) description = null;
  }
  if (description === null) return merged.length > 1 ? merged : null;
  return `${description.replace(/\.+$/, "")}. ${merged}`.trim() || null;
}
