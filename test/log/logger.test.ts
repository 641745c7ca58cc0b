/** Log lines on the terminal and in the file. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { UserError } from "../../src/errors.ts";
import { LiveLine } from "../../src/log/live_line.ts";
import { createLogger } from "../../src/log/logger.ts";

const folder = mkdtempSync(join(tmpdir(), "logger-"));
after(() => rmSync(folder, { recursive: true }));

/** A stream that remembers. */
function recorder(isTTY: boolean, columns = 80) {
  const written: string[] = [];
  return {
    isTTY,
    columns,
    written,
    write: (text: string) => written.push(text),
    text: () => written.join(""),
  };
}

const TIME = "\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d";

test("a file gets AudioCraft's lines, without colours, at once", () => {
  const file = join(folder, "xps/sig/solver.log.0");
  const logger = createLogger({ name: "flashy.solver", level: "INFO", file, terminal: null });
  logger.info("\x1b[1mTrain Summary | Epoch 3 | ce=5.123\x1b[0m");
  logger.named("dora").warn("low disk");
  logger.error("failed");
  logger.debug("not shown");
  const lines = readFileSync(file, "utf8").split("\n");
  assert.match(
    lines[0],
    new RegExp(`^\\[${TIME}\\]\\[flashy\\.solver\\]\\[INFO\\] - Train Summary \\| Epoch 3 \\| ce=5\\.123$`),
  );
  assert.match(lines[1], new RegExp(`^\\[${TIME}\\]\\[dora\\]\\[WARNING\\] - low disk$`));
  assert.match(lines[2], new RegExp(`^\\[${TIME}\\]\\[flashy\\.solver\\]\\[ERROR\\] - failed$`));
  assert.deepEqual(lines.slice(3), [""]);
  logger.close();
});

test("the time is the local time of the line", () => {
  const stream = recorder(false);
  const before = new Date();
  createLogger({ terminal: new LiveLine(stream, {}) }).info("x");
  const [, month, day, hour] = /^\[(\d\d)-(\d\d) (\d\d):/.exec(stream.text()) ?? [];
  const times = [before, new Date()].map((date) =>
    [date.getMonth() + 1, date.getDate(), date.getHours()].join(),
  );
  assert.ok(times.includes([month, day, hour].map(Number).join()));
});

test("a resumed run appends to its log", () => {
  const file = join(folder, "append.log");
  for (const message of ["first", "second"]) {
    const logger = createLogger({ file, terminal: null });
    logger.info(message);
    logger.close();
  }
  assert.match(readFileSync(file, "utf8"), /- first\n.*- second\n$/);
});

test("a terminal gets colours, a pipe or NO_COLOR does not", () => {
  const say = (isTTY: boolean, env: NodeJS.ProcessEnv) => {
    const stream = recorder(isTTY);
    createLogger({ terminal: new LiveLine(stream, env) }).info("\x1b[1mbold\x1b[0m");
    return stream.text();
  };
  assert.ok(say(true, {}).endsWith("[\x1b[32mINFO\x1b[0m] - \x1b[1mbold\x1b[0m\n"));
  assert.match(say(false, {}), new RegExp(`^\\[${TIME}\\]\\[musicgen\\]\\[INFO\\] - bold\n$`));
  assert.match(say(true, { NO_COLOR: "1" }), /\[INFO\] - bold\n$/);
});

test("the stack of an error follows its message", () => {
  const stream = recorder(false);
  createLogger({ terminal: new LiveLine(stream, {}) }).error("the step failed", new RangeError("too large"));
  assert.match(stream.text(), /\[ERROR\] - the step failed\n[\s\S]*RangeError: too large\n[\s\S]*at /);
});

test("the level hides what is below it", () => {
  const stream = recorder(false);
  const logger = createLogger({ level: "warning", terminal: new LiveLine(stream, {}) });
  logger.info("hidden");
  logger.warn("shown");
  assert.match(stream.text(), /^[^\n]*shown\n$/);
});

test("lines are printed above a live line, which stays at the bottom", () => {
  const stream = recorder(true);
  const line = new LiveLine(stream, {});
  line.update("50 %");
  line.print("message\n");
  line.clear();
  assert.deepEqual(stream.written, ["\r\x1b[2K50 %", "\r\x1b[2Kmessage\n50 %", "\r\x1b[2K"]);
});

test("a live line is cut to the width of the terminal, and is not written where there is none", () => {
  const narrow = recorder(true, 10);
  new LiveLine(narrow, {}).update("0123456789abc");
  assert.equal(narrow.text(), "\r\x1b[2K012345678");
  for (const [isTTY, env] of [
    [false, {}],
    [true, { TERM: "dumb" }],
  ] as const) {
    const none = recorder(isTTY);
    new LiveLine(none, env).update("x");
    assert.equal(none.text(), "");
  }
});

test("a disk that is full costs the log, not the run", { skip: !existsSync("/dev/full") }, () => {
  const stream = recorder(false);
  const logger = createLogger({ file: "/dev/full", terminal: new LiveLine(stream, {}) });
  logger.info("one");
  logger.info("two");
  assert.equal(stream.text().match(/cannot write the log any more: ENOSPC/g)?.length, 1);
  assert.match(stream.text(), /- one\n[\s\S]*- two\n/);
});

test("an unknown level and a file that cannot be opened are user errors", () => {
  assert.throws(
    () => createLogger({ level: "loud" }),
    (error) => error instanceof UserError && /"loud"; known levels: debug, info/.test(error.message),
  );
  writeFileSync(join(folder, "plain"), "");
  assert.throws(() => createLogger({ file: join(folder, "plain/log"), terminal: null }), UserError);
});
