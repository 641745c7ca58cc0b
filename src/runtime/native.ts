/** Typed view of the two native addons: tfjs-node-gpu's binding, and ours, which records graphs (native/addon.cc). */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { UserError } from "../errors.ts";

export type TypedArray = Float32Array | Int32Array | Uint8Array;

/** TensorFlow's numbers for data types (types.proto). */
export const DataType = {
  float: 1,
  int32: 3,
  uint8: 4,
  int8: 6,
  string: 7,
  int64: 9,
  bool: 10,
  bfloat16: 14,
  half: 19,
  resource: 20,
} as const;

/** TensorFlow's numbers for attribute kinds (tf_attrtype.h). */
export const AttrType = { string: 0, int: 1, float: 2, bool: 3, type: 4, shape: 5, func: 8 } as const;

export interface OpAttr {
  name: string;
  type: number;
  value: unknown;
}

export interface TensorMetadata {
  id: number;
  shape: number[];
  dtype: number;
}

/** The part of tfjs-node's binding that tfjs and we call. */
export interface Binding {
  createTensor(shape: number[], dtype: number, values: TypedArray): number;
  deleteTensor(id: number): void;
  tensorDataSync(id: number): TypedArray;
  executeOp(name: string, attrs: OpAttr[], inputs: number[], outputs: number): TensorMetadata[];
  /** Of a recorder: the shapes of the next op's outputs, which TensorFlow cannot infer. */
  declareShapes?(shapes: number[][]): void;
  getNumOfTensors(): number;
  isUsingGpuDevice(): boolean;
}

/** A graph under construction; ids are indexes of its tensors. */
export interface NativeGraph {
  placeholder(name: string, dtype: number, shape: number[] | null): number;
  constant(dtype: number, shape: number[], values: TypedArray): number;
  addOp(
    type: string,
    name: string,
    attrs: OpAttr[],
    inputs: number[],
    controls: number[],
  ): { id: number; dtype: number; shape: number[] | null }[];
  setShape(id: number, shape: number[]): void;
  registerFunction(name: string, inputs: number[], outputs: number[], controls: number[], xla: boolean): void;
  graphDef(): Buffer;
  dispose(): void;
}

export interface NativeAddon {
  Graph: new () => NativeGraph;
  configure(configProto: Uint8Array): void;
  removeFunction(name: string): void;
  /** Threads that work on one of our own ops (native/kernels); 0 takes one per core. Before the first op runs. */
  setThreads(count: number): void;
  /** What the processor offers, named as in /proc/cpuinfo ("avx2", "avx512_bf16"), and its maker ("intel", "amd"). */
  processorFeatures(): string[];
  /** Bytes: of allocations that get memory of their own, and of free memory that goes back to the system. */
  setMallocThresholds(own: number, trim: number): void;
  /** Records everything that TensorFlow does from now on; takes a serialized tensorflow.ProfileOptions. */
  startProfiler(options: Uint8Array): void;
  /** The serialized XSpace of what was recorded. */
  stopProfiler(): Buffer;
  tensorflowVersion: string;
}

/** What set-up wrote about the libraries that it built. */
export interface NativeInstallation {
  native: string;
  tensorflow: string;
  tensorflowVersion: string;
  variant: "cpu" | "gpu";
  cache: string;
}

const require = createRequire(import.meta.url);

/** Reads set-up's record; throws a UserError when set-up has not run. */
export function nativeInstallation(): NativeInstallation {
  const record = new URL("../../node_modules/.musicgen/native.json", import.meta.url);
  if (!existsSync(record)) throw new UserError("TensorFlow is not set up: run `npm run setup` first.");
  return JSON.parse(readFileSync(record, "utf8")) as NativeInstallation;
}

/** Loads our addon, and with it TensorFlow's libraries. */
export function loadNativeAddon(): NativeAddon {
  const { native } = nativeInstallation();
  try {
    return require(native) as NativeAddon;
  } catch (error) {
    throw new UserError(
      `cannot load TensorFlow (${(error as Error).message.split("\n")[0]}): run \`npm run setup -- --force\` to rebuild it.`,
    );
  }
}
