/** Results as rows of text, for the terminal and for docs/performance.md. */
import { TOLERATED_CORES } from "./processor.ts";
import { type Result, type ResultRow, ratesOf, ratiosOf, secondsOf, shareOf } from "./results.ts";
import type { Benchmark } from "./suite.ts";

export const HEADER = [
  "",
  "median",
  "lowest to highest",
  "rates",
  "of the limit",
  "peak memory",
  "peer / ours",
];

/** A row of cells per program and series. */
export function cellsOf({ rows, limits }: Result, { series }: Pick<Benchmark, "series">): string[][] {
  return rows.map((row) => {
    const { median, lowest, highest } = secondsOf(row);
    const share = shareOf(row, limits);
    const rates = Object.entries(ratesOf(row)).map(([unit, rate]) => `${digits(rate)} ${unit}`);
    const disturbed =
      row.others > TOLERATED_CORES ? ` (UNUSABLE: others used ${row.others.toFixed(1)} cores)` : "";
    return [
      `${[row.program, row.variant, series[row.series] ?? row.series].filter(Boolean).join(", ")}${disturbed}`,
      duration(median),
      `${duration(lowest)} to ${duration(highest)}`,
      rates.join(", "),
      share === null ? "" : `${Math.round(100 * share)} %`,
      memory(row.peakBytes),
      verdict(rows, row),
    ];
  });
}

/** Ratios to the peers, and whether what is wanted is reached: "1.62 AudioCraft (goal 1.5: reached)". Disturbed rows reach nothing. */
function verdict(rows: ResultRow[], row: ResultRow): string {
  const ratios = ratiosOf(rows, row);
  const parts = ratios.map(([peer, ratio]) => `${ratio.toFixed(2)} ${peer}`);
  if (rows.some(({ others }) => others > TOLERATED_CORES)) return parts.join(" ");
  const told = (isReached: boolean) => (isReached ? "reached" : "not reached");
  // the goal is one over the fastest of the peers
  const least = Math.min(...ratios.map(([, ratio]) => ratio));
  if (row.goal !== null && ratios.length > 0) parts.push(`(goal ${row.goal}: ${told(least >= row.goal)})`);
  if (row.bound !== null) parts.push(`(at most ${row.bound} s: ${told(secondsOf(row).median <= row.bound)})`);
  return parts.join(" ");
}

/** Columns of equal width, two spaces apart. */
export function alignedText(header: string[], rows: string[][]): string {
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i].length)));
  const line = (cells: string[]) =>
    cells
      .map((cell, i) => cell.padEnd(widths[i]))
      .join("  ")
      .trimEnd();
  return [line(header), ...rows.map(line)].join("\n");
}

export function markdownTable(header: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(" | ")} |`;
  return [line(header), `|${"---|".repeat(header.length)}`, ...rows.map(line)].join("\n");
}

export function duration(seconds: number): string {
  return seconds < 1 ? `${digits(1000 * seconds)} ms` : `${digits(seconds)} s`;
}

export function memory(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}

/** Three significant digits. */
export function digits(value: number): string {
  return value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}
