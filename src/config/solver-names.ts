/** Names that `solver` may have: those of this program, and AudioCraft's others, whose configs are here too. */

export const BUILT_SOLVERS = ["musicgen", "lm"] as const; // lm: musicgen's name in old configs

export const UNBUILT_SOLVERS = [
  "compression",
  "audiogen",
  "sound_lm",
  "magnet",
  "audio_magnet",
  "diffusion",
  "watermarking",
  "jasco",
];
