export { ExponentialMovingAverage } from "./ema.ts";
export { type AdamConfig, buildOptimizer, clipByGlobalNorm, type Optimizer } from "./optimizers.ts";
export { buildSchedule, type Schedule, type ScheduleConfig } from "./schedules.ts";
