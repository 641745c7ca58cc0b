/** What a timeline is made of, on planes as TensorFlow's profiler writes them for a GPU. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { readPlanes } from "../../src/runtime/timeline.ts";
import { decodeXSpace, type Stats, type XEvent, type XPlane } from "../../src/runtime/xspace.ts";

function event(name: string, stats: Stats, fullName = name): XEvent {
  return { name, fullName, start: 10, duration: 5, stats };
}

function plane(name: string, events: XEvent[], programs: Uint8Array[] = []): XPlane {
  return { name, stats: {}, lines: [{ name: "Stream #1(Compute)", events }], programs };
}

test("a kernel on a GPU is an op of the device, with the type and name of the op that launched it", () => {
  const { lanes } = readPlanes([plane("/device:GPU:0", [event("sgemm_128", { tf_op: "MatMul_3:MatMul" })])]);
  assert.equal(lanes[0].process, "GPU:0");
  assert.equal(lanes[0].name, "Stream #1(Compute)");
  const [{ name, kind, args }] = lanes[0].spans;
  assert.deepEqual(
    { name, kind, type: args.type, node: args.node },
    {
      name: "sgemm_128",
      kind: "op",
      type: "MatMul",
      node: "MatMul_3",
    },
  );
});

test("an instruction of XLA has the type that its program names, and the jitted function of its module", () => {
  const program = new BinaryWriter(); // HloProto { hlo_module { name, computations { instructions { name, metadata } } } }
  program.tag(1, 2).fork().tag(1, 2).string("step_1__XlaMustCompile_true_.5").tag(3, 2).fork();
  program.tag(2, 2).fork().tag(1, 2).string("fusion.7");
  program.tag(7, 2).fork().tag(1, 2).string("Softmax").join().join().join().join();
  const stats = { hlo_op: "fusion.7", hlo_module: "step_1__XlaMustCompile_true_.5" };
  const { lanes } = readPlanes([
    plane("/host:metadata", [], [program.finish()]),
    plane("/device:GPU:0", [event("loop_fusion_7", stats)]),
  ]);
  assert.deepEqual(lanes[0].spans[0].args, { type: "Softmax", hlo: "fusion.7", function: "step_1" });
});

test("what an allocator has given out is a counter, not a span", () => {
  const stats = { allocator_name: "GPU_0_bfc", bytes_allocated: 4096, bytes_reserved: 0 };
  const { lanes, counters } = readPlanes([plane("/host:CPU", [event("MemoryAllocation", stats)])]);
  assert.deepEqual(lanes, []);
  const values = { allocated: 4096, reserved: 0 };
  assert.deepEqual(counters, [{ process: "host", name: "memory of GPU_0_bfc", time: 10, values }]);
});

test("times are decoded in microseconds: a line's start in nanoseconds, an event's offset and duration in picoseconds", () => {
  const space = new BinaryWriter();
  space.tag(1, 2).fork().tag(2, 2).string("/host:CPU"); // XPlane
  space.tag(4, 2).fork().tag(1, 0).int64(1).tag(2, 2).fork().tag(1, 0).int64(1);
  space.tag(2, 2).string("Mul_4:Mul").tag(4, 2).string("Mul").join().join();
  space.tag(3, 2).fork().tag(2, 2).string("node").tag(3, 0).int64(2_000); // XLine
  space.tag(4, 2).fork().tag(1, 0).int64(1).tag(2, 0).int64(3_000_000).tag(3, 0).int64(500_000).join().join();
  space.join();
  space.tag(2, 2).string("no CUPTI");
  const { planes, notices } = decodeXSpace(space.finish());
  const [{ name, fullName, start, duration }] = planes[0].lines[0].events;
  assert.deepEqual(
    { name, fullName, start, duration },
    { name: "Mul", fullName: "Mul_4:Mul", start: 5, duration: 0.5 },
  );
  assert.deepEqual(notices, ["no CUPTI"]);
});
