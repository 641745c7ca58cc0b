/** What the columns of tables (and the JSON files of shards) mean, under the names that published data sets use. */
import { parsePythonJson } from "../data/sidecar.ts";
import type { Row } from "./csv.ts";

/** What a row tells about an audio file. */
export interface RowFacts {
  /** Path of the audio, as the row gives it. */
  path: string | null;
  /** Name of a recording that files are named after: a YouTube id. */
  id: string | null;
  /** Seconds within the recording. */
  start: number | null;
  end: number | null;
  weight: number | null;
  /** Content of the audio file, if it is inside of the row. */
  bytes: Uint8Array | null;
  /** Fields of a sidecar. Undefined: the row describes nothing. */
  description: Record<string, unknown> | undefined;
}

const PATH = [
  "path",
  "file",
  "file_path",
  "filepath",
  "file_name",
  "filename",
  "audio_path",
  "audio_file",
  "audio",
];
const ID = ["ytid", "youtube_id", "yt_id", "audiocap_id", "audio_id", "id"];
const START = ["start_s", "start_time", "start_seconds", "start"];
const END = ["end_s", "end_time", "end_seconds", "end"];

/** Sidecar fields, in AudioCraft's order, with the columns that they are taken from. */
const FIELDS: Record<string, readonly string[]> = {
  key: ["key", "musical_key"],
  artist: ["artist", "artist_name", "artists"],
  description: ["description", "caption", "text", "prompt", "main_caption", "captions"],
  keywords: ["keywords", "aspect_list", "tags"],
  bpm: ["bpm", "tempo"],
  genre: ["genre", "genres"],
  title: ["title", "track_title", "track_name"],
  name: ["name"],
  instrument: ["instrument", "instruments"],
  moods: ["moods", "mood"],
};
const LISTS = new Set(["keywords", "moods"]);

/** Reads a row; names of columns in any case. */
export function readRow(row: Row): RowFacts {
  const columns = new Map(Object.entries(row).map(([name, value]) => [name.toLowerCase(), value]));
  const first = (names: readonly string[]) => names.map((name) => columns.get(name)).find(isFilled);
  const embedded = columns.get("audio") as { path?: unknown; bytes?: unknown } | string | null | undefined;
  const audio = typeof embedded === "object" && embedded !== null ? embedded : undefined;
  return {
    path:
      text(audio?.path) ?? text(PATH.map((name) => columns.get(name)).find((value) => text(value) !== null)),
    id: text(first(ID)),
    start: number(first(START)),
    end: number(first(END)),
    weight: number(first(["weight"])),
    bytes: audio?.bytes instanceof Uint8Array ? audio.bytes : null,
    description: describe(first),
  };
}

function describe(first: (names: readonly string[]) => unknown): RowFacts["description"] {
  const fields = Object.entries(FIELDS).map(([field, names]): [string, unknown] => {
    const value = literal(first(names));
    if (!isFilled(value)) return [field, null];
    if (LISTS.has(field)) return [field, value];
    if (field === "bpm") return [field, number(value)];
    // Several captions say the same thing; several genres belong together.
    const single = Array.isArray(value) ? (field === "description" ? value[0] : value.join(", ")) : value;
    // Shards call their sample's number "key".
    return [field, field === "key" && !/^[a-gA-G]/.test(String(single)) ? null : text(single)];
  });
  return fields.some(([, value]) => value !== null) ? Object.fromEntries(fields) : undefined;
}

function isFilled(value: unknown): boolean {
  if (typeof value === "number") return Number.isFinite(value);
  if (Array.isArray(value)) return value.length > 0;
  return typeof value === "string"
    ? !["", "None", "nan", "null"].includes(value.trim())
    : value instanceof Uint8Array;
}

function text(value: unknown): string | null {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("utf8");
  if (typeof value === "number") return String(value);
  return typeof value === "string" && isFilled(value) ? value.trim() : null;
}

function number(value: unknown): number | null {
  const found = typeof value === "string" ? Number(value) : value;
  return typeof found === "number" && Number.isFinite(found) ? found : null;
}

/** A list that was written into a cell as Python or JSON writes it: ['slow', "it's sad"]. */
function literal(value: unknown): unknown {
  if (typeof value !== "string" || !/^\s*\[.*\]\s*$/s.test(value)) return value;
  try {
    return parsePythonJson(value);
  } catch {
    const items = [...value.matchAll(/'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"/gs)];
    return items.map(([, single, double]) => (single ?? double).replace(/\\(.)/gs, "$1"));
  }
}
