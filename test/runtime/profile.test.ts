/** What a profile promises: every op with its time, in each mode, as JSON that trace viewers open, and summed up. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type ChromeEvent, chromeTrace } from "../../src/runtime/chrome_trace.ts";
import { jit, type Tensor, tf } from "../../src/runtime/index.ts";
import { opTable, opTimes } from "../../src/runtime/op_times.ts";
import type { JitMode } from "../../src/runtime/options.ts";
import { profile, type Trace } from "../../src/runtime/profile.ts";
import type { Span } from "../../src/runtime/timeline.ts";

function profileProduct(mode: JitMode): Trace {
  const product = jit((x: Tensor) => tf.tanh(tf.matMul(x as never, x as never)), { name: "product", mode });
  const x = tf.ones([512, 512]) as Tensor;
  product(x).dataSync(); // traces
  return profile((phase) => {
    phase("first");
    product(x).dataSync();
    phase("second");
    product(x).dataSync();
  });
}

const spans = (trace: Trace) => trace.lanes.flatMap((lane) => lane.spans);
const products = (trace: Trace) =>
  spans(trace).filter(({ args }) => /^(BatchMatMulV2|MgMatMul)$/.test(String(args.type)));

for (const mode of ["none", "graph", "xla"] as const) {
  test(`jit=${mode}: both runs of tf.matMul are seen, within the phase that ran them, with their durations`, () => {
    const trace = profileProduct(mode);
    const phases = spans(trace).filter(({ kind }) => kind === "phase");
    assert.deepEqual(
      phases.map(({ name }) => name),
      ["first", "second"],
    );
    // lane by lane: each run may have had another thread
    const found = products(trace).sort((a, b) => a.start - b.start);
    assert.equal(found.length, 2);
    for (const [i, op] of found.entries()) {
      assert.equal(op.kind, "op");
      assert.ok(op.duration > 0);
      assert.ok(within(op, phases[i]), `${op.start} in ${phases[i].start} + ${phases[i].duration}`);
    }
  });
}

test("an op of a jitted function has the function's name, and its own in TensorFlow's graph or XLA's program", () => {
  const [inGraph] = products(profileProduct("graph"));
  assert.match(String(inGraph.args.function), /^product_\d+$/);
  assert.match(String(inGraph.args.node), /^(BatchMatMulV2|MgMatMul)_\d+$/);
  const [compiled] = products(profileProduct("xla"));
  assert.match(String(compiled.args.function), /^product_\d+$/);
  assert.match(String(compiled.args.hlo), /\w/);
});

test("the Chrome trace is JSON of complete events, whose lanes and processes have names", () => {
  const traceEvents: ChromeEvent[] = JSON.parse(chromeTrace(profileProduct("graph"))).traceEvents;
  const complete = traceEvents.filter(({ ph }) => ph === "X");
  assert.ok(complete.some(({ name, cat }) => /^(BatchMatMulV2|MgMatMul)$/.test(name) && cat === "op"));
  for (const event of complete) {
    for (const field of ["ts", "dur", "pid", "tid"] as const)
      assert.equal(typeof event[field], "number", field);
    const named = (kind: string) =>
      traceEvents.some((other) => other.name === kind && other.pid === event.pid);
    assert.ok(named("process_name") && named("thread_name"));
  }
  assert.ok(traceEvents.some(({ ph, args }) => ph === "C" && Number(args?.resident) > 0));
});

test("spans of a lane are nested or apart, as trace viewers need them", () => {
  for (const { spans } of profileProduct("graph").lanes) {
    const open: Span[] = [];
    for (const span of spans) {
      while (open.length > 0 && end(open[open.length - 1]) <= span.start) open.pop();
      if (open.length > 0) assert.ok(within(span, open[open.length - 1], 0.01), span.name);
      open.push(span);
    }
  }
});

test("time of an op inside another counts once: the table's shares add up to 1", () => {
  const op = (type: string, start: number, duration: number): Span => ({
    name: type,
    kind: "op",
    start,
    duration,
    args: { type },
  });
  const lanes = [{ process: "host", name: "a", spans: [op("While", 0, 9000), op("Mul", 1000, 6000)] }];
  const times = opTimes({ lanes }).map(({ type, total }) => [type, total]);
  assert.deepEqual(times, [
    ["Mul", 6],
    ["While", 3],
  ]);
  assert.match(
    opTable({ lanes }),
    /Mul +1 +6\.000 +66\.7%\nWhile +1 +3\.000 +33\.3%\nall +2 +9\.000 +100\.0%/,
  );
});

test("of devices, kernels are counted, and before the host's ops", () => {
  const span = { name: "gemm", kind: "op" as const, start: 0, duration: 5, args: { type: "MatMul" } };
  const lanes = ["host", "GPU:0"].map((process) => ({ process, name: "a", spans: [span] }));
  assert.deepEqual(
    opTimes({ lanes }).map(({ process }) => process),
    ["GPU:0", "host"],
  );
});

test("a failure in the profiled function ends the recording, and the next one works", () => {
  assert.throws(
    () =>
      profile(() => {
        throw new Error("wrong");
      }),
    /wrong/,
  );
  assert.equal(products(profileProduct("graph")).length, 2);
});

test("a second recording at the same time is refused", () => {
  profile(() => assert.throws(() => profile(() => {}), /already running/));
});

function end({ start, duration }: Span): number {
  return start + duration;
}

/** With some microseconds of tolerance, because two clocks are compared. */
function within(inner: Span, outer: Span, tolerance = 500): boolean {
  return inner.start >= outer.start - tolerance && end(inner) <= end(outer) + tolerance;
}
