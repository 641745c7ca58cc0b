/** What `profiler.enabled=true` leaves in an experiment's folder. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { decodeXSpace } from "../../src/runtime/xspace.ts";
import { UpdateProfiler } from "../../src/solvers/profiler.ts";
import { experiment, makeData, run, small } from "./whole_runs.ts";

before(makeData);

test("updates 4 to 6 are recorded: a trace with the step's ops and the main thread's phases, a table, TensorBoard's file", async () => {
  const result = await run("profiled", "train", [...small, "optim.epochs=1", "profiler.enabled=true"]);
  assert.equal(result.code, 0, result.output);
  assert.match(result.output, /profile of updates 4 to 6: .*updates_4-6\.trace\.json\.gz/);
  assert.match(result.output, /most time on the host: (\w+ \d+\.\d%, ){4}\w+ \d+\.\d%/);
  const folder = join(experiment("profiled"), "profile");

  const trace = gunzipSync(readFileSync(join(folder, "updates_4-6.trace.json.gz"))).toString();
  const complete: Record<string, never>[] = JSON.parse(trace).traceEvents.filter(
    ({ ph }: { ph: string }) => ph === "X",
  );
  const count = (name: string) => complete.filter((event) => event.name === name).length;
  for (const name of ["update 4", "update 5", "update 6"]) assert.equal(count(name), 1, name);
  for (const name of ["data wait", "codec", "train step", "log and checkpoint"])
    assert.equal(count(name), 3, name);
  assert.ok(count("conditions") >= 3);
  const inStep = complete.filter(({ args }) => /^train_step/.test((args as Record<string, string>).function));
  assert.ok(inStep.some(({ name }) => /MatMul/.test(name)));

  assert.match(
    readFileSync(join(folder, "updates_4-6.ops.txt"), "utf8"),
    /^(BatchMatMulV2|MgMatMul|MgLinear) +\d+ +\d+\.\d{3} /m,
  );
  const sent = join(folder, "plugins", "profile", "updates_4-6");
  const [file] = readdirSync(sent);
  assert.match(file, /\.xplane\.pb$/);
  const { planes } = decodeXSpace(readFileSync(join(sent, file)));
  assert.ok(planes.some(({ name }) => name === "/host:CPU"));
});

test("of a run with fewer updates than the warm-up has, the last one is recorded", async () => {
  const args = [...small, "optim.epochs=1", "optim.updates_per_epoch=2", "profiler.enabled=true"];
  const result = await run("short", "train", args);
  assert.equal(result.code, 0, result.output);
  assert.match(result.output, /profile of updates 2 to 2: /);
});

test("an epoch that ends or a run that stops after the second recorded update leaves a trace of these two", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "musicgen-profile-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const said: string[] = [];
  const log = { info: (text: string) => said.push(text), warn: (text: string) => said.push(text) };
  const profiler = new UpdateProfiler(folder, log as never, 10);
  for (let update = 21; update <= 25; update++) {
    profiler.begin(update);
    profiler.done();
  }
  profiler.begin(26);
  profiler.finish();
  profiler.begin(27); // nothing is recorded twice
  profiler.finish();
  assert.match(said.join("\n"), /^profile of updates 24 to 25: [^\n]*$/);
  assert.deepEqual(readdirSync(folder), ["plugins", "updates_24-25.ops.txt", "updates_24-25.trace.json.gz"]);
});
