/** What an experiment was made with (command line, commit, changes that were not committed), and how a run ended. */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { PROJECT_ROOT } from "../config/train-config.ts";
import { writeFileAtomic } from "./folder.ts";

/** One start of an experiment, a line of `.runs.json`. */
export interface RunRecord {
  /** UTC, ISO 8601. */
  started: string;
  command: string[];
  cwd: string;
  node: string;
  /** null: not a git clone. */
  commit: string | null;
  dirty: boolean;
}

/** The exit code of the last process that a grid or a multirun started for the experiment. */
const OUTCOME_FILE = ".outcome.json";
export const RUNS_FILE = ".runs.json";
export const PATCH_FILE = ".git_diff.patch";
/** Starts that are remembered; a run that is resumed for months keeps its first and its latest. */
const MAX_RUNS = 100;
/** A larger diff (data in the checkout, say) is not stored. */
const MAX_PATCH = 50_000_000;

/**
 * Notes a start in the experiment's folder: `.runs.json` gets a record, `.git_diff.patch` holds `git diff HEAD` of the
 * latest start, if anything was uncommitted. An earlier failure is forgotten. Returns the commit, with `-dirty`; null where there is no git.
 */
export function recordRun(dir: string, command: string[], root: string = PROJECT_ROOT): string | null {
  const { commit, dirty } = gitState(root);
  const record: RunRecord = {
    started: new Date().toISOString(),
    command,
    cwd: process.cwd(),
    node: process.version,
    commit,
    dirty,
  };
  const [first, ...others] = [...readRuns(dir), record];
  writeFileAtomic(
    path.join(dir, RUNS_FILE),
    `${JSON.stringify([first, ...others.slice(1 - MAX_RUNS)], null, 2)}\n`,
  );
  fs.rmSync(path.join(dir, OUTCOME_FILE), { force: true });
  const patch = dirty ? git(root, "diff", "HEAD", "--binary") : "";
  const patchFile = path.join(dir, PATCH_FILE);
  if (patch) writeFileAtomic(patchFile, `${patch}\n`);
  else fs.rmSync(patchFile, { force: true });
  return commit === null ? null : commit + (dirty ? "-dirty" : "");
}

/** The starts of an experiment, oldest first; [] when none is recorded. */
export function readRuns(dir: string): RunRecord[] {
  try {
    const runs = JSON.parse(fs.readFileSync(path.join(dir, RUNS_FILE), "utf8"));
    return Array.isArray(runs) ? runs : [];
  } catch {
    // The record is for people; without it a run still goes on.
    return [];
  }
}

/** Remembers an exit code; 0 forgets an earlier failure. */
export function writeOutcome(dir: string, code: number): void {
  writeFileAtomic(path.join(dir, OUTCOME_FILE), JSON.stringify({ code }));
}

/** The exit code remembered; 0 when there is none. */
export function readOutcome(dir: string): number {
  try {
    return Number(JSON.parse(fs.readFileSync(path.join(dir, OUTCOME_FILE), "utf8")).code) || 0;
  } catch {
    return 0;
  }
}

/** The commit of a checkout, and whether anything in it is not committed (new files count). */
export function gitState(root: string): { commit: string | null; dirty: boolean } {
  const commit = git(root, "rev-parse", "HEAD") || null;
  return { commit, dirty: commit !== null && git(root, "status", "--porcelain") !== "" };
}

/** Output of a git command; "" when it fails, or there is no git. */
function git(root: string, ...args: string[]): string {
  try {
    return execFileSync("git", args, {
      cwd: root,
      maxBuffer: MAX_PATCH,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trimEnd();
  } catch {
    return "";
  }
}
