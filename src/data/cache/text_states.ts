/** Hidden states of a frozen text encoder on disk, computed once for each distinct text. */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { writeError } from "../../checkpoint/atomic_file.ts";
import { arrayOf, type Dtype, encode, toFloat32 } from "../../checkpoint/dtypes.ts";
import { UserError } from "../../errors.ts";
import { FolderLock } from "../../xp/lock.ts";
import { type ShardEntry, ShardReader, ShardWriter, shardExists } from "./shard.ts";

/** float32 [length, dim], without padding. */
export interface TextStates {
  values: Float32Array;
  length: number;
  dim: number;
}

interface StatesEntry {
  shape: [number, number];
}

/** How states are stored; only float32 gives back what was computed, to the bit. */
export const STATES_DTYPES = { float32: "F32", float16: "F16", bfloat16: "BF16" } as const;
export type StatesDtype = keyof typeof STATES_DTYPES;

/** More processes than this at once cannot add to a cache. */
const MAX_WRITERS = 256;

/** Texts that others add meanwhile are not seen. */
export class TextStatesCache {
  private readonly model: string;
  private readonly dtype: Dtype;
  private readonly lock: FolderLock;
  private readonly writer: ShardWriter<StatesEntry>;
  private readonly own: ShardReader<StatesEntry>;
  private readonly others: ShardReader<StatesEntry>[] = [];
  private readonly found = new Map<
    string,
    { shard: ShardReader<StatesEntry>; entry: ShardEntry & StatesEntry }
  >();

  /** `model`: the SHA-256 of all that the states depend on besides the text. @throws UserError */
  constructor(folder: string, model: string, dtype: StatesDtype = "float32") {
    this.model = model;
    this.dtype = STATES_DTYPES[dtype];
    const base = join(folder, `${model.slice(0, 16)}-${dtype}`);
    try {
      mkdirSync(base, { recursive: true });
    } catch (error) {
      throw writeError(base, 0, error as NodeJS.ErrnoException);
    }
    const { lock, own } = takeJob(base, folder);
    this.lock = lock;
    const mine = join(own, "texts");
    this.writer = new ShardWriter<StatesEntry>(mine);
    this.own = this.index(new ShardReader<StatesEntry>(mine));
    const paths = readdirSync(base).map((job) => join(base, job, "texts"));
    for (const path of paths.filter((other) => other !== mine && shardExists(other)))
      this.others.push(this.index(new ShardReader<StatesEntry>(path)));
  }

  has(text: string): boolean {
    return this.found.has(this.key(text));
  }

  /** The states of a text that is there. @throws DamagedRecordError */
  get(text: string): TextStates {
    const found = this.found.get(this.key(text));
    if (!found) throw new Error(`there are no states of this text: ${text}`);
    const { shard, entry } = found;
    return this.decode(shard.read(entry), entry);
  }

  /** Keeps the states of texts that are not there. @throws UserError when the system refuses */
  add(states: ReadonlyMap<string, TextStates>): void {
    const records = [...states].map(([text, { values, length, dim }]) => ({
      key: this.key(text),
      bytes: encode(this.dtype, values),
      entry: { shape: [length, dim] } as StatesEntry,
    }));
    for (const entry of this.writer.append(records)) this.found.set(entry.key, { shard: this.own, entry });
  }

  close(): void {
    this.writer.close();
    for (const shard of [this.own, ...this.others]) shard.close();
    this.lock.release();
  }

  private key(text: string): string {
    return createHash("sha256").update(`${this.model}\n`).update(text).digest("hex");
  }

  private index(shard: ShardReader<StatesEntry>): ShardReader<StatesEntry> {
    for (const entry of shard.entries) this.found.set(entry.key, { shard, entry });
    return shard;
  }

  private decode(bytes: Uint8Array<ArrayBuffer>, { shape: [length, dim] }: StatesEntry): TextStates {
    return { values: toFloat32(this.dtype, arrayOf(this.dtype, bytes.buffer))!, length, dim };
  }
}

/** The first folder that no living process writes to. */
function takeJob(base: string, folder: string): { lock: FolderLock; own: string } {
  for (let number = 0; number < MAX_WRITERS; number++) {
    const own = join(base, `job-${number}`);
    mkdirSync(own, { recursive: true });
    if (FolderLock.holder(own)) continue;
    try {
      return { lock: FolderLock.take(own, `cache.text_path=${folder}`), own };
    } catch (error) {
      // taken since it was looked at
      if (!(error instanceof UserError) || !FolderLock.holder(own)) throw error;
    }
  }
  throw new UserError(`cache.text_path=${folder}: ${MAX_WRITERS} processes are writing to it already`);
}
