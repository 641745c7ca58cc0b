export { ExponentialMovingAverage } from "./ema.ts";
export { GradientAccumulator } from "./gradient_accumulator.ts";
export { LossScaler } from "./loss_scaler.ts";
export {
  type AdamConfig,
  buildOptimizer,
  clipByGlobalNorm,
  type Groups,
  globalNorm,
  type Optimizer,
} from "./optimizers.ts";
export { buildSchedule, type Schedule, type ScheduleConfig } from "./schedules.ts";
