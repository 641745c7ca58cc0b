/** What a check found, for people and for programs. */
import { type CheckedFile, type Finding, PROBLEMS, type Problem } from "./check.ts";

export interface Report {
  manifests: string[];
  files: number;
  hours: number;
  /** Files that have each problem. */
  problems: Partial<Record<Problem, { path: string; detail: string }[]>>;
  sampleRates: Record<string, number>;
  channels: Record<string, number>;
  durations: { from: number; to: number | null; files: number }[];
}

/** Seconds at which the bars of the histogram begin. */
const EDGES = [0, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800];
const BAR_WIDTH = 40;

export function makeReport(files: readonly CheckedFile[]): Report {
  const problems: Report["problems"] = {};
  for (const { problem, path, detail } of files.flatMap(({ findings }) => findings)) {
    problems[problem] ??= [];
    problems[problem].push({ path, detail });
  }
  const durations = files.map(({ inspection, row }) => inspection?.duration ?? row.duration);
  const readable = files.flatMap(({ inspection }) => inspection ?? []);
  return {
    manifests: [...new Set(files.map(({ manifest }) => manifest))],
    files: files.length,
    hours: durations.reduce((sum, duration) => sum + duration, 0) / 3600,
    problems,
    sampleRates: counts(readable.map(({ sampleRate }) => sampleRate)),
    channels: counts(readable.map(({ channels }) => channels)),
    durations: histogram(durations),
  };
}

function counts(values: number[]): Record<string, number> {
  const found: Record<string, number> = {};
  for (const value of values) found[value] = (found[value] ?? 0) + 1;
  return found;
}

/** From the first bar with files to the last. */
function histogram(durations: number[]): Report["durations"] {
  const bars = EDGES.map((from, i) => {
    const to = EDGES[i + 1] ?? Number.POSITIVE_INFINITY;
    const files = durations.filter((duration) => duration >= from && duration < to).length;
    return { from, to: Number.isFinite(to) ? to : null, files };
  });
  const filled = bars.flatMap(({ files }, i) => (files > 0 ? [i] : []));
  return bars.slice(filled[0], (filled.at(-1) ?? -1) + 1);
}

/** The report as text. `most`: paths named for each problem. */
export function reportText(report: Report, most: number): string {
  const lines = [
    `${report.manifests.join(", ")}: ${report.files} files, ${report.hours.toFixed(2)} h`,
    `sample rates: ${mix(report.sampleRates, " Hz")}`,
    `channels: ${mix(report.channels, "")}`,
    "durations:",
    ...bars(report.durations),
  ];
  const found = Object.keys(PROBLEMS).flatMap((problem) => {
    const files = report.problems[problem as Problem];
    return files ? problemLines(problem as Problem, files, most) : [];
  });
  return `${[...lines, ...(found.length > 0 ? found : ["no problems found"])].join("\n")}\n`;
}

function problemLines(problem: Problem, files: Omit<Finding, "problem">[], most: number): string[] {
  const rest = files.length - most;
  return [
    `${problem} (${PROBLEMS[problem]}): ${files.length}`,
    ...files.slice(0, most).map(({ path, detail }) => `  ${path}: ${detail}`),
    ...(rest > 0 ? [`  … and ${rest} more (--all names all)`] : []),
  ];
}

function mix(values: Record<string, number>, unit: string): string {
  const sorted = Object.entries(values).sort(([, a], [, b]) => b - a);
  return sorted.map(([value, count]) => `${value}${unit} (${count})`).join(", ") || "none";
}

function bars(durations: Report["durations"]): string[] {
  const highest = Math.max(...durations.map(({ files }) => files));
  return durations.map(({ from, to, files }) => {
    const range = `${to === null ? `${from} s and more` : `${from} to ${to} s`}`.padStart(14);
    const width = (BAR_WIDTH * files) / highest;
    return `  ${range} ${"█".repeat(Math.max(files > 0 ? 1 : 0, Math.round(width)))} ${files}`;
  });
}
