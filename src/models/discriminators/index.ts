/** Discriminators, for the adversarial training of the codec. */
export { buildDiscriminator } from "./build.ts";
export { Discriminator, SubDiscriminator, type Verdict } from "./discriminator.ts";
