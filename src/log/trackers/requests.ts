/** HTTP requests of a tracker: one after the other, tried again when the network fails, and never in the way of the run. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "../logger.ts";

/** An answer of the server that trying again will not change. */
export class Refused extends Error {}

export interface RequestQueueOptions {
  /** For messages. */
  service: string;
  log: Logger;
  /** Milliseconds before each further attempt. */
  delays?: readonly number[];
}

export class RequestQueue {
  private readonly service: string;
  private readonly log: Logger;
  private readonly delays: readonly number[];
  private last: Promise<void> = Promise.resolve();
  private failed = false;

  constructor({ service, log, delays = [500, 2000, 8000, 30_000] }: RequestQueueOptions) {
    this.service = service;
    this.log = log;
    this.delays = delays;
  }

  /** Runs `task` after all before it. After the first that fails for good, what follows is left out. */
  add(task: () => Promise<void>): void {
    this.last = this.last.then(async () => {
      if (this.failed) return;
      try {
        await task();
      } catch (error) {
        this.failed = true;
        this.log.warn(
          `${this.service}: ${(error as Error).message}. Nothing more is sent; the run goes on, and its own folder has everything.`,
        );
      }
    });
  }

  /** Until everything has been sent or given up, at most `seconds`; keeps the process alive meanwhile. */
  async drain(seconds: number): Promise<void> {
    const over = new AbortController();
    const timeout = sleep(seconds * 1000, "late", { signal: over.signal }).catch(() => "aborted");
    if ((await Promise.race([this.last, timeout])) === "late")
      this.log.warn(
        `${this.service}: not everything was sent within ${seconds} s; the run's own folder has it`,
      );
    over.abort();
  }

  /** A JSON request; the answer's JSON. @throws Error when all attempts failed, Refused for an answer of 4xx */
  async json<T>(url: string, body: unknown, headers: Record<string, string>, method = "POST"): Promise<T> {
    const text = await this.send(url, {
      method,
      headers: { "content-type": "application/json", ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return (text === "" ? {} : JSON.parse(text)) as T;
  }

  /** The same for any body; the answer's text. */
  async send(url: string, init: RequestInit): Promise<string> {
    for (let attempt = 0; ; attempt++) {
      try {
        const response = await fetch(url, { ...init, signal: AbortSignal.timeout(30_000) });
        const text = await response.text();
        if (response.ok) return text;
        const message = `${new URL(url).origin} answers ${response.status}: ${text.slice(0, 200)}`;
        if (response.status < 500 && response.status !== 429) throw new Refused(message);
        throw new Error(message);
      } catch (error) {
        if (error instanceof Refused || attempt >= this.delays.length) throw error;
        await sleep(this.delays[attempt], undefined, { ref: false });
      }
    }
  }
}
