import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { contextConfig } from "../../src/runtime/context_config.ts";
import { checkGpuIsThere, checkGpuNumber, visibleGpus } from "../../src/runtime/gpus.ts";
import { checkedDevice, type RuntimeOptions, runtimeOptions } from "../../src/runtime/options.ts";

const encoded = (changes: Partial<RuntimeOptions>) =>
  fieldsOf(contextConfig({ ...runtimeOptions(), ...changes }));

/** Field numbers and raw values of a message, as any reader of the wire format sees them. */
function fieldsOf(bytes: Uint8Array): Record<number, Uint8Array | number> {
  const reader = new BinaryReader(bytes);
  const fields: Record<number, Uint8Array | number> = {};
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    fields[field] = type === WireType.LengthDelimited ? reader.bytes() : reader.int32();
  }
  return fields;
}

const gpuOptions = (changes: Partial<RuntimeOptions>) => fieldsOf(encoded(changes)[6] as Uint8Array);
const text = (bytes: Uint8Array | number | undefined) => new TextDecoder().decode(bytes as Uint8Array);

test("device=cpu sets device_count {GPU: 0} and asks nothing of GPUs", () => {
  const config = encoded({ device: "cpu" });
  const entry = fieldsOf(config[1] as Uint8Array);
  assert.equal(text(entry[1]), "GPU");
  assert.equal(entry[2], 0);
  assert.equal(config[6], undefined);
});

test("device=cuda sees the first GPU alone and lets its memory grow", () => {
  const gpu = gpuOptions({ device: "cuda" });
  assert.equal(text(gpu[5]), "0");
  assert.equal(gpu[4], 1);
  assert.equal(gpu[9], undefined);
});

test("device=cuda:3 sees that one", () => assert.equal(text(gpuOptions({ device: "cuda:3" })[5]), "3"));

test("without growth, allow_growth is false", () =>
  assert.equal(gpuOptions({ device: "cuda", gpuMemoryGrowth: false })[4], 0));

test("a memory limit is the size of one virtual device, which may grow up to it", () => {
  const gpu = gpuOptions({ device: "cuda", gpuMemoryLimitMb: 8000 });
  const virtual = fieldsOf(fieldsOf(gpu[9] as Uint8Array)[1] as Uint8Array);
  const packed = virtual[1] as Uint8Array;
  assert.equal(packed.byteLength, 4);
  assert.equal(new DataView(packed.buffer, packed.byteOffset).getFloat32(0, true), 8000);
  assert.equal(gpu[4], 1);
});

test("threads are fields 2 and 5", () => {
  const config = encoded({ intraOpThreads: 3, interOpThreads: 2 });
  assert.deepEqual([config[2], config[5]], [3, 2]);
});

const driver = mkdtempSync(join(tmpdir(), "musicgen-gpus-"));
for (const gpu of ["0000:01:00.0", "0000:02:00.0"]) mkdirSync(join(driver, gpu));
after(() => rmSync(driver, { recursive: true }));

for (const [chosen, count] of [
  [undefined, 2],
  ["1", 1],
  ["0,1", 2],
  ["GPU-5a3f", 1],
  ["", 0],
  ["-1", 0],
  ["1,-1,0", 1],
] as const) {
  test(`of two GPUs, CUDA_VISIBLE_DEVICES=${chosen} leaves ${count}`, () =>
    assert.equal(visibleGpus({ CUDA_VISIBLE_DEVICES: chosen }, driver), count));
}

test("without a driver there is no GPU", () => assert.equal(visibleGpus({}, join(driver, "none")), 0));

test("a GPU that is not there is an error that says which there are", () => {
  assert.throws(() => checkGpuNumber("cuda:2", 2, {}), /device=cuda:2: there are 2 GPUs, cuda:0 to cuda:1/);
  assert.throws(
    () => checkGpuNumber("cuda:1", 1, { CUDA_VISIBLE_DEVICES: "3" }),
    /there is one GPU \(CUDA_VISIBLE_DEVICES=3\): use device=cuda/,
  );
  assert.throws(() => checkGpuNumber("cuda:0", 0, {}), /shows no NVIDIA GPU; use device=cpu/);
  assert.doesNotThrow(() => checkGpuNumber("cuda:1", 2, {}));
});

test("device=cuda, the default, does without a GPU", () => {
  assert.doesNotThrow(() => checkGpuNumber("cuda", 0));
  assert.doesNotThrow(() => checkGpuIsThere("cuda", false));
});

test("a GPU by number that TensorFlow did not take is an error", () =>
  assert.throws(() => checkGpuIsThere("cuda:0", false, {}), /device=cuda:0: /));

test("device=gpu is refused with what there is", () =>
  assert.throws(() => checkedDevice("gpu"), /device=gpu: use cpu, cuda, or cuda:0/));
