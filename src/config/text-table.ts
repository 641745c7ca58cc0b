/** A table of text with aligned columns, as Hydra draws it. */

/** Cells that look like numbers are aligned to the right. */
export function tableText(header: string[], rows: string[][]): string {
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const cell = (text: string, i: number) =>
    /^-?[\d.]+(e[+-]?\d+)?[smhd%]?$/.test(text) ? text.padStart(widths[i]!) : text.padEnd(widths[i]!);
  const line = (cells: string[]) => `| ${cells.map(cell).join(" | ")} |`;
  const rule = "-".repeat(line(header).length);
  return `${[line(header), rule, ...rows.map(line), rule].join("\n")}\n`;
}
