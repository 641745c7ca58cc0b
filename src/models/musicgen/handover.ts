/** From a producer that pushes to a consumer that pulls, with back-pressure. */

/**
 * Hands values over one at a time: `put` waits until its value has been taken, so a producer is at most one value ahead of
 * the `for await` loop that takes them.
 */
export class Handover<T> implements AsyncIterable<T> {
  private offered: { value: T; taken: () => void }[] = [];
  private ended: { error?: unknown } | null = null;
  private wake: () => void = () => {};

  /** Offers a value; resolves when it has been taken, or at once when nobody takes any more. */
  put(value: T): Promise<void> {
    if (this.ended) return Promise.resolve();
    return new Promise((taken) => {
      this.offered.push({ value, taken });
      this.wake();
    });
  }

  /** No value follows. With an error, the loop ends by throwing it. */
  end(outcome: { error?: unknown } = {}): void {
    this.ended ??= outcome;
    this.wake();
  }

  /** The consumer has left: what was offered is dropped. */
  abandon(): void {
    this.end();
    for (const { taken } of this.offered.splice(0)) taken();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for (;;) {
      const next = this.offered.shift();
      if (next) {
        next.taken();
        yield next.value;
      } else if (this.ended) {
        if ("error" in this.ended) throw this.ended.error;
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
    }
  }
}
