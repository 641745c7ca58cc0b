/**
 * Matrices in fewer bits, for generation, whose steps take as long as the weights take to read: as bfloat16, or as int8 with a
 * scale for each row, the row's largest value / 127. All else stays float32.
 */
import { attr, hasKernels, runKernel, runOp, type Tensor, tf, Variable } from "../runtime/index.ts";
import type { WeightType } from "./weight_types.ts";

export class CompressedWeight {
  readonly shape: readonly [rows: number, columns: number];
  readonly type: "bfloat16" | "int8";
  private readonly numbers: Variable;
  /** [rows] */
  private readonly scales: Variable | null;

  /** `weight` gives a tensor [N, K]. */
  constructor(shape: readonly [number, number], weight: () => Tensor, type: "bfloat16" | "int8") {
    this.shape = shape;
    this.type = type;
    if (type === "bfloat16") {
      this.numbers = new Variable([...shape], () => cast(weight(), "float32", type), type);
      this.scales = null;
    } else {
      const scales = new Variable([shape[0]], () => rowScales(weight()));
      const whole = () => tf.round(tf.div(weight(), scales.value.expandDims(1))) as Tensor;
      this.numbers = new Variable([...shape], () => cast(whole(), "float32", type), type);
      this.scales = scales;
    }
    // now, as the weight may be freed
    for (const variable of [this.scales, this.numbers]) variable?.handle;
  }

  /** float32 [N, K] */
  get value(): Tensor {
    const values = cast(this.numbers.value, this.type, "float32");
    return this.scales ? tf.mul(values, this.scales.value.expandDims(1)) : values;
  }

  /** x W^T + b with the `count` rows of the weight from `from` on: x [..., K], bias [count] -> [..., count]. Without gradient. */
  linear(x: Tensor, bias: Tensor | null, from = 0, count = this.shape[0]): Tensor {
    const columns = this.shape[1];
    const part = (tensor: Tensor, type: "bfloat16" | "int8" | "float32", shape: number[]) =>
      count === this.shape[0] ? tensor : rowsOf(tensor, type, from, [count, ...shape.slice(1)]);
    const numbers = part(this.numbers.value, this.type, [...this.shape]);
    const scales = this.scales && part(this.scales.value, "float32", [this.shape[0]]);
    if (!hasKernels()) {
      const product = tf.matMul(
        x.reshape([-1, columns]),
        cast(numbers, this.type, "float32") as never,
        false,
        true,
      );
      const scaled = scales ? tf.mul(product, scales) : product;
      const y = scaled.reshape([...x.shape.slice(0, -1), count]);
      return bias ? tf.add(y, bias) : y;
    }
    const attrs = {
      T: attr.type(this.type),
      S: attr.int(scales ? 1 : 0),
      B: attr.int(bias ? 1 : 0),
      round_to_bfloat16: false,
    };
    const inputs = [x, numbers, ...(scales ? [scales] : []), ...(bias ? [bias] : [])];
    return runKernel("MgLinear", inputs, attrs, [[...x.shape.slice(0, -1), count]])[0];
  }

  dispose(): void {
    this.numbers.dispose();
    this.scales?.dispose();
  }
}

function rowScales(weight: Tensor): Tensor {
  return tf.maximum(tf.div(tf.max(tf.abs(weight), 1), 127), 1e-30) as Tensor;
}

function cast(x: Tensor, from: WeightType, to: WeightType): Tensor {
  return runOp("Cast", [x], { SrcT: attr.type(from), DstT: attr.type(to) })[0];
}

/** `shape[0]` rows from `from` on. (TensorFlow's Slice of whole rows copies nothing.) */
function rowsOf(x: Tensor, type: WeightType, from: number, shape: number[]): Tensor {
  const begin = tf.tensor1d([from, ...shape.slice(1).fill(0)], "int32");
  return runOp("Slice", [x, begin, tf.tensor1d(shape, "int32")], {
    T: attr.type(type),
    Index: attr.type("int32"),
  })[0];
}
