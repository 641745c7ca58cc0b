// Runs the tools that set-up calls (npm, pip, compiler), keeping their output in a log file.
import { spawn } from "node:child_process";
import { accessSync, appendFileSync, constants, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { delimiter, isAbsolute, join } from "node:path";

const running = new Set();

/** Ends the children that still run (set-up was interrupted). */
export function stopChildren() {
  for (const child of running) child.kill("SIGTERM");
}

/**
 * Runs a program and resolves to { code, signal, output }; never rejects. `output` is stdout and stderr together (the last
 * 64 kB); `onLine` sees each line of it as it comes, and everything is appended to the file `log`.
 */
export function runCommand(program, args, { env = process.env, cwd, log, onLine } = {}) {
  return new Promise((resolve) => {
    let output = "";
    let line = "";
    const take = (chunk) => {
      const text = chunk.toString();
      output = (output + text).slice(-65536);
      if (log) appendQuietly(log, text);
      if (!onLine) return;
      const lines = (line + text).split(/[\r\n]/);
      line = lines.pop() ?? "";
      for (const complete of lines) if (complete.trim()) onLine(complete.trim());
    };
    if (log) appendQuietly(log, `\n$ ${[program, ...args].join(" ")}\n`);
    const child = spawn(program, args, { env, cwd, stdio: ["ignore", "pipe", "pipe"] });
    running.add(child);
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    const end = (code, signal, more = "") => {
      running.delete(child);
      resolve({ code, signal, output: output + more, log });
    };
    child.on("error", (error) => end(127, null, error.message));
    child.on("close", (code, signal) => end(code ?? 1, signal));
  });
}

/** The full path of a program, as a shell would find it; undefined if it is not on PATH. */
export function findProgram(name, env = process.env) {
  if (name.includes("/")) return isAbsolute(name) && isExecutable(name) ? name : undefined;
  return (env.PATH ?? "")
    .split(delimiter)
    .filter(Boolean)
    .map((folder) => join(folder, name))
    .find(isExecutable);
}

/** A new log file in `<cache>/logs`; only the newest ones are kept. */
export function openLog(cache) {
  const folder = join(cache, "logs");
  mkdirSync(folder, { recursive: true });
  const old = readdirSync(folder)
    .filter((name) => name.startsWith("setup-"))
    .sort();
  for (const name of old.slice(0, Math.max(0, old.length - 9))) rmSync(join(folder, name), { force: true });
  const time = new Date().toISOString().replace(/[:.]/g, "-").slice(0, 19);
  return join(folder, `setup-${time}-${process.pid}.log`);
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** The log is a help, not a condition: with a full disk the tool's own error is what the user must see. */
function appendQuietly(path, text) {
  try {
    appendFileSync(path, text);
  } catch {}
}
