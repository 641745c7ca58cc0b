// A lock between processes: one file, made in one step, that says who holds it.
//
// The holder's entry in the file system is refreshed every two seconds. A lock is stale if its process is gone (same machine)
// or if it was not refreshed for a minute as the waiting process sees it, so clocks of other machines do not matter.
import { randomUUID } from "node:crypto";
import {
  linkSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

const refreshEvery = 2_000; // ms

/**
 * Takes the lock at `path`, waiting for whoever holds it. `onWait(holder)` is called once per holder waited for.
 * Resolves to a function that gives the lock back.
 */
export async function acquireLock(path, { onWait = () => {}, pollEvery = 250, staleAfter = 60_000 } = {}) {
  const mine = JSON.stringify({
    pid: process.pid,
    started: startTime(process.pid),
    machine: machine(),
    host: hostname(),
    id: randomUUID(),
  });
  let seen = { content: undefined, refreshed: 0, since: 0 };
  let told;
  while (!create(path, mine)) {
    const held = look(path);
    if (held === undefined) continue; // given back just now
    if (held.content !== seen.content || held.refreshed !== seen.refreshed)
      seen = { ...held, since: performance.now() };
    if (isStale(held.content, performance.now() - seen.since, staleAfter)) {
      removeStale(path, held.content);
      await sleep(50); // another process may be at the same; signals must get through meanwhile
      continue;
    }
    if (told !== held.content) onWait(parse(held.content));
    told = held.content;
    await sleep(pollEvery);
  }
  return holdLock(path, mine);
}

function holdLock(path, mine) {
  const timer = setInterval(() => {
    try {
      utimesSync(path, new Date(), new Date());
    } catch {}
  }, refreshEvery);
  timer.unref();
  const release = () => {
    clearInterval(timer);
    process.removeListener("exit", release);
    if (look(path)?.content === mine) rmSync(path, { force: true });
  };
  process.on("exit", release);
  return release;
}

/** Makes the lock with its content in one step; false if there is one already. */
function create(path, content) {
  const draft = `${path}.${process.pid}.${randomUUID().slice(0, 8)}`;
  try {
    writeFileSync(draft, content);
    linkSync(draft, path);
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    if (["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(error.code))
      return createWithoutLinks(path, content);
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

/** For file systems without hard links. */
function createWithoutLinks(path, content) {
  try {
    writeFileSync(path, content, { flag: "wx" });
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw error;
  }
}

/**
 * Removes a stale lock. Several processes may find it stale at once, and one of them may hold it anew before another acts: so
 * only who holds the guard removes, after another look.
 */
function removeStale(path, content) {
  const guard = `${path}.takeover`;
  if (!create(guard, "")) {
    const age = Date.now() - (statSync(guard, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
    if (age > 30_000) rmSync(guard, { force: true }); // its process died within these few lines
    return;
  }
  try {
    if (look(path)?.content === content) unlinkSync(path);
  } finally {
    rmSync(guard, { force: true });
  }
}

function isStale(content, unchangedFor, staleAfter) {
  const holder = parse(content);
  if (holder.machine === machine()) return startTime(holder.pid) !== holder.started;
  return unchangedFor > staleAfter;
}

function look(path) {
  try {
    return { content: readFileSync(path, "utf8"), refreshed: statSync(path).mtimeMs };
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}

function parse(content) {
  try {
    const { pid, started, machine, host } = JSON.parse(content);
    return { pid, started, machine, host };
  } catch {
    return {}; // not written by us, or cut: stale once it has not changed for a minute
  }
}

/** When a process started, in ticks since boot: with it a reused pid is told apart. Undefined if there is no such process. */
function startTime(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : fields[19]; // a zombie holds nothing
  } catch {
    return undefined;
  }
}

/** Process ids mean the same only within one boot of one machine and one container. */
function machine() {
  try {
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()} ${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return hostname();
  }
}
