/** Splits files into train, valid and evaluate: by their names alone, so that a file stays where it is when others come and go. */
import { createHash } from "node:crypto";
import { UserError } from "../errors.ts";

export const SPLIT_NAMES = ["train", "valid", "evaluate"] as const;
export type SplitName = (typeof SPLIT_NAMES)[number];
/** Shares of the files, which add up to 1. */
export type Shares = readonly [number, number, number];

/** "0.9/0.05/0.05", or "90/5/5". A missing third part is 0. Throws UserError. */
export function parseShares(text: string): Shares {
  const parts = text.split("/").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  const sum = parts.reduce((total, part) => total + part, 0);
  if (parts.length < 2 || parts.length > 3 || !parts.every((part) => part >= 0) || !(sum > 0))
    throw new UserError(
      `--split ${text}: the shares of train, valid and evaluate are needed, e.g. 0.9/0.05/0.05`,
    );
  if (Math.abs(sum - 1) > 1e-6 && Math.abs(sum - 100) > 1e-6)
    throw new UserError(`--split ${text}: the shares add up to ${sum}, not to 1`);
  const [train, valid, evaluate = 0] = parts.map((part) => part / sum);
  return [train, valid, evaluate];
}

/**
 * The split of each file. `identities`: what a file is called, wherever it lies. A split that would be empty by chance gets one
 * file of the largest.
 */
export function splitFiles(identities: readonly string[], shares: Shares, seed: number): SplitName[] {
  const places = identities.map((identity) => place(identity, seed));
  const splits = places.map((at) => splitAt(at, shares));
  for (const [i, name] of SPLIT_NAMES.entries()) {
    if (shares[i] === 0 || splits.includes(name)) continue;
    const largest = SPLIT_NAMES.toSorted((a, b) => count(splits, b) - count(splits, a))[0];
    if (count(splits, largest) < 2) continue;
    const candidates = splits.flatMap((split, file) => (split === largest ? [file] : []));
    splits[candidates.reduce((best, file) => (places[file] > places[best] ? file : best))] = name;
  }
  return splits;
}

function splitAt(at: number, [train, valid, evaluate]: Shares): SplitName {
  if (at < train) return "train";
  return at < train + valid || evaluate === 0 ? "valid" : "evaluate";
}

/** A number in [0, 1) out of a name. */
function place(identity: string, seed: number): number {
  return createHash("sha256").update(`${seed}\n${identity}`).digest().readUIntBE(0, 6) / 2 ** 48;
}

function count(splits: readonly SplitName[], name: SplitName): number {
  return splits.filter((split) => split === name).length;
}
