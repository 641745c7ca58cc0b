/** `node scripts/launch.mjs complete train|config LINE`: one completion of the line's last word per line. Shells call it. */
import { completions } from "./config/completion.ts";
import { printText } from "./log/print.ts";

/** Runs the command; returns the process's exit code. `LINE` is what follows `npm run train -- `, up to the cursor. */
export async function main(argv: string[]): Promise<number> {
  const [command, line = ""] = argv;
  if (command !== "train" && command !== "config") return 1;
  const words = splitWords(line);
  const word = words.pop() ?? "";
  await printText(
    completions(command, words, word)
      .map((text) => `${text}\n`)
      .join(""),
  );
  return 0;
}

/** Splits as a shell does: blanks separate, quotes and backslashes protect. A blank at the end begins an empty word. */
function splitWords(line: string): string[] {
  const words = [""];
  let quote = "";
  for (let i = 0; i < line.length; i++) {
    const c = line[i]!;
    if (c === quote) quote = "";
    else if (quote !== "") words[words.length - 1] += c;
    else if (c === "'" || c === '"') quote = c;
    else if (c === "\\") words[words.length - 1] += line[++i] ?? "";
    else if (c !== " ") words[words.length - 1] += c;
    else if (words.at(-1) !== "") words.push("");
  }
  return words;
}
