/**
 * What is derived of weights that seldom change: normed and in the layout of the kernels. Computed anew in every training step, but
 * only once per change where a codec just codes.
 */
import { type Tensor, tf, Variable } from "../../runtime/index.ts";

let inUse = false;

/** Runs `f`, in which folded weights are used; they must have been brought up to date before. */
export function withFolded<T>(f: () => T): T {
  const before = inUse;
  inUse = true;
  try {
    return f();
  } finally {
    inUse = before;
  }
}

/** A tensor made of variables, kept until one of them changes. */
export class Folded {
  private readonly sources: () => readonly Variable[];
  private readonly make: () => Tensor;
  private kept: Variable | null = null;
  private key = "";

  constructor(sources: () => readonly Variable[], make: () => Tensor) {
    this.sources = sources;
    this.make = make;
  }

  /** Inside of `withFolded` the tensor that is kept, else one that is made now. */
  get value(): Tensor {
    return inUse && this.kept !== null ? this.kept.value : this.make();
  }

  /** Brings what is kept up to date. `form` tells apart what `make` gives in different circumstances. */
  refresh(form: string): void {
    const key = `${form} ${this.sources().map(({ version }) => version)}`;
    if (this.kept !== null && this.key === key) return;
    tf.tidy(() => {
      const value = this.make();
      if (this.kept?.shape.join() !== value.shape.join()) {
        this.dispose();
        this.kept = new Variable(value.shape, () => value);
      }
      this.kept!.assign(value);
    });
    this.key = `${form} ${this.sources().map(({ version }) => version)}`;
  }

  dispose(): void {
    this.kept?.dispose();
    this.kept = null;
  }
}
