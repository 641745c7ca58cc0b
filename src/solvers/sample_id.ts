/** Names of generated samples: what a sample was made for gives its id, so that it is found again in every epoch and every run. */
import { createHash, type Hash } from "node:crypto";

/** What a sample was generated from. */
export interface SampleInput {
  /** Position in the data set. */
  index: number;
  /** By conditioner: a text, a path, or null for none. */
  conditions: Record<string, string | null>;
  /** The audio that was continued, if any. */
  prompt: Float32Array[] | null;
  /** Of the run. */
  seed: number;
}

/** Longest part of a name that says the conditions. */
const MAX_LABEL = 100;

/**
 * AudioCraft's id: the sha1 of position, prompt and conditions, then to be read whether there was a prompt, and the
 * conditions. Without either the id is `noinput_` and a UUID that follows from seed and position.
 */
export function sampleId({ index, conditions, prompt, seed }: SampleInput): string {
  const entries = Object.entries(conditions).sort(([a], [b]) => (a < b ? -1 : 1));
  if (prompt === null && entries.length === 0) return `noinput_${uuid(`${seed} ${index}`)}`;
  const hash = createHash("sha1").update(String(index));
  for (const channel of prompt ?? []) addSamples(hash, channel);
  if (entries.length > 0) hash.update(pythonJson(entries));
  const kind = prompt === null ? "unprompted" : "prompted";
  const label = entries.map(([name, value]) => `${name}=${slug(value ?? "None")}`).join("-");
  return `${hash.digest("hex")}_${kind}_${label.slice(0, MAX_LABEL) || "unconditioned"}`;
}

/** Id of a prompt or a reference: the sha1 of the sum of its channels. */
export function audioId(samples: Float32Array[]): string {
  const sum = samples[0].map((value, i) =>
    samples.slice(1).reduce((total, channel) => Math.fround(total + channel[i]), value),
  );
  return addSamples(createHash("sha1"), sum).digest("hex");
}

/** A text as part of a file name, as Django does it: lower-case ASCII words joined by hyphens, at most `length` characters. */
export function slug(text: string, length = Number.POSITIVE_INFINITY): string {
  return text
    .normalize("NFKD")
    .replace(/[^\p{ASCII}]/gu, "")
    .toLowerCase()
    .replace(/[^\w\s-]/g, "")
    .replace(/[-\s]+/g, "-")
    .replace(/^[-_]+|[-_]+$/g, "")
    .slice(0, length);
}

function addSamples(hash: Hash, { buffer, byteOffset, byteLength }: Float32Array): Hash {
  return hash.update(new Uint8Array(buffer, byteOffset, byteLength));
}

/** An object as Python's `json.dumps` writes it. */
function pythonJson(entries: [string, string | null][]): string {
  const ascii = (value: string | null) =>
    JSON.stringify(value).replace(
      /[\u007f-\uffff]/g,
      (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
    );
  return `{${entries.map(([name, value]) => `${ascii(name)}: ${ascii(value)}`).join(", ")}}`;
}

/** 32 hexadecimal digits with the marks of a random UUID (RFC 9562, version 4), from a text. */
function uuid(text: string): string {
  const bytes = createHash("sha1").update(text).digest().subarray(0, 16);
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes.toString("hex");
}
