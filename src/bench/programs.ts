/** Programs that measure: ours and the peers', run one at a time. */
import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { UserError } from "../errors.ts";
import { type Measurement, parseMeasurement } from "./measurement.ts";
import type { Request } from "./request.ts";

const checkout = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** A name for tables, and what to run from the checkout. */
export interface Program {
  name: string;
  command: string[];
}

export function ourProgram(request: Request): Program {
  const child = join("src", "bench", "child.ts");
  return { name: "ours", command: [process.execPath, "--import", "tsx", child, JSON.stringify(request)] };
}

/** A script of bench/peers with its options. */
export function peerProgram(
  name: string,
  python: string,
  script: string,
  options: Record<string, string | number>,
): Program {
  const argv = Object.entries(options).flatMap(([option, value]) => [`--${option}`, String(value)]);
  return { name, command: [python, join("bench", "peers", script), ...argv] };
}

/**
 * Runs a program to its end. Nothing of it is left then: what it used of the processor counts as ours.
 * @throws UserError with the end of its output when it fails
 */
export async function measureWith({ name, command }: Program): Promise<Measurement> {
  const [file, ...argv] = command;
  const child = spawn(file, argv, { cwd: checkout, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    output += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text) => {
    errors += text;
  });
  const end = () => void child.kill();
  process.once("exit", end);
  try {
    const code = await new Promise<number | string | null>((resolve, reject) => {
      child.once("error", ({ message }) =>
        reject(new UserError(`${name}: ${file} cannot be started: ${message}`)),
      );
      child.once("close", (code, signal) => resolve(code ?? signal));
    });
    if (code !== 0)
      throw new UserError(
        `${name} failed with ${code}:\n${(errors || output).trim().split("\n").slice(-8).join("\n")}`,
      );
  } finally {
    process.off("exit", end);
  }
  return parseMeasurement(output, name);
}
