/** A linear layer whose weights come from a file. */
import { InitializerStream, Linear, zeros } from "../../nn/index.ts";

const noDraws = new InitializerStream(0);

export function unset(from: number, to: number, bias = true): Linear {
  return new Linear(from, to, noDraws, { bias, weight: zeros, biasInit: zeros });
}
