/** Where a run's metrics and samples are shown besides its own folder. */
import type { Logger } from "../logger.ts";

export type Metrics = Readonly<Record<string, number>>;

/** A generated sample as trackers take it. */
export interface TrackedSample {
  /** The same for the same prompt in every epoch. */
  name: string;
  caption: string;
  /** A WAV file. */
  wav: Uint8Array;
  sampleRate: number;
  channels: number;
  /** Samples per channel. */
  frames: number;
  /** Its spectrogram, a PNG file. */
  picture: Uint8Array;
}

export interface RunDescription {
  /** The experiment's signature: the id of the run everywhere. */
  signature: string;
  folder: string;
  /** The resolved config, nested. */
  config: Record<string, unknown>;
  log: Logger;
}

/** Calls return at once; what they send arrives in order, or is reported once and given up. They never end a run. */
export interface Tracker {
  metrics(stage: string, metrics: Metrics, epoch: number): void;
  sample?(sample: TrackedSample, epoch: number): void;
  /** Waits for what is on its way. */
  finish(state: "finished" | "interrupted" | "failed"): Promise<void>;
}

/** `{a: {b: 1}}` as `{"a.b": 1}`; lists as JSON. */
export function flatConfig(
  config: Record<string, unknown>,
  prefix = "",
): Record<string, string | number | boolean | null> {
  return Object.fromEntries(
    Object.entries(config).flatMap(([key, value]): [string, string | number | boolean | null][] => {
      const name = prefix + key;
      if (Array.isArray(value)) return [[name, JSON.stringify(value)]];
      if (typeof value === "object" && value !== null) {
        return Object.entries(flatConfig(value as Record<string, unknown>, `${name}.`));
      }
      return [[name, value as string | number | boolean | null]];
    }),
  );
}
