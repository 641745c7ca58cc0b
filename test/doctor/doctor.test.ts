import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

const launcher = fileURLToPath(new URL("../../scripts/launch.mjs", import.meta.url));
const doctor = (args: string[], nodeOptions: string[] = []) =>
  spawnSync(process.execPath, [...nodeOptions, launcher, "doctor", ...args], { encoding: "utf8" });

describe("npm run doctor", () => {
  it("passes its numeric checks here, and says so in the exit code and as JSON", () => {
    const { status, stdout, stderr } = doctor(["--json"]);
    const { ok, machine, checks } = JSON.parse(stdout);
    assert.equal(status, 0, stdout + stderr);
    assert.equal(ok, true);
    assert.match(machine.TensorFlow, /^2\.21\.0 \((cpu|gpu)\)/);
    const names = checks.map((check: { name: string }) => check.name);
    assert.deepEqual(names.slice(0, 3), ["TensorFlow loads", "matrix product", "eager, graph and XLA agree"]);
  });

  it("ends with exit code 1 and a FAIL line with the reason when TensorFlow does not load", () => {
    const sabotage = "data:text/javascript,process.dlopen = () => { throw new Error('wrong ELF class') }";
    const { status, stdout } = doctor([], ["--import", sabotage]);
    assert.equal(status, 1);
    assert.match(stdout, /^FAIL {2}TensorFlow loads: .*wrong ELF class/m);
    assert.match(stdout, /Something is wrong.*npm run setup -- --force/);
  });

  it("refuses an option that it does not know, in one line", () => {
    const { status, stderr } = doctor(["--jsn"]);
    assert.equal(status, 1);
    assert.match(stderr, /^error: doctor does not know '--jsn'\. Usage: .*\n$/);
  });
});
