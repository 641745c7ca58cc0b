/** The activations of feed-forward layers, plain and gated (GLU variants, Shazeer 2020, arXiv 2002.05202). */
import { UserError } from "../../errors.ts";
import { gelu } from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";

export interface Activation {
  apply(x: Tensor): Tensor;
  /** How many values go in for one that comes out. */
  width: 1 | 2;
}

const relu = (x: Tensor): Tensor => tf.relu(x);
const silu = (x: Tensor): Tensor => tf.mul(x, tf.sigmoid(x));

const activations: Record<string, Activation> = {
  relu: { apply: relu, width: 1 },
  gelu: { apply: gelu, width: 1 },
  reglu: { apply: gated(relu), width: 2 },
  geglu: { apply: gated(gelu), width: 2 },
  swiglu: { apply: gated(silu), width: 2 },
};

/** @throws UserError for a name that is not an activation's */
export function activationOf(name: string): Activation {
  if (Object.hasOwn(activations, name)) return activations[name];
  throw new UserError(
    `transformer_lm.activation=${name} is unknown; use ${Object.keys(activations).join(", ")}`,
  );
}

/** [..., 2 N] -> [..., N]: the first half times f of the second. */
function gated(f: (x: Tensor) => Tensor): (x: Tensor) => Tensor {
  return (x) => {
    const [a, b] = tf.split(x, 2, -1);
    return tf.mul(a, f(b));
  };
}
