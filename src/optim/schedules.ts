/**
 * Learning-rate schedules as pure functions of the number of updates made so far (AudioCraft's, stepped once per update).
 * `schedule(0)` is the rate of the first update.
 */
import { UserError } from "../errors.ts";

export type Schedule = (updatesDone: number) => number;

/** The `schedule` section of a config: the name of a schedule and one section of options for each. */
export interface ScheduleConfig {
  lr_scheduler: string | null;
  step?: { step_size: number | null; gamma: number | null };
  exponential?: { lr_decay: number | null };
  cosine?: { warmup: number | null; lr_min_ratio: number; cycle_length: number };
  polynomial_decay?: { warmup: number | null; zero_lr_warmup_steps: number; end_lr: number; power: number };
  inverse_sqrt?: { warmup: number | null; warmup_init_lr: number | null };
  linear_warmup?: { warmup: number | null; warmup_init_lr: number | null };
}

/** Builds `schedule.lr_scheduler` for a run of `totalUpdates`, with `lr` as its peak. Null means a constant rate. */
export function buildSchedule(config: ScheduleConfig, lr: number, totalUpdates: number): Schedule {
  const name = config.lr_scheduler;
  if (name === null) return () => lr;
  const build = schedules[name];
  if (!build) {
    throw new UserError(
      `schedule.lr_scheduler=${name} is unknown; use ${Object.keys(schedules).join(", ")} or null`,
    );
  }
  return build(config, lr, totalUpdates);
}

const schedules: Record<string, (config: ScheduleConfig, lr: number, total: number) => Schedule> = {
  cosine(config, lr, total) {
    const { lr_min_ratio: minRatio, cycle_length: cycle } = config.cosine!;
    const warmup = required(config, "cosine", "warmup");
    return (step) => {
      if (step < warmup) return (lr * step) / warmup;
      if (step > total) return lr * minRatio;
      const s = (step - warmup) / (total - warmup);
      return lr * (minRatio + 0.5 * (1 - minRatio) * (1 + Math.cos((Math.PI * s) / cycle)));
    };
  },

  inverse_sqrt(config, lr) {
    const warmup = required(config, "inverse_sqrt", "warmup");
    const initial = config.inverse_sqrt!.warmup_init_lr ?? 0;
    return (updatesDone) => {
      const step = updatesDone + 1; // the original counts from 1 here, and only here
      return step < warmup
        ? initial + (step * (lr - initial)) / warmup
        : (lr * Math.sqrt(warmup)) / Math.sqrt(step);
    };
  },

  linear_warmup(config, lr) {
    const warmup = required(config, "linear_warmup", "warmup");
    const initial = config.linear_warmup!.warmup_init_lr ?? 0;
    return (step) => (step < warmup ? initial + (step * (lr - initial)) / warmup : lr);
  },

  polynomial_decay(config, lr, total) {
    const { zero_lr_warmup_steps: zeroSteps, end_lr: end, power } = config.polynomial_decay!;
    const warmup = required(config, "polynomial_decay", "warmup");
    return (step) => {
      if (zeroSteps > 0 && step <= zeroSteps) return 0;
      if (warmup > 0 && step <= warmup + zeroSteps) return ((step - zeroSteps) / warmup) * lr;
      if (step >= total) return end;
      return (lr - end) * (1 - (step - warmup - zeroSteps) / (total - warmup - zeroSteps)) ** power + end;
    };
  },

  step(config, lr) {
    const size = required(config, "step", "step_size");
    const gamma = required(config, "step", "gamma");
    return (step) => lr * gamma ** Math.floor(step / size);
  },

  exponential(config, lr) {
    const decay = required(config, "exponential", "lr_decay");
    return (step) => lr * decay ** step;
  },
};

function required(config: ScheduleConfig, section: keyof ScheduleConfig, key: string): number {
  const value = (config[section] as Record<string, number | null> | undefined)?.[key];
  if (value === null || value === undefined) {
    throw new UserError(
      `schedule.lr_scheduler=${String(section)} needs schedule.${String(section)}.${key}, which is null`,
    );
  }
  return value;
}
