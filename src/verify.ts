/**
 * `npm run --silent verify -- FOLDER…`: our implementation against tensors of the original ones, in folders of the format
 * of shared/golden.
 *
 * Prints a JSON line per check, {folder, check, error, tolerance, pass}; a failed one may have a `reason`. The exit code is
 * 0 when all pass, 1 when one fails, 2 when a folder cannot be read.
 */
import { statSync } from "node:fs";
import { UserError } from "./errors.ts";
import { printText } from "./log/print.ts";
import { checkedDevice, checkedJit, configureRuntime } from "./runtime/options.ts";
import { GoldenFolder } from "./verify/folder.ts";
import { verifyFolder } from "./verify/kinds.ts";

const usage = "Usage: npm run --silent verify -- [jit=none|graph|xla] [device=cpu|cuda] FOLDER…";

export async function main(argv: string[]): Promise<number> {
  try {
    return await verify(argv);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    process.stderr.write(`error: ${error.message}\n`);
    return 2; // 1 says that a check failed
  }
}

async function verify(argv: string[]): Promise<number> {
  if (argv.includes("--help") || argv.includes("-h")) {
    console.log(
      `${usage}\nCompares with the golden tensors of each folder, and prints a JSON line per check.`,
    );
    return 0;
  }
  const option = argv.find((argument) => argument.startsWith("-"));
  if (option !== undefined) throw new UserError(`verify does not know '${option}'. ${usage}`);
  const folders = configured(argv);
  if (folders.length === 0) throw new UserError(`verify needs the folders to verify. ${usage}`);
  // `golden/*` names the README beside the folders, too
  const paths = folders.filter((path) => !statSync(path, { throwIfNoEntry: false })?.isFile());
  for (const path of folders)
    if (!paths.includes(path)) process.stderr.write(`${path}: not a folder, left out\n`);
  if (paths.length === 0) throw new UserError(`${folders.join(", ")}: not a folder. ${usage}`);
  const opened = paths.map((path) => ({ path, folder: new GoldenFolder(path) }));
  let checks = 0;
  let failures = 0;
  for (const { path, folder } of opened) {
    try {
      for await (const check of verifyFolder(folder)) {
        checks++;
        if (!check.pass) failures++;
        await printText(`${JSON.stringify({ folder: path, ...check })}\n`);
        progress(`${folder.name}: ${check.check}`);
      }
    } finally {
      folder.close();
    }
  }
  progress("");
  if (process.stderr.isTTY) process.stderr.write(`${checks - failures} of ${checks} checks pass\n`);
  return failures === 0 ? 0 : 1;
}

/** Takes `jit=…` and `device=…` out of the arguments, for the runtime; returns the others. */
function configured(argv: string[]): string[] {
  return argv.filter((argument) => {
    const [, key, value] = /^(jit|device)=(.*)$/.exec(argument) ?? [];
    if (key === "jit") configureRuntime({ jit: checkedJit(value) });
    if (key === "device") configureRuntime({ device: checkedDevice(value) });
    return key === undefined;
  });
}

/** One line on the terminal that the next one replaces, when the results go elsewhere. */
function progress(text: string): void {
  if (!process.stderr.isTTY || process.stdout.isTTY) return;
  process.stderr.write(`\r\x1b[K${text.slice(0, 100)}`);
}
