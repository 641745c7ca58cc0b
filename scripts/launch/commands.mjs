// Runs one command: `setup` and `test` are here, every other name is a file src/<name>.ts with `main(argv)`.
import { existsSync, readdirSync } from "node:fs";
import module from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { ignoreClosedPipe, report } from "./endings.mjs";
import { mergeRepeatedSignals } from "./interrupts.mjs";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Runs `name` with its arguments; resolves to the exit code and never rejects. */
export async function run(name, argv) {
  ignoreClosedPipe();
  mergeRepeatedSignals();
  try {
    if (name === "setup") return await runSetup(argv);
    const entry = name === "test" ? null : commandFile(name);
    await ensureSetup();
    if (entry === null) return await (await import("./tests.mjs")).runTests(root, argv);
    return await runSource(entry, argv);
  } catch (error) {
    return report(error);
  }
}

const { enableCompileCache } = module;

/** Files in src/ that are no commands. */
const NO_COMMANDS = new Set(["crc32.ts", "errors.ts", "index.ts", "modules.ts", "worker_thread.ts"]);

/** Set-up, unless the stamp of an earlier one still holds. */
async function ensureSetup() {
  const { isSetUp } = await import("../setup/stamp.mjs");
  if (isSetUp(root)) return;
  const { setUp } = await import("../setup.mjs");
  await setUp(root, {});
}

async function runSetup(argv) {
  const { setUp, parseSetupArguments } = await import("../setup.mjs");
  const options = parseSetupArguments(argv);
  await setUp(root, { ...options, announce: true });
  return 0;
}

async function runSource(entry, argv) {
  // Node 22 and newer keep the compiled code of packages between runs
  enableCompileCache?.(join(root, "node_modules", ".musicgen", "code"));
  const { useCompiled } = await import("./compiled.mjs");
  let url = await useCompiled(root, entry);
  if (url === null) {
    (await import("tsx/esm/api")).register();
    url = pathToFileURL(entry).href;
  }
  const { main } = await import(url);
  return (await main(argv)) ?? 0;
}

function commandFile(name) {
  const file = join(root, "src", `${name}.ts`);
  if (name && /^[a-z][a-z0-9-]*$/.test(name) && existsSync(file) && !NO_COMMANDS.has(`${name}.ts`))
    return file;
  const known = existsSync(join(root, "src")) ? readdirSync(join(root, "src")) : [];
  const commands = known
    .filter((file) => file.endsWith(".ts") && !NO_COMMANDS.has(file))
    .map((file) => file.slice(0, -3));
  const error = new Error(
    `there is no command '${name ?? ""}'. Commands: ${[...commands, "setup", "test"].sort().join(", ")}.`,
  );
  error.name = "UserError";
  throw error;
}
