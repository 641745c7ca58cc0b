import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, beforeEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { acquireLock } from "../../scripts/setup/lock.mjs";

const folder = mkdtempSync(join(tmpdir(), "musicgen-lock-"));
const path = join(folder, "a.lock");
const lockModule = new URL("../../scripts/setup/lock.mjs", import.meta.url).href;
after(() => rmSync(folder, { recursive: true }));
beforeEach(() => {
  for (const name of readdirSync(folder)) rmSync(join(folder, name));
});

const quick = { pollEvery: 10 };

/** The lock's content as another holder would have written it. */
async function contentOf(changes: object): Promise<string> {
  const release = await acquireLock(path);
  const content = JSON.parse(readFileSync(path, "utf8"));
  release();
  return JSON.stringify({ ...content, ...changes });
}

async function isTakenWithin(milliseconds: number, options: object = {}): Promise<boolean> {
  const taking = acquireLock(path, { ...quick, ...options }) as Promise<() => void>;
  const taken = await Promise.race([taking.then(() => true), sleep(milliseconds, false)]);
  if (!taken) rmSync(path, { force: true }); // let the waiter through
  (await taking)();
  return taken;
}

describe("the set-up lock", () => {
  it("makes a second taker wait until it is given back, and says who holds it", async () => {
    const release = await acquireLock(path);
    const order: string[] = [];
    const second = acquireLock(path, {
      ...quick,
      onWait: (holder: { pid: number }) => order.push(`waits for ${holder.pid}`),
    });
    const taken = second.then((releaseSecond: () => void) => {
      order.push("second");
      releaseSecond();
    });
    await sleep(60);
    order.push("first gives back");
    release();
    await taken;
    assert.deepEqual(order, [`waits for ${process.pid}`, "first gives back", "second"]);
  });

  it("leaves nothing behind when given back", async () => {
    (await acquireLock(path))();
    assert.deepEqual(readdirSync(folder), []);
  });

  it("is taken over from a dead process", async () => {
    const { pid } = spawnSync("true");
    writeFileSync(path, await contentOf({ pid }));
    assert.equal(await isTakenWithin(500), true);
  });

  it("is taken over when the holder's process id now belongs to another process", async () => {
    writeFileSync(path, await contentOf({ started: "1" }));
    assert.equal(await isTakenWithin(500), true);
  });

  it("is respected while the holder on this machine lives, however long it is not refreshed", async () => {
    writeFileSync(path, await contentOf({}));
    assert.equal(await isTakenWithin(150, { staleAfter: 20 }), false);
  });

  it("is taken over from another machine that no longer refreshes it", async () => {
    writeFileSync(path, await contentOf({ machine: "elsewhere", pid: 1 }));
    assert.equal(await isTakenWithin(1000, { staleAfter: 50 }), true);
  });

  it("is respected while another machine refreshes it, whatever that machine's clock says", async () => {
    writeFileSync(path, await contentOf({ machine: "elsewhere", pid: 1 }));
    let time = 1000;
    const refreshing = setInterval(() => existsSync(path) && utimesSync(path, ++time, time), 10);
    assert.equal(await isTakenWithin(400, { staleAfter: 150 }), false);
    clearInterval(refreshing);
  });

  it("is taken over when its content is damaged and does not change", async () => {
    writeFileSync(path, "{ half");
    assert.equal(await isTakenWithin(1000, { staleAfter: 50 }), true);
  });

  it("never has two holders when several processes find it stale at once", async () => {
    const { pid } = spawnSync("true");
    writeFileSync(path, await contentOf({ pid }));
    // Each process makes a file that must not exist while it holds the lock, five times over.
    const script = `
      import { rmSync, writeFileSync } from "node:fs";
      import { acquireLock } from ${JSON.stringify(lockModule)};
      for (let i = 0; i < 5; i++) {
        const release = await acquireLock(${JSON.stringify(path)}, { pollEvery: 1 });
        writeFileSync(${JSON.stringify(join(folder, "inside"))}, "", { flag: "wx" });
        rmSync(${JSON.stringify(join(folder, "inside"))});
        release();
      }`;
    const codes = Array.from({ length: 4 }, () => {
      const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "ignore" });
      return new Promise((resolve) => child.on("exit", resolve));
    });
    assert.deepEqual(await Promise.all(codes), [0, 0, 0, 0]);
  });

  it("is given back when the holder's process exits without doing so", async () => {
    const script = `import { acquireLock } from ${JSON.stringify(lockModule)}; await acquireLock(${JSON.stringify(path)}); process.exit(0);`;
    spawnSync(process.execPath, ["--input-type=module", "-e", script]);
    assert.ok(!existsSync(path));
  });
});
