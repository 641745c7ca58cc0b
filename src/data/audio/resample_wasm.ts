/**
 * The inner loops of resampling as a WebAssembly module with 128-bit vectors, assembled here byte by byte (WebAssembly core
 * specification 2.0, chapter 5): JavaScript has no vectors, and this is most of the work of reading audio.
 *
 * For each block of 4 frames, and each phase of the kernel, 4 sums of products, `old` samples apart:
 *   out[4 block + k][phase] = sum over taps of weights[phase][tap] * x[(4 block + k) old + first[phase] + tap]
 * The 4 lanes of a sum take every fourth tap and are added at the end: lane 0 + lane 2, plus lane 1 + lane 3.
 */

/** Taps of a kernel row are padded with zeros to a multiple of this. */
export const TAP_MULTIPLE = 8;
/** Frames that are computed together. */
export const FRAMES_PER_BLOCK = 4;

/** What is used here of the WebAssembly interface, whose types come with browsers only. */
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object) => { exports: object };
};

export interface ResampleModule {
  memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  /** Pointers and sizes are in bytes: `first` points to int32 offsets, `old` is the step between frames of x. */
  run(
    x: number,
    weights: number,
    first: number,
    out: number,
    blocks: number,
    phases: number,
    rowBytes: number,
    old: number,
  ): void;
}

/** A module of its own memory (one page); one per thread is enough, as it keeps nothing between runs. */
export function instantiate(): ResampleModule {
  return new WebAssembly.Instance(new WebAssembly.Module(assemble())).exports as ResampleModule;
}

// Parameters, then local variables.
const [X, WEIGHTS, FIRST, OUT, BLOCKS, PHASES, ROW, OLD] = [0, 1, 2, 3, 4, 5, 6, 7];
const [W, END, F, PHASE, O] = [8, 9, 10, 11, 12];
const POINTERS = [13, 14, 15, 16];
const WEIGHT = 17;
const SUMS = [18, 19, 20, 21];
const I32 = 0x7f;
const V128 = 0x7b;

const get = (local: number) => [0x20, local];
const set = (local: number) => [0x21, local];
const constant = (value: number) => [0x41, ...signed(value)];
const ADD = [0x6a];
const MULTIPLY = [0x6c];
const BELOW = [0x49];
/** loop: `body` leaves whether to go on. */
const loop = (...body: number[][]) => [0x03, 0x40, ...body.flat(), 0x0d, 0, 0x0b];
const increase = (local: number, ...by: number[][]) => [...get(local), ...by.flat(), ...ADD, ...set(local)];
const vector = (opcode: number) => [0xfd, ...unsigned(opcode)];
const VECTOR_ADD = vector(228);
const VECTOR_MULTIPLY = vector(230);
const loadInt = [0x28, 2, 0];
const loadVector = (offset: number) => [...vector(0), 2, ...unsigned(offset)];
const ZERO_VECTOR = [...vector(12), ...new Array(16).fill(0)];
/** Lanes of two vectors: 0 to 3 of the first, 4 to 7 of the second. */
const shuffle = (...lanes: number[]) => [
  ...vector(13),
  ...lanes.flatMap((lane) => [4 * lane, 4 * lane + 1, 4 * lane + 2, 4 * lane + 3]),
];
const storeLane = (lane: number) => [...vector(90), 2, 0, lane];

function body(): number[] {
  const multiplyAdd = (offset: number) => [
    ...get(W),
    ...loadVector(offset),
    ...set(WEIGHT),
    ...SUMS.flatMap((sum, k) => [
      ...get(sum),
      ...get(POINTERS[k]),
      ...loadVector(offset),
      ...get(WEIGHT),
      ...VECTOR_MULTIPLY,
      ...VECTOR_ADD,
      ...set(sum),
    ]),
  ];
  /** Two vectors of sums -> one whose lanes 0 and 2, and 1 and 3, add up to them. */
  const halve = (a: number, b: number) => [
    ...get(a),
    ...get(b),
    ...shuffle(0, 4, 1, 5),
    ...get(a),
    ...get(b),
    ...shuffle(2, 6, 3, 7),
    ...VECTOR_ADD,
  ];
  const taps = loop(
    multiplyAdd(0),
    multiplyAdd(16),
    POINTERS.flatMap((pointer) => increase(pointer, constant(32))),
    increase(W, constant(32)),
    [...get(W), ...get(END), ...BELOW],
  );
  const phases = loop(
    [...get(X), ...get(F), ...loadInt, ...ADD, ...set(POINTERS[0])],
    [1, 2, 3].flatMap((k) => [...get(POINTERS[k - 1]), ...get(OLD), ...ADD, ...set(POINTERS[k])]),
    SUMS.flatMap((sum) => [...ZERO_VECTOR, ...set(sum)]),
    [...get(W), ...get(ROW), ...ADD, ...set(END)],
    taps,
    [...halve(SUMS[0], SUMS[1]), ...set(SUMS[0]), ...halve(SUMS[2], SUMS[3]), ...set(SUMS[2])],
    [...get(SUMS[0]), ...get(SUMS[2]), ...shuffle(0, 1, 4, 5)],
    [...get(SUMS[0]), ...get(SUMS[2]), ...shuffle(2, 3, 6, 7), ...VECTOR_ADD, ...set(SUMS[0])],
    [...get(OUT), ...get(PHASE), ...ADD, ...set(O)],
    [0, 1, 2, 3].flatMap((k) => [
      ...get(O),
      ...get(SUMS[0]),
      ...storeLane(k),
      ...increase(O, get(PHASES), constant(4), MULTIPLY),
    ]),
    increase(F, constant(4)),
    increase(PHASE, constant(4)),
    [...get(PHASE), ...get(PHASES), ...constant(4), ...MULTIPLY, ...BELOW],
  );
  return loop(
    [...get(WEIGHTS), ...set(W), ...get(FIRST), ...set(F), ...constant(0), ...set(PHASE)],
    phases,
    increase(X, get(OLD), constant(FRAMES_PER_BLOCK), MULTIPLY),
    increase(OUT, get(PHASES), constant(4 * FRAMES_PER_BLOCK), MULTIPLY),
    increase(BLOCKS, constant(-1)),
    get(BLOCKS),
  );
}

function assemble(): Uint8Array<ArrayBuffer> {
  const section = (id: number, content: number[]) => [id, ...unsigned(content.length), ...content];
  const name = (text: string) => [text.length, ...Buffer.from(text, "latin1")];
  const locals = [2, POINTERS[3] - W + 1, I32, 1 + SUMS.length, V128];
  const code = [...locals, ...body(), 0x0b];
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 8, ...new Array(8).fill(I32), 0]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, 1]),
    ...section(7, [2, ...name("run"), 0, 0, ...name("memory"), 2, 0]),
    ...section(10, [1, ...unsigned(code.length), ...code]),
  ]);
}

/** LEB128. */
function unsigned(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >> 7)];
}

function signed(value: number): number[] {
  return value >= -64 && value < 64 ? [value & 127] : [(value & 127) | 128, ...signed(value >> 7)];
}
