import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import {
  checkCacheFolder,
  checkMachine,
  checkSpace,
  chooseVariant,
  findCompiler,
  findPython,
} from "../../scripts/setup/machine.mjs";
import { cleanEnvironment, findNpm } from "../../scripts/setup/packages.mjs";
import { cacheFolder } from "../../scripts/setup/paths.mjs";
import { cudaRequirements } from "../../scripts/setup/tensorflow.mjs";

const folder = mkdtempSync(join(tmpdir(), "musicgen-machine-"));
after(() => rmSync(folder, { recursive: true }));

/** A PATH with only these programs, each a shell script. */
function pathWith(programs: Record<string, string>): string {
  const bin = mkdtempSync(join(folder, "bin-"));
  for (const [name, body] of Object.entries(programs)) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${body}\n`);
    chmodSync(join(bin, name), 0o755);
  }
  return bin;
}

/** The errors are one line, without a stack for the user. */
function saying(pattern: RegExp) {
  return (error: Error) => {
    assert.equal(error.name, "UserError");
    assert.doesNotMatch(error.message, /\n/);
    assert.match(error.message, pattern);
    return true;
  };
}

describe("the machine", () => {
  it("must have glibc", () => {
    assert.throws(
      () => checkMachine({ glibc: undefined }),
      saying(/C library is not glibc.*Use a glibc system/),
    );
  });

  it("must have glibc 2.27", () => {
    assert.throws(() => checkMachine({ glibc: "2.17" }), saying(/glibc 2\.17 is too old.*2\.27/));
  });

  it("must have AVX", () => {
    assert.throws(() => checkMachine({ glibc: "2.36", flags: new Set(["sse2"]) }), saying(/no AVX/));
  });

  it("passes with glibc 2.27 and AVX", () => {
    assert.deepEqual(checkMachine({ glibc: "2.27", flags: new Set(["avx"]) }), { glibcMinor: 27 });
  });
});

describe("the compiler", () => {
  it("is missing: the error says how to install one", async () => {
    await assert.rejects(
      findCompiler({ PATH: pathWith({}) }),
      saying(/no C\+\+ compiler.*apt install g\+\+.*CXX=/),
    );
  });

  it("is clang++ where there is no g++", async () => {
    const { version } = await findCompiler({ PATH: pathWith({ "clang++": "echo clang version 17" }) });
    assert.equal(version, "clang version 17");
  });

  it("is the one that CXX names, with its arguments", async () => {
    const PATH = pathWith({ ccache: 'echo "$@"', "g++": "echo g++ 12" });
    const { version, args } = await findCompiler({ PATH, CXX: "ccache g++-14" });
    assert.equal(version, "g++-14 --version");
    assert.deepEqual(args, ["g++-14"]);
  });
});

describe("Python", () => {
  it("is missing: the error says how to install it", async () => {
    await assert.rejects(
      findPython({ PATH: pathWith({}) }),
      saying(/no python3 on PATH.*apt install python3 python3-pip/),
    );
  });

  it("has no pip: the error says how to install it", async () => {
    const PATH = pathWith({
      python3: "echo True; echo \"ModuleNotFoundError: No module named 'pip'\" >&2; exit 1",
    });
    await assert.rejects(findPython({ PATH }), saying(/has no pip.*python3-pip.*ensurepip/));
  });

  it("is too old", async () => {
    const PATH = pathWith({ python: "echo False; exit 1" });
    await assert.rejects(findPython({ PATH }), saying(/older than Python 3\.7/));
  });

  it("is the first that has pip", async () => {
    const PATH = pathWith({ python3: "echo True; exit 1", python: "echo True; echo pip 24.0" });
    assert.equal((await findPython({ PATH })).python, join(PATH, "python"));
  });
});

describe("npm", () => {
  it("is the one that started us, even if it is not on PATH", () => {
    const script = join(folder, "npm-cli.js");
    writeFileSync(script, "");
    assert.deepEqual(findNpm({ PATH: "", npm_execpath: script }), [process.execPath, script]);
  });

  it("is not the other package manager that started us", () => {
    const script = join(folder, "pnpm.cjs");
    writeFileSync(script, "");
    const PATH = pathWith({ npm: "" });
    assert.deepEqual(findNpm({ PATH, npm_execpath: script }), [join(PATH, "npm")]);
  });

  it("does not inherit options of the outer npm that change what is installed, but does inherit the registry", () => {
    const outer = {
      npm_config_omit: "dev",
      npm_config_global: "true",
      npm_config_loglevel: "silent",
      npm_lifecycle_event: "train",
      npm_config_registry: "r",
      HOME: "h",
    };
    const { PATH: _path, ...rest } = cleanEnvironment(outer);
    assert.deepEqual(rest, { npm_config_registry: "r", HOME: "h" });
  });
});

describe("the cache folder", () => {
  it("is MUSICGEN_CACHE_DIR, else XDG_CACHE_HOME/musicgen-tfjs, else ~/.cache/musicgen-tfjs", () => {
    assert.equal(cacheFolder({ MUSICGEN_CACHE_DIR: "/a", XDG_CACHE_HOME: "/b", HOME: "/c" }), "/a");
    assert.equal(cacheFolder({ XDG_CACHE_HOME: "/b", HOME: "/c" }), "/b/musicgen-tfjs");
    assert.equal(cacheFolder({ XDG_CACHE_HOME: "relative", HOME: "/c" }), "/c/.cache/musicgen-tfjs");
  });

  it("that cannot be made is an error that names it", () => {
    const file = join(folder, "file");
    writeFileSync(file, "");
    assert.throws(() => checkCacheFolder(join(file, "cache")), saying(/file\/cache.*MUSICGEN_CACHE_DIR/));
  });

  it("without enough space is an error with both sizes, and what is needed on one disk is added up", () => {
    assert.throws(() => checkSpace([[folder, 1e15]]), saying(/needs about 1000000\.0 GB and .* free/));
    assert.throws(
      () =>
        checkSpace([
          [folder, 6e14],
          [tmpdir(), 6e14],
        ]),
      saying(/1200000\.0 GB/),
    );
    checkSpace([[folder, 1]]);
  });
});

describe("the TensorFlow variant", () => {
  it("is as asked by option, before the environment", async () => {
    const env = { MUSICGEN_TENSORFLOW: "gpu", PATH: "" };
    assert.deepEqual(await chooseVariant({ asked: "cpu", env }), { variant: "cpu", chosen: true });
    assert.deepEqual(await chooseVariant({ env }), { variant: "gpu", chosen: true });
  });

  it("is gpu where nvidia-smi answers", async () => {
    const answer = await chooseVariant({ env: { PATH: pathWith({ "nvidia-smi": "exit 0" }) } });
    assert.deepEqual(answer, { variant: "gpu", chosen: false });
  });

  it("is refused if it is no variant", async () => {
    await assert.rejects(
      chooseVariant({ env: { MUSICGEN_TENSORFLOW: "tpu" } }),
      saying(/'tpu'.*'cpu' or 'gpu'/),
    );
  });

  it("gpu takes the CUDA packages of the extra and-cuda, with their ranges", () => {
    const metadata = [
      "Requires-Dist: numpy>=1.26.0",
      'Requires-Dist: nvidia-cublas-cu12<13.0,>=12.5.3.2; extra == "and-cuda"',
      'Requires-Dist: nvidia-nccl-cu12 (<3.0,>=2.27.7) ; extra == "and-cuda"',
      'Requires-Dist: nvidia-other-cu12<1.0; extra == "other"',
    ].join("\n");
    assert.deepEqual(cudaRequirements(metadata), [
      "nvidia-cublas-cu12<13.0,>=12.5.3.2",
      "nvidia-nccl-cu12<3.0,>=2.27.7",
    ]);
  });
});
