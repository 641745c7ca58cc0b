/** `npm run --silent conformance -- CASES.jsonl TREES_DIR`: answers each case with one line of JSON. */
import fs from "node:fs";
import { answer, CASE_ENVIRONMENT } from "./conformance/answers.ts";
import { UserError } from "./errors.ts";
import { printText } from "./log/print.ts";

/** Runs the command; returns the process's exit code. */
export async function main(argv: string[]): Promise<number> {
  const [cases, trees] = argv;
  if (cases === undefined || trees === undefined || argv.length > 2)
    throw new UserError("usage: npm run --silent conformance -- CASES.jsonl TREES_DIR");
  if (!fs.statSync(trees, { throwIfNoEntry: false })?.isDirectory())
    throw new UserError(`${trees}: there is no such folder of config trees`);
  Object.assign(process.env, CASE_ENVIRONMENT);
  const lines = readText(cases).split("\n").filter(Boolean);
  const text = lines.map((line) => `${JSON.stringify(answer(line, trees))}\n`).join("");
  await printText(text);
  return 0;
}

function readText(file: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    throw new UserError(`cannot read ${file}: ${(error as Error).message}`);
  }
}
