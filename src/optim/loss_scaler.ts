/**
 * Dynamic loss scaling for float16 (Micikevicius et al. 2018; the rule and numbers are torch.cuda.amp.GradScaler's): the loss
 * is multiplied by a factor that keeps small gradients above float16's zero. An overflow halves it and leaves the update
 * out; `growthInterval` updates without one double it.
 */
export class LossScaler {
  /** Of the host: saved with the run. */
  state = { scale: 65536, sinceOverflow: 0 };
  private readonly growthInterval: number;

  constructor({ growthInterval = 2000 } = {}) {
    this.growthInterval = growthInterval;
  }

  /** After each attempt at an update. */
  update(finite: boolean): void {
    const { state } = this;
    if (!finite) {
      state.scale *= 0.5;
      state.sinceOverflow = 0;
    } else if (++state.sinceOverflow === this.growthInterval) {
      state.scale *= 2;
      state.sinceOverflow = 0;
    }
  }
}
