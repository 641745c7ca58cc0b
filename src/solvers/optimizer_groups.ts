/** Which parameters share a rate and a weight decay. */
import type { MusicGenLM } from "../models/lm/lm.ts";
import type { Parameter } from "../nn/index.ts";
import type { Groups } from "../optim/index.ts";

/**
 * The optimizer's groups: parameters that share a rate and a weight decay (`transformer_lm.emb_lr`, `lr`, `weight_decay`), the
 * model's others first; and the rate of each.
 */
export function optimizerGroups(
  lm: MusicGenLM,
  trainable: [string, Parameter][],
  lr: number,
  weightDecay: number,
): { groups: Groups; rates: number[] } {
  const settings: { lr: number; weightDecay: number }[] = [];
  const groupOf = new Map<string, number>();
  for (const group of lm.parameterGroups()) {
    const own = { lr: group.lr ?? lr, weightDecay: group.weightDecay ?? weightDecay };
    const same = (other: typeof own) => other.lr === own.lr && other.weightDecay === own.weightDecay;
    if (!settings.some(same)) settings.push(own);
    for (const [name] of group.parameters) groupOf.set(name, settings.findIndex(same));
  }
  return {
    groups: {
      of: trainable.map(([name]) => groupOf.get(name)!),
      weightDecays: settings.map((setting) => setting.weightDecay),
    },
    rates: settings.map((setting) => setting.lr),
  };
}
