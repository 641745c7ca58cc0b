/** Models in ONNX files, run by the package onnxruntime-node, which is installed only by those who need it. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { UserError } from "../errors.ts";

/** The part of onnxruntime-node that is used here. */
interface OnnxRuntime {
  InferenceSession: { create(path: string, options: Record<string, unknown>): Promise<Session> };
  Tensor: new (type: "float32", data: Float32Array, dims: readonly number[]) => OnnxTensor;
}

interface OnnxTensor {
  readonly type: string;
  readonly data: ArrayLike<number>;
  readonly dims: readonly number[];
}

interface Session {
  readonly inputMetadata: readonly { name: string; type?: string; shape?: readonly (number | string)[] }[];
  readonly outputNames: readonly string[];
  run(feeds: Record<string, OnnxTensor>, fetches: readonly string[]): Promise<Record<string, OnnxTensor>>;
  release(): Promise<void>;
}

const PACKAGE = "onnxruntime-node";
const VERSION = "1.30.0";

/**
 * Finds the package in the project, or in a folder of NODE_PATH.
 * @throws UserError when it is not installed, saying how to
 */
export function requireOnnxRuntime(): OnnxRuntime {
  try {
    return createRequire(import.meta.url)(PACKAGE) as OnnxRuntime;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== "MODULE_NOT_FOUND") throw new UserError(`${PACKAGE} does not load: ${message}`);
    throw new UserError(
      `ONNX models need the package ${PACKAGE}, which is not installed: run ` +
        `ONNXRUNTIME_NODE_INSTALL=skip npm install --no-save ${PACKAGE}@${VERSION}`,
    );
  }
}

/** A model with one input of floats. */
export class OnnxModel {
  readonly path: string;
  /** The input's; names stand for sizes that are free. */
  readonly inputShape: readonly (number | string)[];
  private readonly runtime: OnnxRuntime;
  private readonly session: Session;
  private readonly output: string;

  /**
   * @param output name of the output that counts; null: the first
   * @throws UserError when the package or the file is missing, or the file's inputs and outputs are others
   */
  static async open(path: string, output: string | null = null): Promise<OnnxModel> {
    if (!existsSync(path)) throw new UserError(`${path}: no such file`);
    const runtime = requireOnnxRuntime();
    try {
      const session = await runtime.InferenceSession.create(path, { logSeverityLevel: 3 });
      return new OnnxModel(path, { runtime, session, output });
    } catch (error) {
      if (error instanceof UserError) throw error;
      throw new UserError(`${path} cannot be opened as an ONNX model: ${(error as Error).message}`);
    }
  }

  private constructor(
    path: string,
    { runtime, session, output }: { runtime: OnnxRuntime; session: Session; output: string | null },
  ) {
    const { inputMetadata: inputs, outputNames } = session;
    this.path = path;
    this.runtime = runtime;
    this.session = session;
    this.inputShape = inputs[0]?.shape ?? [];
    this.output = output ?? outputNames[0];
    if (inputs.length !== 1 || inputs[0].type !== "float32") {
      throw new UserError(`${path}: one input of float32 is needed; it takes ${this.describeInputs()}`);
    }
    if (!outputNames.includes(this.output)) {
      throw new UserError(`${path} has no output ${output}; it has ${outputNames.join(", ")}`);
    }
  }

  /** Its inputs, for messages. */
  describeInputs(): string {
    const { inputMetadata } = this.session;
    return inputMetadata.map(({ name, type, shape }) => `${name} ${type} [${shape}]`).join(", ");
  }

  /** Values of that shape -> the output's values and shape. @throws UserError for what the model cannot compute */
  async run(
    values: Float32Array,
    dims: readonly number[],
  ): Promise<{ values: Float32Array; shape: readonly number[] }> {
    const [{ name }] = this.session.inputMetadata;
    try {
      const feed = new this.runtime.Tensor("float32", values, dims);
      const outputs = await this.session.run({ [name]: feed }, [this.output]);
      const { data, dims: shape } = outputs[this.output];
      if (shape.length === 0) throw new Error(`its output ${this.output} is a single number`);
      return { values: Float32Array.from(data), shape };
    } catch (error) {
      throw new UserError(`${this.path}: input [${dims}]: ${(error as Error).message}`);
    }
  }

  dispose(): void {
    // what is running ends first; nobody waits for the memory
    void this.session.release();
  }
}
