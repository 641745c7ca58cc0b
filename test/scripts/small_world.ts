/**
 * A checkout in miniature for tests of set-up: the real scripts, tiny native sources, and `npm` and `python3` that serve tiny
 * packages and a tiny TensorFlow wheel from disk. The compiler is the real one, so what is built is really loaded.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { findProgram } from "../../scripts/setup/command.mjs";
import { findCompiler } from "../../scripts/setup/machine.mjs";

const checkout = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

export class SmallWorld {
  readonly folder = mkdtempSync(join(tmpdir(), "musicgen-setup-"));
  readonly root = join(this.folder, "clone");
  readonly cache = join(this.folder, "cache");
  private readonly bin = join(this.folder, "bin");

  static async create(): Promise<SmallWorld> {
    const world = new SmallWorld();
    world.writePackages();
    await world.writeWheel();
    world.writePrograms();
    world.clone(world.root);
    return world;
  }

  /** Another checkout of the same state. */
  clone(root: string): void {
    cpSync(join(checkout, "scripts"), join(root, "scripts"), { recursive: true });
    write(join(root, "package.json"), '{ "name": "small", "version": "1.0.0" }');
    cpSync(join(this.folder, "lock.json"), join(root, "package-lock.json"));
    write(join(root, "native", "context.cc"), 'extern "C" int small_context() { return 1; }\n');
    write(join(root, "native", "addon.cc"), addonSource);
    write(join(root, "native", "kernels", "small.cc"), "int small_kernel() { return 1; }\n");
  }

  /** Runs `node scripts/launch.mjs setup …`; `env` adds variables. */
  setup(
    args: string[] = [],
    { root = this.root, env = {} }: { root?: string; env?: NodeJS.ProcessEnv } = {},
  ): Promise<Outcome> {
    return outcomeOf(this.start(args, { root, env }));
  }

  start(
    args: string[],
    { root = this.root, env = {} }: { root?: string; env?: NodeJS.ProcessEnv } = {},
  ): ChildProcess {
    const inherited = { ...process.env };
    for (const name of Object.keys(inherited))
      if (/^(npm_|NODE_|MUSICGEN_|PYTHON$)/.test(name)) delete inherited[name];
    const own = {
      PATH: `${this.bin}:${process.env.PATH}`,
      MUSICGEN_CACHE_DIR: this.cache,
      MUSICGEN_TENSORFLOW: "cpu",
    };
    return spawn(process.execPath, [join(root, "scripts", "launch.mjs"), "setup", ...args], {
      cwd: root,
      env: { ...inherited, ...own, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  /** The names of the programs that were asked to install or download, in order. */
  calls(): string[] {
    try {
      return readFileSync(join(this.folder, "calls"), "utf8").trim().split("\n").filter(Boolean);
    } catch {
      return [];
    }
  }

  forgetCalls(): void {
    rmSync(join(this.folder, "calls"), { force: true });
  }

  get library(): string {
    return join(this.cache, "tensorflow-2.21.0-cpu", "site-packages", "tensorflow", "libtensorflow_cc.so.2");
  }

  get wheel(): string {
    return join(this.folder, "tensorflow_cpu-2.21.0-cp312-cp312-manylinux_2_27_x86_64.whl");
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  private writePackages(): void {
    const packages: Record<string, { version: string }> = {};
    for (const name of ["node-addon-api", "node-api-headers", "@tensorflow/tfjs-node-gpu"]) {
      write(join(this.folder, "modules", name, "package.json"), JSON.stringify({ name, version: "1.0.0" }));
      packages[`node_modules/${name}`] = { version: "1.0.0" };
    }
    mkdirSync(join(this.folder, "modules", "node-api-headers", "include"));
    write(
      join(this.folder, "modules", "@tensorflow", "tfjs-node-gpu", "binding", "tfjs_binding.cc"),
      addonSource,
    );
    write(join(this.folder, "modules", ".package-lock.json"), JSON.stringify({ packages }));
    write(join(this.folder, "lock.json"), JSON.stringify({ packages: { "": {}, ...packages } }));
  }

  private async writeWheel(): Promise<void> {
    const { program, args } = (await findCompiler()) as { program: string; args: string[] };
    const tree = join(this.folder, "wheel");
    for (const name of ["cc", "framework"]) {
      const file = `libtensorflow_${name}.so.2`;
      write(join(tree, "tensorflow", `${name}.cc`), `extern "C" int small_${name}() { return 2; }\n`);
      run(
        program,
        [...args, "-shared", "-fPIC", "-o", file, `${name}.cc`, `-Wl,-soname,${file}`],
        join(tree, "tensorflow"),
      );
    }
    write(join(tree, "tensorflow", "include", "tensorflow", "c", "c_api.h"), 'extern "C" int small_cc();\n');
    write(join(tree, "tensorflow", "python", "unwanted.py"), "unwanted = True\n");
    const zip = "import shutil, sys; shutil.make_archive(sys.argv[1], 'zip', sys.argv[2])";
    run("python3", ["-c", zip, this.wheel, tree], this.folder);
    cpSync(`${this.wheel}.zip`, this.wheel);
  }

  private writePrograms(): void {
    const python = findProgram("python3") as string;
    // $SMALL_PIP and $SMALL_NPM are run first: to fail or to dawdle.
    write(
      join(this.bin, "npm"),
      `#!/bin/sh\necho npm >> '${this.folder}/calls'\neval "$SMALL_NPM"\nrm -rf node_modules\ncp -r '${this.folder}/modules' node_modules\n`,
    );
    write(
      join(this.bin, "python3"),
      `#!/bin/sh
if [ "$1" = -c ]; then echo True; echo pip 24.0; exit 0; fi
if [ "$1" != -m ]; then exec '${python}' "$@"; fi
echo pip >> '${this.folder}/calls'
eval "$SMALL_PIP"
while [ "$1" != --dest ]; do shift; done
cp '${this.wheel}' "$2"
`,
    );
    for (const name of ["npm", "python3"]) run("chmod", ["+x", join(this.bin, name)], this.folder);
  }
}

export async function outcomeOf(child: ChildProcess): Promise<Outcome> {
  const outcome: Outcome = { code: null, stdout: "", stderr: "" };
  child.stdout?.on("data", (chunk) => (outcome.stdout += chunk));
  child.stderr?.on("data", (chunk) => (outcome.stderr += chunk));
  return await new Promise((resolve) => {
    child.on("close", (code) => resolve({ ...outcome, code }));
  });
}

/** The smallest addon that Node loads. */
const addonSource = `
#include "tensorflow/c/c_api.h"
extern "C" __attribute__((visibility("default"))) void* napi_register_module_v1(void*, void* exports) {
  return small_cc() == 2 ? exports : nullptr;
}
extern "C" __attribute__((visibility("default"))) int node_api_module_get_api_version_v1() { return 8; }
`;

function write(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

function run(program: string, args: string[], cwd: string): void {
  const { status, stderr } = spawnSync(program, args, { cwd, encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} failed: ${stderr}`);
}
