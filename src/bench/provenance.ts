/** With what figures were made: the command line and the commit. */
import { execFileSync } from "node:child_process";
import { PROJECT_ROOT } from "../config/train-config.ts";
import type { MachineFacts } from "./machine.ts";

/** Which command on which machine measured what, and whether it counts. */
export interface Provenance {
  /** ISO 8601, UTC. */
  date: string;
  command: string;
  /** False: others used the processor, the figures mean nothing. */
  usable: boolean;
  machine: MachineFacts;
  versions: Record<string, string>;
  /** null: no git clone. */
  commit: string | null;
}

/** The command to type for the same figures; paths are the reader's own. */
export function commandText(argv: string[]): string {
  const shown = argv.map((word, i) => {
    if (argv[i - 1] === "--peer") return "PYTHON";
    return word.startsWith("--peer=") ? "--peer=PYTHON" : word;
  });
  return ["npm", "run", "bench", "--", ...shown].join(" ");
}

/** The commit, with `-dirty` when anything but results and pages differs from it; null where there is no git. */
export function measuredCommit(): string | null {
  try {
    const commit = git("rev-parse", "HEAD");
    const changed = git("status", "--porcelain", "--", ".", ":(exclude)bench/results", ":(exclude)docs");
    return commit + (changed === "" ? "" : "-dirty");
  } catch {
    return null;
  }
}

function git(...argv: string[]): string {
  return execFileSync("git", argv, {
    cwd: PROJECT_ROOT,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  }).trim();
}
