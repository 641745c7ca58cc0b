/** How the matrices of a model that generates are kept: as they were trained, or in fewer bits (compressed_weight.ts). */
export const WEIGHT_TYPES = ["float32", "bfloat16", "int8"] as const;
export type WeightType = (typeof WEIGHT_TYPES)[number];
