/** The hang detector. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

const folder = mkdtempSync(join(tmpdir(), "musicgen-watchdog-"));
test.after(() => rmSync(folder, { recursive: true, force: true }));

/** A process that is watched for 1 s without progress and then does `what`. */
function watched(what: string) {
  const module = new URL("../../src/solvers/watchdog.ts", import.meta.url).href;
  const file = join(folder, "deadlock.txt");
  const code = `
    const { Watchdog } = await import(${JSON.stringify(module)});
    const watchdog = new Watchdog({ seconds: 1, file: ${JSON.stringify(file)} });
    watchdog.beat("batch");
    ${what}`;
  const args = ["--import", "tsx", "--input-type=module", "-e", code];
  const { signal, status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 20000 });
  return { signal, status, stderr, file };
}

test("a process that spins is killed, and the report names the function in which it spins and the last progress", () => {
  const { signal, stderr, file } = watched("function spinForever() { for (;;) {} } spinForever();");
  assert.equal(signal, "SIGKILL");
  assert.match(stderr, /no progress for 1 s .*since: batch/);
  assert.match(stderr, /at spinForever/);
  assert.match(readFileSync(file, "utf8"), /at spinForever/);
});

test("a process that waits for an event that never comes is killed, and the report says what it waits for", () => {
  const { signal, stderr } = watched("setInterval(() => {}, 60_000); await new Promise(() => {});");
  assert.equal(signal, "SIGKILL");
  assert.match(stderr, /it waits for events \(active: .*Timeout/);
});

test("signs of progress keep a process alive", () => {
  const { status } = watched(`
    for (let i = 0; i < 8; i++) { await new Promise((r) => setTimeout(r, 250)); watchdog.beat("step"); }
    await watchdog.close();`);
  assert.equal(status, 0);
});
