/** `cache.json` in a token cache: what it holds, and which codec its codes are of. */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { writeError, writeFileAtomically } from "../../checkpoint/atomic_file.ts";
import { UserError } from "../../errors.ts";

/** What codes depend on. The names are those under which errors show the values. */
export interface CodecIdentity {
  /** As `compression_model_checkpoint` has it. */
  name: string;
  /** Of the weights. */
  sha256: string;
  /** Codebooks of the codes. */
  n_q: number;
  card: number;
  sample_rate: number;
  channels: number;
  frame_rate: number;
  /** How two channels share the codes: "none", "codebooks", "timesteps". */
  stereo: string;
}

export interface CacheHeader {
  format: 1;
  /** "files": whole audio files; "updates": the batches of a run's updates. */
  kind: "files" | "updates";
  codec: CodecIdentity;
  /** Of files: which crops can be had. Longer padding than these need is not there. */
  crops?: { segment_duration: number; min_segment_ratio: number };
}

const NAME = "cache.json";

/** @throws UserError when there is no cache in the folder */
export function readHeader(folder: string): CacheHeader {
  const file = join(folder, NAME);
  if (!existsSync(file)) {
    throw new UserError(
      `cache.path=${folder} holds no token cache (there is no ${file}). Make one with ` +
        `npm run cache -- cache.path=${folder}, or while training with cache.write=true`,
    );
  }
  let header: CacheHeader;
  try {
    header = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw new UserError(`${file} is damaged: ${(error as Error).message}`);
  }
  if (header.format !== 1)
    throw new UserError(`${file}: format ${header.format} is not known; this program reads format 1`);
  return header;
}

/** Makes the folder a cache, or checks that what is to be added to it is like what it has. @throws UserError */
export async function openHeader(folder: string, wanted: CacheHeader): Promise<CacheHeader> {
  const file = join(folder, NAME);
  if (existsSync(file)) {
    const header = readHeader(folder);
    const differences = [
      ...(header.kind === wanted.kind ? [] : [`it holds ${header.kind}, not ${wanted.kind}`]),
      ...codecDifferences(header.codec, wanted.codec),
      ...cropDifferences(header.crops, wanted.crops),
    ];
    if (differences.length === 0) return header;
    throw new UserError(
      `the cache ${folder} was made with other settings: ${differences.join("; ")}. Use another cache.path`,
    );
  }
  const text = Buffer.from(`${JSON.stringify(wanted, null, 2)}\n`);
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw writeError(folder, text.length, error as NodeJS.ErrnoException);
  }
  await writeFileAtomically(file, text.length, (to) => to.append(text));
  return wanted;
}

/** What differs, as text: "sample_rate 16000, not 32000". Codecs of the same weights are the same, whatever they are called. */
export function codecDifferences(has: CodecIdentity, wanted: Partial<CodecIdentity>): string[] {
  const same = wanted.sha256 !== undefined && wanted.sha256 === has.sha256;
  return Object.entries(wanted).flatMap(([key, value]) => {
    const found = has[key as keyof CodecIdentity];
    if (found === value || (same && key === "name")) return [];
    if (key === "sha256") return [`its codec has other weights (SHA-256 ${found}, not ${value})`];
    return [`it has ${key} ${found}, not ${value}`];
  });
}

/** Files are coded with as much silence after them as the crops need. */
export function cropDifferences(has: CacheHeader["crops"], wanted: CacheHeader["crops"]): string[] {
  if (!has || !wanted) return [];
  const silence = (crops: typeof has) => crops.segment_duration * (1 - crops.min_segment_ratio);
  if (wanted.segment_duration > has.segment_duration + 1e-9)
    return [`it serves segments up to ${has.segment_duration} s, not of ${wanted.segment_duration} s`];
  if (silence(wanted) > silence(has) + 1e-9)
    return [
      `it serves segments that end up to ${silence(has)} s behind their file, not ${silence(wanted)} s ` +
        `(segment_duration * (1 - min_segment_ratio))`,
    ];
  return [];
}
