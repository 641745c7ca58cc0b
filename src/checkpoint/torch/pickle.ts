/**
 * A machine for Python's pickle format that makes data and nothing else. The few names that a pickle may mention are decided
 * by a `PickleWorld`; no code is looked up, none is run. Time and memory are bounded by the length of the pickle and by the limits here.
 */
import { UserError } from "../../errors.ts";
import { OPCODES } from "./pickle_opcodes.ts";
import { isDict, PyGlobal, setKey } from "./pickle_values.ts";

/** The text of one pickle. Those of large models have well below 1 MB. */
export const MAX_PICKLE_BYTES = 64 << 20;
const MAX_STEPS = 4_000_000;
const MAX_OBJECTS = 500_000;
const MAX_NESTED_MARKS = 10_000;

/** What a pickle may mention, call and make. Each throws UserError to refuse. */
export interface PickleWorld {
  global(id: string): PyGlobal;
  /** A call of a class or function. */
  call(callee: PyGlobal, args: unknown[]): unknown;
  /** Sets the state of what `call` made. */
  build(target: unknown, state: unknown): void;
  /** What lies outside of the pickle: in PyTorch files, storages. */
  persistent(id: unknown): unknown;
}

/**
 * Reads the pickle that begins at `start`.
 * @returns its value, and where it ends
 * @throws UserError with the reason and the position
 */
export function unpickle(bytes: Buffer, start: number, world: PickleWorld): { value: unknown; end: number } {
  const machine = new Machine(bytes, start, world);
  try {
    return { value: machine.run(), end: machine.position };
  } catch (error) {
    const { opcodeAt } = machine;
    if (error instanceof UserError) throw new UserError(`${error.message} (byte ${opcodeAt} of the pickle)`);
    throw error;
  }
}

/** A stack of values, and the store of those that are met again. */
export class Machine {
  position: number;
  opcodeAt: number;
  private readonly bytes: Buffer;
  private readonly world: PickleWorld;
  private readonly stack: unknown[] = [];
  /** The heights of the stack at which MARKs were set. */
  private readonly marks: number[] = [];
  private readonly memo = new Map<number, unknown>();
  private objects = 0;

  constructor(bytes: Buffer, start: number, world: PickleWorld) {
    this.bytes = bytes;
    this.position = start;
    this.opcodeAt = start;
    this.world = world;
  }

  run(): unknown {
    for (let step = 0; step < MAX_STEPS; step++) {
      this.opcodeAt = this.position;
      const opcode = this.take(1)[0];
      if (opcode === 0x2e) {
        if (this.stack.length !== 1 || this.marks.length > 0) throw new UserError("a pickle ends half-way");
        return this.pop();
      }
      const run = OPCODES[opcode];
      if (run === undefined)
        throw new UserError(`a pickle has the opcode 0x${opcode.toString(16)}, which is not accepted`);
      run(this);
    }
    throw new UserError(`a pickle has more than ${MAX_STEPS} steps`);
  }

  take(length: number): Buffer {
    if (length > this.bytes.length - this.position) {
      throw new UserError(`a pickle is cut short, or claims ${length} bytes that it does not have`);
    }
    this.position += length;
    return this.bytes.subarray(this.position - length, this.position);
  }

  line(): string {
    const end = this.bytes.indexOf(10, this.position);
    if (end < 0 || end - this.position > 1000) throw new UserError("a pickle has a line without an end");
    const text = this.bytes.toString("utf8", this.position, end);
    this.position = end + 1;
    return text;
  }

  /** A length of 1, 4 or 8 bytes and what has that length. */
  sized(width: 1 | 4 | 8): Buffer {
    return this.take(this.unsigned(width));
  }

  unsigned(width: 1 | 2 | 4 | 8): number {
    const bytes = this.take(width);
    return width === 8 ? Number(bytes.readBigUInt64LE(0)) : bytes.readUIntLE(0, width);
  }

  text(width: 1 | 4 | 8): string {
    const bytes = this.sized(width);
    // lone surrogates, which Python lets pass, become replacement characters
    return bytes.toString("utf8");
  }

  push(value: unknown): void {
    this.stack.push(value);
  }

  pop(): unknown {
    if (this.stack.length <= (this.marks.at(-1) ?? 0))
      throw new UserError("a pickle takes more than it has made");
    return this.stack.pop();
  }

  top(): unknown {
    const value = this.pop();
    this.stack.push(value);
    return value;
  }

  mark(): void {
    if (this.marks.length >= MAX_NESTED_MARKS) throw new UserError("a pickle nests too deeply");
    this.marks.push(this.stack.length);
  }

  /** All above the last mark. */
  popMark(): unknown[] {
    const height = this.marks.pop();
    if (height === undefined) throw new UserError("a pickle takes a mark that it has not set");
    return this.stack.splice(height);
  }

  /** Pushes something newly made that takes memory of its own. */
  make(value: unknown): void {
    if (++this.objects > MAX_OBJECTS) throw new UserError(`a pickle makes more than ${MAX_OBJECTS} objects`);
    this.stack.push(value);
  }

  popMany(count: number): unknown[] {
    const values = Array.from({ length: count }, () => this.pop());
    return values.reverse();
  }

  remember(key: number): void {
    this.memo.set(key, this.top());
  }

  memoize(): void {
    this.remember(this.memo.size);
  }

  recall(key: number): void {
    if (!this.memo.has(key))
      throw new UserError(`a pickle recalls the value ${key}, which it has not stored`);
    this.push(this.memo.get(key));
  }

  append(values: unknown[]): void {
    const list = this.top();
    if (!Array.isArray(list)) throw new UserError("a pickle appends to something that is no list");
    for (const value of values) list.push(value);
  }

  setItems(pairs: unknown[]): void {
    const dict = this.top();
    if (!isDict(dict) || pairs.length % 2 !== 0)
      throw new UserError("a pickle sets items of something that is no dict");
    for (let i = 0; i < pairs.length; i += 2) setKey(dict, pairs[i], pairs[i + 1]);
  }

  global(module: unknown, name: unknown): PyGlobal {
    if (typeof module !== "string" || typeof name !== "string")
      throw new UserError("a pickle names a global without text");
    return this.world.global(`${module}.${name}`);
  }

  call(callee: unknown, args: unknown): void {
    if (!(callee instanceof PyGlobal) || !Array.isArray(args)) {
      throw new UserError("a pickle calls something that is not a class or function");
    }
    this.make(this.world.call(callee, args));
  }

  build(): void {
    const state = this.pop();
    this.world.build(this.top(), state);
  }

  persistent(id: unknown): void {
    this.make(this.world.persistent(id));
  }
}
