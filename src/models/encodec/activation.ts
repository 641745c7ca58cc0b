/** Activations by PyTorch's class names, with its parameters and defaults. */
import { UserError } from "../../errors.ts";
import { constant, gelu, Parameter } from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import { Layer, type LayerStream, stateless } from "./layer.ts";

/** `activation_params` of a config. */
export type ActivationParams = Record<string, unknown>;

type Formula = (x: Tensor, params: Record<string, number>) => Tensor;

/** Numeric parameters with their defaults, and the formula. */
const activations: Record<string, [defaults: Record<string, number>, Formula]> = {
  ELU: [{ alpha: 1 }, (x, { alpha }) => (alpha === 1 ? tf.elu(x) : scaledElu(x, alpha, 1))],
  CELU: [{ alpha: 1 }, (x, { alpha }) => scaledElu(x, alpha, 1 / alpha)],
  SELU: [{}, (x) => tf.selu(x)],
  ReLU: [{}, (x) => tf.relu(x)],
  ReLU6: [{}, (x) => tf.clipByValue(x, 0, 6)],
  LeakyReLU: [
    { negative_slope: 0.01 },
    (x, { negative_slope }) => tf.add(tf.relu(x), tf.mul(tf.minimum(x, 0), negative_slope)),
  ],
  GELU: [{}, (x) => gelu(x)],
  SiLU: [{}, (x) => tf.mul(x, tf.sigmoid(x))],
  Mish: [{}, (x) => tf.mul(x, tf.tanh(tf.softplus(x)))],
  Softplus: [{ beta: 1 }, (x, { beta }) => tf.div(tf.softplus(tf.mul(x, beta)), beta)],
  Softsign: [{}, (x) => tf.div(x, tf.add(tf.abs(x), 1))],
  Tanh: [{}, (x) => tf.tanh(x)],
  Sigmoid: [{}, (x) => tf.sigmoid(x)],
  LogSigmoid: [{}, (x) => tf.neg(tf.softplus(tf.neg(x)))],
  Hardtanh: [{ min_val: -1, max_val: 1 }, (x, { min_val, max_val }) => tf.clipByValue(x, min_val, max_val)],
  Hardsigmoid: [{}, (x) => tf.div(tf.clipByValue(tf.add(x, 3), 0, 6), 6)],
  Hardswish: [{}, (x) => tf.mul(x, tf.div(tf.clipByValue(tf.add(x, 3), 0, 6), 6))],
  Tanhshrink: [{}, (x) => tf.sub(x, tf.tanh(x))],
  Softshrink: [
    { lambd: 0.5 },
    (x, { lambd }) => tf.sub(tf.relu(tf.sub(x, lambd)), tf.relu(tf.neg(tf.add(x, lambd)))),
  ],
  Identity: [{}, (x) => x],
};

/** max(0, x) + scale (exp(rate min(0, x)) - 1) */
function scaledElu(x: Tensor, scale: number, rate: number): Tensor {
  return tf.add(tf.relu(x), tf.mul(tf.expm1(tf.mul(tf.minimum(x, 0), rate)), scale));
}

/** 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) */
function tanhGelu(x: Tensor): Tensor {
  const inner = tf.mul(tf.add(x, tf.mul(tf.mul(tf.square(x), x), 0.044715)), Math.sqrt(2 / Math.PI));
  return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(inner), 1));
}

/** The layer of an activation. @throws UserError for a name or a parameter that is unknown */
export function buildActivation(name: string, params: ActivationParams = {}): Layer {
  const { inplace: _, ...given } = params;
  if (name === "PReLU") return new PReLU(numbers(name, given, { num_parameters: 1, init: 0.25 }));
  if (name === "GELU" && given.approximate === "tanh") return new Activation(tanhGelu);
  if (name === "GELU" && given.approximate === "none") return new Activation(gelu);
  if (!Object.hasOwn(activations, name)) {
    const known = [...Object.keys(activations), "PReLU"].join(", ");
    throw new UserError(`seanet activation=${name} is not built: use one of ${known}.`);
  }
  const [defaults, formula] = activations[name];
  const values = numbers(name, given, defaults);
  return new Activation((x) => formula(x, values), name === "ELU" && values.alpha === 1);
}

function numbers<D extends Record<string, number>>(name: string, given: ActivationParams, defaults: D): D {
  for (const [key, value] of Object.entries(given)) {
    if (!Object.hasOwn(defaults, key)) {
      throw new UserError(
        `seanet activation ${name} has no parameter ${key}: take it out (~seanet.activation_params.${key}).`,
      );
    }
    if (typeof value !== "number") {
      throw new UserError(
        `seanet activation ${name}: ${key} must be a number, not ${JSON.stringify(value)}.`,
      );
    }
  }
  return { ...defaults, ...given };
}

class Activation extends Layer {
  private readonly formula: (x: Tensor) => Tensor;
  private readonly elu: boolean;

  constructor(formula: (x: Tensor) => Tensor, elu = false) {
    super();
    this.formula = formula;
    this.elu = elu;
  }

  override get isElu(): boolean {
    return this.elu;
  }

  forward(x: Tensor): Tensor {
    return this.formula(x);
  }

  stream(): LayerStream {
    return stateless(this.formula);
  }
}

/** max(0, x) + weight min(0, x), the weight learnt, one for all channels or one each. */
class PReLU extends Layer {
  readonly weight: Parameter;

  constructor({ num_parameters, init }: { num_parameters: number; init: number }) {
    super();
    this.weight = new Parameter([num_parameters], constant(init));
  }

  forward(x: Tensor): Tensor {
    return tf.add(tf.relu(x), tf.mul(tf.minimum(x, 0), this.weight.value));
  }

  stream(): LayerStream {
    return stateless((x) => this.forward(x));
  }
}
