import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { EventEmitter } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { mergeRepeatedSignals } from "../../scripts/launch/interrupts.mjs";
import { selectTests } from "../../scripts/launch/tests.mjs";

const launcher = fileURLToPath(new URL("../../scripts/launch.mjs", import.meta.url));
const endings = fileURLToPath(new URL("../../scripts/launch/endings.mjs", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "musicgen-launch-"));
after(() => rmSync(folder, { recursive: true }));

const node = (args: string[], input?: string) =>
  spawnSync(process.execPath, args, { encoding: "utf8", input });

/** The launcher as a machine with other properties would run it. */
function launchOn(change: string) {
  const preload = join(folder, `${change.length}.cjs`);
  writeFileSync(preload, change);
  return node(["--require", preload, launcher, "doctor"]);
}

describe("the launcher", () => {
  it("names the commands if there is no such command", () => {
    const { status, stderr } = node([launcher, "trian"]);
    assert.equal(status, 1);
    assert.match(stderr, /^error: there is no command 'trian'\. Commands: .*doctor.*setup.*test.*\n$/);
  });

  for (const [version, word] of [
    ["18.20.0", "old"],
    ["20.5.1", "old"],
    ["27.0.0", "new"],
  ]) {
    it(`refuses Node ${version} as too ${word} in one line`, () => {
      const { status, stderr } = launchOn(
        `Object.defineProperty(process, "versions", { value: { ...process.versions, node: "${version}" } })`,
      );
      assert.equal(status, 1);
      assert.match(
        stderr,
        new RegExp(`^error: Node ${version} is too ${word} .*Install Node 20\\.6 to 26.*\\n$`),
      );
    });
  }

  for (const [property, value] of [
    ["platform", "darwin"],
    ["arch", "arm64"],
  ]) {
    it(`refuses ${property} ${value} in one line`, () => {
      const { status, stderr } = launchOn(
        `Object.defineProperty(process, "${property}", { value: "${value}" })`,
      );
      assert.equal(status, 1);
      assert.match(
        stderr,
        new RegExp(`^error: musicgen-tfjs runs on Linux x64, and this is .*${value}.*\\n$`),
      );
    });
  }

  it("is readable for an old Node: no import statement, optional chaining or top-level await in the first file", () => {
    assert.doesNotMatch(readFileSync(launcher, "utf8"), /^import |\?\.|\?\?|^await |node:/m);
  });
});

describe("an error at the end of a command", () => {
  const reporting = (error: string) =>
    node([
      "--input-type=module",
      "-e",
      `import { report } from "${endings}"; process.exit(report(${error}))`,
    ]);

  it("of the user is one line without a stack", () => {
    const { status, stderr } = reporting(
      'Object.assign(new Error("no such manifest"), { name: "UserError" })',
    );
    assert.equal(status, 1);
    assert.equal(stderr, "error: no such manifest\n");
  });

  it("of ours has its stack and asks for a report", () => {
    const { status, stderr } = reporting('new TypeError("x is undefined")');
    assert.equal(status, 1);
    assert.match(stderr, /^TypeError: x is undefined\n\s+at /);
    assert.match(stderr, /please report it/);
  });

  it("is not caused by a reader that closes our output", () => {
    const script = `import { ignoreClosedPipe } from "${endings}"; ignoreClosedPipe();
      for (let i = 0; i < 20000; i++) console.log("line " + i);
      console.error("done");`;
    const shell = `"$0" --input-type=module -e "$1" | head -n 1`;
    const { stdout, stderr } = spawnSync("sh", ["-c", shell, process.execPath, script], { encoding: "utf8" });
    assert.equal(stdout, "line 0\n");
    assert.equal(stderr, "done\n");
  });
});

describe("Ctrl-C under npm", () => {
  function received(times: number[], event = "SIGINT"): number {
    const target = new EventEmitter();
    let time = 0;
    let count = 0;
    mergeRepeatedSignals(target, () => time);
    target.on(event, () => count++);
    for (time of times) target.emit(event);
    return count;
  }

  it("is one signal, though the terminal and npm both send it", () => {
    assert.equal(received([1000, 1003]), 1);
  });

  it("is two signals if pressed twice", () => {
    assert.equal(received([1000, 1003, 2000, 2003]), 2);
  });

  it("leaves other events alone", () => {
    assert.equal(received([1000, 1001], "message"), 2);
  });
});

describe("npm test", () => {
  const root = join(folder, "checkout");
  for (const name of ["a", "b"]) {
    mkdirSync(join(root, "test", name), { recursive: true });
    writeFileSync(join(root, "test", name, `${name}.test.ts`), "");
    writeFileSync(join(root, "test", name, "data.ts"), "");
  }

  it("runs every test file", () => {
    assert.deepEqual(selectTests(root, []).files, ["test/a/a.test.ts", "test/b/b.test.ts"]);
  });

  it("runs those whose path contains a filter, and passes options on", () => {
    const { files, options } = selectTests(root, ["test/b", "--test-only"]);
    assert.deepEqual(files, ["test/b/b.test.ts"]);
    assert.deepEqual(options, ["--test-only"]);
  });

  it("refuses a filter that matches nothing", () => {
    assert.throws(() => selectTests(root, ["nothing"]), /no test file matches nothing/);
  });
});
