export { ExponentialMovingAverage } from "./ema.ts";
export { GradientAccumulator } from "./gradient_accumulator.ts";
export { clipByGlobalNorm, globalNorm } from "./gradients.ts";
export { LossScaler } from "./loss_scaler.ts";
export {
  type AdamConfig,
  buildOptimizer,
  type Groups,
  type Optimizer,
} from "./optimizers.ts";
export { buildSchedule, type Schedule, type ScheduleConfig } from "./schedules.ts";
