/** Convolutions fed in pieces: they keep the end of what they got, or of what they have yet to give. */
import { type Tensor, tf } from "../../runtime/index.ts";
import { frames, joined, Kept, type LayerStream, lengthOf } from "./layer.ts";
import { convPadding, type PadMode, padTime } from "./padding.ts";

interface ConvGeometry {
  kernelSize: number;
  stride: number;
  dilation: number;
  causal: boolean;
  padMode: PadMode;
}

interface ConvSteps {
  /** The padded convolution of all there is. */
  whole(x: Tensor): Tensor;
  /** The convolution without padding. */
  valid(x: Tensor): Tensor;
  dispose(): void;
}

/** Keeps the samples that windows to come need, and as many as reflection at the end may need. */
export class ConvStream implements LayerStream {
  private readonly geometry: ConvGeometry;
  private readonly steps: ConvSteps;
  private readonly held = new Kept();
  /** Padding at the left, and the most that can be needed at the right. */
  private readonly left: number;
  private readonly mostRight: number;
  private length = 0;
  private begun = false;
  /** Samples at the front of `held` that are in no window to come. */
  private spent = 0;

  constructor(geometry: ConvGeometry, steps: ConvSteps) {
    const { kernelSize, stride, dilation, causal } = geometry;
    this.geometry = geometry;
    this.steps = steps;
    // a clip of whole strides needs no extra at the right; another up to stride - 1
    const { left, right } = convPadding(stride, kernelSize, stride, dilation, causal);
    this.left = left;
    this.mostRight = right + stride - 1;
  }

  push(x: Tensor | null, last: boolean): Tensor | null {
    const { kernelSize, stride, dilation, causal, padMode } = this.geometry;
    let held = joined(this.held.take(), x);
    this.length += x === null ? 0 : lengthOf(x);
    if (held === null) return null;
    if (!this.begun) {
      if (last) return this.steps.whole(held);
      const needed = padMode === "reflect" ? Math.max(this.left, this.mostRight) : 0;
      if (this.length <= needed) {
        this.held.set(held);
        return null;
      }
      held = padTime(held, this.left, 0, padMode);
      this.begun = true;
    }
    if (last) {
      const { right } = convPadding(this.length, kernelSize, stride, dilation, causal);
      held = padTime(held, 0, right, padMode);
    }
    const extent = (kernelSize - 1) * dilation + 1;
    const size = lengthOf(held);
    const windows = Math.max(0, Math.floor((size - this.spent - extent) / stride) + 1);
    const from = this.spent;
    const y =
      windows === 0 ? null : this.steps.valid(frames(held, from, from + (windows - 1) * stride + extent));
    const next = from + windows * stride;
    const kept = Math.max(0, Math.min(next, size - this.mostRight - 1));
    this.spent = next - kept;
    this.held.set(last ? null : frames(held, kept, size));
    return y;
  }

  dispose(): void {
    this.held.set(null);
    this.steps.dispose();
  }
}

interface ConvTransposeSteps {
  /** The transposed convolution without trimming and bias. */
  full(x: Tensor): Tensor;
  /** Bias and norm. */
  finish(y: Tensor): Tensor;
  dispose(): void;
}

/** Keeps the sums at the end that the next piece adds to. */
export class ConvTransposeStream implements LayerStream {
  private readonly stride: number;
  private readonly trimLeft: number;
  private readonly steps: ConvTransposeSteps;
  private readonly sums = new Kept();
  /** Samples still to be cut at the left end. */
  private toCut: number;

  constructor(stride: number, trimLeft: number, steps: ConvTransposeSteps) {
    this.stride = stride;
    this.trimLeft = trimLeft;
    this.toCut = trimLeft;
    this.steps = steps;
  }

  push(x: Tensor | null, last: boolean): Tensor | null {
    let y: Tensor | null = null;
    if (x !== null) {
      let full = this.steps.full(x);
      const before = this.sums.take();
      const ready = lengthOf(x) * this.stride;
      const size = lengthOf(full);
      if (before !== null) {
        full = tf.add(full, padTime(before, 0, size - lengthOf(before), "constant"));
      }
      const cut = Math.min(this.toCut, ready);
      this.toCut -= cut;
      if (cut < ready) y = frames(full, cut, ready);
      this.sums.set(size > ready ? frames(full, ready, size) : null);
    }
    const rest = last ? this.sums.take() : null;
    if (rest !== null && this.trimLeft > 0) y = joined(y, frames(rest, this.toCut, this.trimLeft));
    return y === null ? null : this.steps.finish(y);
  }

  dispose(): void {
    this.sums.set(null);
    this.steps.dispose();
  }
}
