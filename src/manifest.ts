/** `npm run manifest -- FOLDER... --out FILE`: writes the manifest of folders with audio. */
import { parseArgs } from "node:util";
import type { AudioMeta } from "./data/manifest.ts";
import { scanFolder, writeManifest } from "./data/scan.ts";
import { UserError } from "./errors.ts";

const USAGE = `usage: npm run manifest -- FOLDER... --out FILE.jsonl[.gz] [--complete] [--resolve]
  --complete  also store each file's peak amplitude (decodes everything)
  --resolve   store absolute paths`;

export async function main(argv: string[]): Promise<void> {
  const { values, positionals } = parse(argv);
  if (values.help) {
    console.log(USAGE);
    return;
  }
  if (positionals.length === 0 || !values.out) throw new UserError(USAGE);
  const unreadable: string[] = [];
  const rows: AudioMeta[] = [];
  for (const folder of positionals) {
    const found = await scanFolder(folder, {
      complete: values.complete,
      absolute: values.resolve,
      onProgress: (done, total) => showProgress(folder, done, total),
      onUnreadable: (path, reason) => unreadable.push(reason.includes(path) ? reason : `${path}: ${reason}`),
    });
    rows.push(...found);
  }
  for (const line of unreadable) console.error(`skipped: ${line}`);
  if (rows.length === 0) throw new UserError(`no readable audio file below ${positionals.join(", ")}`);
  writeManifest(values.out, rows);
  const hours = rows.reduce((sum, row) => sum + row.duration, 0) / 3600;
  console.log(`${values.out}: ${rows.length} files, ${hours.toFixed(2)} h, ${unreadable.length} skipped`);
}

function parse(argv: string[]) {
  try {
    return parseArgs({
      args: argv,
      allowPositionals: true,
      options: {
        out: { type: "string" },
        complete: { type: "boolean", default: false },
        resolve: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    throw new UserError(`${(error as Error).message}\n${USAGE}`);
  }
}

function showProgress(folder: string, done: number, total: number): void {
  if (!process.stderr.isTTY || (done % 50 !== 0 && done !== total)) return;
  process.stderr.write(`\r${folder}: ${done}/${total}${done === total ? "\n" : ""}`);
}
