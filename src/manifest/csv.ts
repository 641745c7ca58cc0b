/** Tables as text (RFC 4180): cells in quotes may hold separators, line breaks and doubled quotes. */
import { readFileSync } from "node:fs";
import { UserError } from "../errors.ts";

export type Row = Record<string, unknown>;

/** Rows under the names of the first line. Separators: tabs in .tsv, else commas or, if the first line has none, semicolons. */
export function readCsv(file: string): Row[] {
  const text = readFileSync(file, "utf8").replace(/^\uFEFF/, "");
  const firstLine = text.slice(0, /[\r\n]|$/.exec(text)?.index);
  const separator = /\.tsv$/i.test(file) ? "\t" : firstLine.includes(",") ? "," : ";";
  const [names, ...records] = parseCsv(text, separator, file);
  if (!names) throw new UserError(`${file}: the table is empty`);
  return records.map(({ cells, line }) => {
    if (cells.length > names.cells.length)
      throw new UserError(
        `${file}:${line}: ${cells.length} cells, but there are only ${names.cells.length} columns`,
      );
    return Object.fromEntries(names.cells.map((name, i) => [name.trim(), cells[i] ?? null]));
  });
}

interface Line {
  cells: string[];
  line: number;
}

function parseCsv(text: string, separator: string, file: string): Line[] {
  const cell = new RegExp(
    `(?:"((?:[^"]|"")*)"|([^"${separator}\\r\\n][^${separator}\\r\\n]*)?)(${separator}|\\r?\\n|$)`,
    "y",
  );
  const lines: Line[] = [];
  let cells: string[] = [];
  let line = 1;
  for (let startedAt = 1; cell.lastIndex < text.length || cells.length > 0; ) {
    const match = cell.exec(text);
    if (!match)
      throw new UserError(`${file}:${line}: a quote in this line is not closed, or stands inside of a cell`);
    const [whole, quoted, plain, end] = match;
    cells.push(quoted === undefined ? (plain ?? "") : quoted.replaceAll('""', '"'));
    line += whole.split("\n").length - 1;
    if (end === separator) continue;
    if (cells.length > 1 || cells[0] !== "") lines.push({ cells, line: startedAt });
    cells = [];
    startedAt = line;
  }
  return lines;
}
