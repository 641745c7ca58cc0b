import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";
import { outcomeOf, SmallWorld } from "./small_world.ts";

let world: SmallWorld;
before(async () => {
  world = await SmallWorld.create();
});
after(() => world.remove());

/** Every failure of set-up is progress lines and then one line with the cause. */
function errorLine(stderr: string): string {
  const lines = stderr
    .trim()
    .split("\n")
    .filter((line) => line.startsWith("error: "));
  assert.equal(lines.length, 1, stderr);
  assert.doesNotMatch(stderr, /^\s+at /m, "no stack trace");
  return lines[0]!;
}

describe("set-up of a fresh clone", () => {
  beforeEach(() => {
    rmSync(world.cache, { recursive: true, force: true });
    rmSync(join(world.root, "node_modules"), { recursive: true, force: true });
    world.forgetCalls();
  });

  it("installs, downloads, builds, and writes where things are", async () => {
    const { code, stdout, stderr } = await world.setup();
    assert.equal(code, 0, stderr);
    assert.deepEqual(world.calls(), ["npm", "pip"]);
    const record = JSON.parse(
      readFileSync(join(world.root, "node_modules", ".musicgen", "native.json"), "utf8"),
    );
    assert.equal(record.variant, "cpu");
    assert.equal(record.tensorflowVersion, "2.21.0");
    assert.equal(record.cache, world.cache);
    assert.ok(existsSync(record.native));
    assert.ok(existsSync(join(record.tensorflow, "libtensorflow_framework.so.2")));
    assert.equal(stdout, "", "stdout belongs to the command that follows");
  });

  it("unpacks only libraries and headers, and keeps no wheel", async () => {
    await world.setup();
    const tensorflow = join(world.library, "..");
    assert.deepEqual(readdirSync(tensorflow).sort(), [
      "include",
      "libtensorflow_cc.so.2",
      "libtensorflow_framework.so.2",
    ]);
    assert.deepEqual(readdirSync(join(world.cache, "downloads")), []);
  });

  it("finds nothing to do the second time", async () => {
    await world.setup();
    world.forgetCalls();
    const { code, stderr } = await world.setup();
    assert.equal(code, 0);
    assert.match(stderr, /Nothing to do/);
    assert.deepEqual(world.calls(), []);
  });

  it("uses another clone's TensorFlow and native code from the same cache", async () => {
    await world.setup();
    const before = readdirSync(world.cache).sort();
    world.forgetCalls();
    const second = join(world.folder, "second");
    world.clone(second);
    const { code, stderr } = await world.setup([], { root: second });
    assert.equal(code, 0, stderr);
    assert.deepEqual(world.calls(), ["npm"]);
    assert.deepEqual(readdirSync(world.cache).sort(), before);
    assert.doesNotMatch(stderr, /compiling/);
  });

  it("restores a library that was cut short", async () => {
    await world.setup();
    const size = statSync(world.library).size;
    truncateSync(world.library, 100);
    world.forgetCalls();
    const { code, stderr } = await world.setup();
    assert.equal(code, 0, stderr);
    assert.match(stderr, /libtensorflow_cc.so.2 is missing or damaged/);
    assert.deepEqual(world.calls(), ["pip"]);
    assert.equal(statSync(world.library).size, size);
  });

  it("unpacks anew what a killed run left half unpacked, and takes its finished download", async () => {
    const half = join(world.cache, "tensorflow-2.21.0-cpu.partial", "site-packages", "tensorflow");
    mkdirSync(half, { recursive: true });
    writeFileSync(join(half, "libtensorflow_cc.so.2"), "half a library");
    mkdirSync(join(world.cache, "downloads"));
    writeFileSync(join(world.cache, "downloads", world.wheel.split("/").at(-1)!), readFileSync(world.wheel));
    const { code, stderr } = await world.setup();
    assert.equal(code, 0, stderr);
    assert.deepEqual(world.calls(), ["npm"]);
    assert.notEqual(readFileSync(world.library, "latin1").slice(0, 4), "half");
  });

  it("forgets a half-finished download", async () => {
    mkdirSync(join(world.cache, "downloads", "incoming", "done"), { recursive: true });
    writeFileSync(
      join(world.cache, "downloads", "incoming", "done", "tensorflow_cpu-2.21.0-cp312.whl"),
      "PK half",
    );
    const { code, stderr } = await world.setup();
    assert.equal(code, 0, stderr);
    assert.deepEqual(world.calls(), ["npm", "pip"]);
  });

  it("says that a damaged wheel is damaged, and fetches it anew the next time", async () => {
    mkdirSync(join(world.cache, "downloads"), { recursive: true });
    const damaged = join(world.cache, "downloads", world.wheel.split("/").at(-1)!);
    writeFileSync(damaged, readFileSync(world.wheel).subarray(0, 1000));
    const { code, stderr } = await world.setup();
    assert.equal(code, 1);
    assert.match(errorLine(stderr), /a downloaded file is damaged/);
    assert.equal((await world.setup()).code, 0);
    assert.deepEqual(world.calls(), ["npm", "pip"]);
  });

  it("does the work once when two run at once, and the second says whom it waits for", async () => {
    const env = { SMALL_PIP: "sleep 1" };
    const runs = [world.setup([], { env }), world.setup([], { env })];
    const [first, second] = await Promise.all(runs);
    assert.deepEqual([first!.code, second!.code], [0, 0], first!.stderr + second!.stderr);
    assert.deepEqual(world.calls(), ["npm", "pip"]);
    assert.match(
      first!.stderr + second!.stderr,
      /Another set-up is running \(process \d+ on .+\); waiting for it/,
    );
  });

  it("ends on Ctrl-C with one line, and the next run goes on", async () => {
    const child = world.start([], { env: { SMALL_PIP: "exec sleep 20" } });
    const ended = outcomeOf(child);
    while (!world.calls().includes("pip")) await new Promise((resolve) => setTimeout(resolve, 20));
    child.kill("SIGINT");
    const { code, stderr } = await ended;
    assert.equal(code, 130);
    assert.match(errorLine(stderr), /interrupted.*finished parts are kept/);
    assert.ok(!existsSync(join(world.cache, "setup.lock")));
    world.forgetCalls();
    assert.equal((await world.setup()).code, 0);
    assert.deepEqual(world.calls(), ["pip"]);
  });

  it("says in one line that pip finds no network", async () => {
    const message =
      "NewConnectionError: Failed to establish a new connection; ERROR: No matching distribution found";
    const { code, stderr } = await world.setup([], { env: { SMALL_PIP: `echo '${message}'; exit 1` } });
    assert.equal(code, 1);
    assert.match(
      errorLine(stderr),
      /downloading tensorflow-cpu==2.21.0 failed: no network.*Details: .*\.log/,
    );
  });

  it("says in one line that npm finds no network", async () => {
    const { code, stderr } = await world.setup([], {
      env: { SMALL_NPM: "echo 'npm error code ENOTFOUND'; exit 1" },
    });
    assert.equal(code, 1);
    assert.match(errorLine(stderr), /installing the npm packages failed: no network/);
  });

  it("says in one line that the disk is full", async () => {
    const { stderr } = await world.setup([], {
      env: { SMALL_PIP: "echo 'OSError: [Errno 28] No space left'; exit 1" },
    });
    assert.match(errorLine(stderr), /the disk is full.*MUSICGEN_CACHE_DIR/);
  });

  it("says in one line that native code does not compile, with the compiler's error", async () => {
    const broken = join(world.folder, "broken");
    world.clone(broken);
    writeFileSync(join(broken, "native", "addon.cc"), "int main() { return nothing; }\n");
    const { code, stderr } = await world.setup([], { root: broken });
    assert.equal(code, 1);
    assert.match(errorLine(stderr), /compiling native\/addon.cc failed: .*nothing.*Details/);
  });

  it("makes everything anew with --force", async () => {
    await world.setup();
    world.forgetCalls();
    assert.equal((await world.setup(["--force"])).code, 0);
    assert.deepEqual(world.calls(), ["npm", "pip"]);
  });

  it("refuses an option that it does not know", async () => {
    const { code, stderr } = await world.setup(["--gpus"]);
    assert.equal(code, 1);
    assert.match(errorLine(stderr), /set-up does not know '--gpus'. Usage/);
  });

  it("looks for the tools before it installs anything", async () => {
    const { code, stderr } = await world.setup([], { env: { CXX: "no-such-compiler" } });
    assert.equal(code, 1);
    assert.match(errorLine(stderr), /the compiler that CXX names \(no-such-compiler\) does not run/);
    assert.deepEqual(world.calls(), []);
  });
});
