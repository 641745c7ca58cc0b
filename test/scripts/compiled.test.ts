/** The compiled form of src/: made anew when a source changes, with the sources' positions, and one with what plugins import. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { runnable } from "../../src/modules.ts";

const checkout = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const root = mkdtempSync(join(tmpdir(), "musicgen-compiled-"));
after(() => rmSync(root, { recursive: true }));

cpSync(join(checkout, "scripts"), join(root, "scripts"), { recursive: true });
mkdirSync(join(root, "node_modules"));
for (const name of ["tsx", "esbuild", "@esbuild", "get-tsconfig", "resolve-pkg-maps"])
  symlinkSync(join(checkout, "node_modules", name), join(root, "node_modules", name));
write("package.json", '{ "name": "small", "type": "module" }');
cpSync(join(checkout, "src", "modules.ts"), join(root, "src", "modules.ts"));
write(
  "src/count.ts",
  `interface Counter { value: number }
export const counter: Counter = { value: 0 };
export function fails(): never {
  throw new Error("with a position");
}
`,
);
write(
  "src/main.ts",
  `import { counter, fails } from "./count.ts";
import { importUserModule } from "./modules.ts";
export async function main(): Promise<void> {
  counter.value = 1;
  const { seen } = await importUserModule<{ seen: number }>(process.argv[2]);
  console.log(import.meta.url);
  console.log("version 1, seen by the plugin:", seen);
  try {
    fails();
  } catch (error) {
    console.log((error as Error).stack);
  }
}
`,
);
write("plugin.ts", 'import { counter } from "./src/count.ts";\nexport const seen: number = counter.value;\n');
write(
  "run.mjs",
  `import { useCompiled } from "./scripts/launch/compiled.mjs";
const url = await useCompiled(${JSON.stringify(root)}, ${JSON.stringify(join(root, "src", "main.ts"))});
console.log("from", url);
await (await import(url)).main();
process.exit();
`,
);

function write(name: string, text: string): void {
  mkdirSync(dirname(join(root, name)), { recursive: true });
  writeFileSync(join(root, name), text);
}

function run(): string {
  const { stdout, stderr } = spawnSync(process.execPath, [join(root, "run.mjs"), join(root, "plugin.ts")], {
    encoding: "utf8",
  });
  return stdout + stderr;
}

let first = "";
test("a command runs from compiled files", () => {
  first = run();
  assert.match(first, /from file:.*\/node_modules\/\.musicgen\/compiled\/main\.mjs/);
  assert.match(first, /version 1/);
});

test("import.meta.url is the source's, and so is the position of an error", () => {
  assert.ok(first.includes(`${pathToFileURL(join(root, "src", "main.ts"))}\n`), first);
  assert.match(
    first,
    /at fails \(file:.*\/src\/count\.ts:4:9\)\n.*at Module\.main \(file:.*\/src\/main\.ts:9:5\)/,
  );
});

test("what a plugin in TypeScript imports from src/ is the module that runs", () =>
  assert.match(first, /seen by the plugin: 1/));

test("a source that has changed is compiled anew", () => {
  write("src/main.ts", 'export async function main(): Promise<void> {\n  console.log("version 2");\n}\n');
  assert.match(run(), /version 2/);
});

test("an error in a source leaves it to the loader of the sources, which shows it", () => {
  write("src/main.ts", "export const main = (;\n");
  assert.match(run(), /from null/);
});

test("modules of ours have their compiled URL, all others their own", () => {
  const place = { folder: "file:///r/compiled/", sources: "file:///r/src/" };
  assert.equal(runnable("file:///r/src/data/worker.ts", place), "file:///r/compiled/data/worker.mjs");
  assert.equal(runnable("file:///elsewhere/worker.ts", place), "file:///elsewhere/worker.ts");
  assert.equal(runnable("file:///r/src/data/worker.ts", undefined), "file:///r/src/data/worker.ts");
});

/** Modules of ours that a command loads before it needs TensorFlow, counted by a loader. */
test("`config` loads neither TensorFlow nor the models, and fewer than 60 modules of ours", () => {
  const counting = join(root, "counting.mjs");
  writeFileSync(
    counting,
    `import { register } from "node:module";
const source = "export async function load(url, context, next) { console.error('loaded ' + url); return next(url, context); }";
register("data:text/javascript," + encodeURIComponent(source));
`,
  );
  const script = `
    await import(${JSON.stringify(pathToFileURL(counting).href)});
    const { useCompiled } = await import(${JSON.stringify(pathToFileURL(join(checkout, "scripts/launch/compiled.mjs")).href)});
    const url = await useCompiled(${JSON.stringify(checkout)}, ${JSON.stringify(join(checkout, "src", "config.ts"))});
    await (await import(url)).main([]);`;
  const { stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  const loaded = [...stderr.matchAll(/^loaded .*\/compiled\/(.*)$/gm)].map(([, name]) => name);
  assert.ok(loaded.length > 5 && loaded.length < 60, `${loaded.length}`);
  assert.deepEqual(
    loaded.filter((name) => /^(runtime|models|nn|solvers|data)\//.test(name)),
    [],
  );
});
