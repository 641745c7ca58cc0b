/** What the discriminators have in common: several parts, each of which looks at the wave in another way. */
import { Module } from "../../nn/index.ts";
import type { Tensor } from "../../runtime/index.ts";
import { SpectralNormKernel } from "../encodec/conv_norm.ts";

/** What one part answers: how real it finds each place, and what its layers saw on the way. Channels are the last axis. */
export interface Verdict {
  logits: Tensor;
  featureMaps: Tensor[];
}

export abstract class SubDiscriminator extends Module {
  /** wav [B, C, T] */
  abstract forward(wav: Tensor): Verdict;
}

export abstract class Discriminator extends Module {
  abstract readonly discriminators: SubDiscriminator[];

  /** wav [B, C, T] -> a verdict of each part */
  forward(wav: Tensor): Verdict[] {
    return this.discriminators.map((part) => part.forward(wav));
  }

  /** One power iteration of every spectral norm, due before each forward pass in training. */
  iterateSpectralNorms(): void {
    for (const kernel of spectralKernels(this)) kernel.iterate();
  }
}

function spectralKernels(part: unknown): SpectralNormKernel[] {
  if (part instanceof SpectralNormKernel) return [part];
  if (part instanceof Module || Array.isArray(part)) return Object.values(part).flatMap(spectralKernels);
  return [];
}
