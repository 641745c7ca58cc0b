// `npm test`: every test/**/*.test.ts, or those whose path contains one of the arguments, each file in its own process.
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, relative, resolve } from "node:path";

/** Runs the tests under node:test, which prints its own report; resolves to the exit code. */
export async function runTests(root, argv) {
  const { files, options } = selectTests(root, argv);
  const child = spawn(
    process.execPath,
    ["--import", "tsx", "--test", ...concurrency(), ...options, ...files],
    {
      cwd: root,
      stdio: "inherit",
    },
  );
  return await new Promise((done) => {
    // The terminal signals the child too; we wait for its report instead of dying first.
    for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
    child.on("exit", (code) => done(code ?? 1));
  });
}

/** The test files, relative to the checkout, and the options for Node, that the arguments of `npm test` ask for. */
export function selectTests(root, argv) {
  const options = argv.filter((argument) => argument.startsWith("-"));
  const filters = argv.filter((argument) => !argument.startsWith("-"));
  const parts = filters.map((filter) => relative(root, resolve(root, filter)));
  const files = testFiles(join(root, "test"))
    .map((file) => relative(root, file))
    .filter((file) => parts.length === 0 || parts.some((part) => file.includes(part)));
  if (files.length > 0) return { files, options };
  const error = new Error(`no test file matches ${filters.join(", ")}. Tests are test/**/*.test.ts.`);
  error.name = "UserError";
  throw error;
}

/** TensorFlow uses every core by itself, so one process per core is the most that helps; each takes up to 1 GB. */
function concurrency() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major === 20 && minor < 10) return []; // has no such flag
  return [`--test-concurrency=${Math.max(1, Math.min(4, availableParallelism()))}`];
}

function testFiles(folder) {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return testFiles(path);
      return entry.name.endsWith(".test.ts") ? [path] : [];
    })
    .sort();
}
