/** Files that torch.load reads: what is written comes back, laid out as torch.save lays it out. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ByteFile } from "../../src/checkpoint/byte_file.ts";
import type { Dtype, TypedArray } from "../../src/checkpoint/dtypes.ts";
import { type TorchWritable, writeTorchArchive } from "../../src/checkpoint/torch/write.ts";
import { readZipDirectory, readZipEntry } from "../../src/checkpoint/torch/zip.ts";
import { openTorchArchive, openWeights, type TorchTensor } from "../../src/checkpoint/weights.ts";
import { UserError } from "../../src/errors.ts";

const folder = mkdtempSync(join(tmpdir(), "torch-write-"));
after(() => rmSync(folder, { recursive: true }));
const file = (name: string) => join(folder, name);
const golden = (name: string) => fileURLToPath(new URL(`../golden/torch/${name}`, import.meta.url));

const source = (dtype: Dtype, shape: number[], data: TypedArray) => ({ dtype, shape, data: () => data });

function readBack(name: string): Record<string, unknown> {
  const archive = openTorchArchive(file(name));
  archive.close();
  return structuredClone(archive.value) as Record<string, unknown>;
}

test("every dtype, a scalar and an empty tensor come back as they were written", async () => {
  const sources = {
    f32: source("F32", [2, 2], Float32Array.of(1.5, -0, Number.NaN, Number.POSITIVE_INFINITY)),
    f16: source("F16", [2], Uint16Array.of(0x3c00, 0xc000)),
    bf16: source("BF16", [1], Uint16Array.of(0x3f80)),
    f64: source("F64", [1], Float64Array.of(Math.PI)),
    i64: source("I64", [1], BigInt64Array.of(-(2n ** 60n))),
    i32: source("I32", [], Int32Array.of(-7)),
    i16: source("I16", [1], Int16Array.of(-300)),
    i8: source("I8", [1], Int8Array.of(-1)),
    u8: source("U8", [2], Uint8Array.of(1, 255)),
    bool: source("BOOL", [2], Uint8Array.of(0, 1)),
    empty: source("F32", [0, 4], new Float32Array(0)),
  };
  await writeTorchArchive(file("all.bin"), sources);
  const reader = openWeights(file("all.bin"));
  assert.deepEqual([...reader.names], Object.keys(sources));
  for (const [name, { dtype, shape, data }] of Object.entries(sources)) {
    assert.deepEqual([reader.dtype(name), reader.shape(name), reader.read(name)], [dtype, shape, data()]);
  }
  assert.equal(reader.verify(), true);
  reader.close();
});

test("plain values come back: text, whole and other numbers of every size, null, lists, dicts", async () => {
  const numbers = [
    0,
    255,
    256,
    65535,
    65536,
    -1,
    2 ** 31 - 1,
    -(2 ** 31),
    2 ** 31,
    -(2 ** 40),
    2n ** 64n,
    -(2n ** 63n),
    127n,
    -129,
  ];
  const value = {
    "xp.cfg": "a: ü\n",
    exported: true,
    off: false,
    none: null,
    floats: [0.5, -0, Number.NaN],
    nested: { a: [{}, []] },
  };
  await writeTorchArchive(file("plain.bin"), { ...value, numbers, map: new Map([[3, "x"]]) });
  const back = readBack("plain.bin");
  assert.deepEqual(back, { ...value, numbers: [...numbers.slice(0, 12), 127, -129], map: { 3: "x" } });
});

test("whole numbers are written as int, others as float, keys of a Map as they are", async () => {
  await writeTorchArchive(file("kinds.bin"), [1, 1.5, new Map([[7, -0]])]);
  const zip = new ByteFile(file("kinds.bin"));
  const pickle = readZipEntry(zip, readZipDirectory(zip).get("kinds/data.pkl")!, 1000);
  zip.close();
  const opcodes = "\x80\x02](K\x01G\x3f\xf8\0\0\0\0\0\0}(K\x07G\x80\0\0\0\0\0\0\0ue.";
  assert.equal(pickle.toString("latin1"), opcodes);
});

test("the archive has the entries of torch.save, the pickle first, stored, their data at multiples of 64", async () => {
  const tensors = { a: source("U8", [3], Uint8Array.of(1, 2, 3)), b: source("F32", [1], Float32Array.of(1)) };
  await writeTorchArchive(file("layout.bin"), tensors);
  const zip = new ByteFile(file("layout.bin"));
  const entries = readZipDirectory(zip);
  zip.close();
  const theirs = new ByteFile(golden("protocol4.pt"));
  const expected = [...readZipDirectory(theirs).keys()].map((name) => name.replace("protocol4/", "layout/"));
  theirs.close();
  expected.splice(expected.indexOf("layout/data/0") + 1, 0, "layout/data/1");
  assert.deepEqual([...entries.keys()], expected);
  for (const { dataStart, method } of entries.values()) assert.deepEqual([dataStart % 64, method], [0, 0]);
});

test("tensors are asked for one at a time, in turn, with progress in bytes; a tied one once", async () => {
  const events: string[] = [];
  const late = (name: string) => ({
    dtype: "F32" as const,
    shape: [2],
    data: async () => {
      events.push(name);
      return Float32Array.of(1, 2);
    },
  });
  const tied = late("tied");
  await writeTorchArchive(
    file("turns.bin"),
    { a: tied, b: late("b"), again: tied },
    { onProgress: (done, total) => events.push(`${done}/${total}`) },
  );
  assert.deepEqual(events, ["tied", "8/16", "b", "16/16"]);
  const archive = openTorchArchive(file("turns.bin"));
  const { a, again } = archive.value as Record<string, TorchTensor>;
  assert.equal(a.storage, again.storage);
  archive.close();
});

test("what PyTorch wrote can be written again: views become whole tensors, tied ones stay tied", async () => {
  const original = openTorchArchive(golden("views.pt"));
  const { uint16: _, ...value } = original.value as Record<string, TorchTensor>;
  await writeTorchArchive(file("again.bin"), { ...value, tied: value.base });
  const again = openTorchArchive(file("again.bin"));
  const copies = again.value as Record<string, TorchTensor>;
  for (const [name, tensor] of Object.entries(value)) {
    assert.deepEqual([copies[name].shape, copies[name].read()], [tensor.shape, tensor.read()], name);
  }
  assert.equal(copies.tied.storage, copies.base.storage);
  original.close();
  again.close();
});

test("files beyond 4 GiB use the zip64 form", async () => {
  const value = { a: source("F32", [2], Float32Array.of(1, 2)), b: source("F32", [1], Float32Array.of(3)) };
  await writeTorchArchive(file("wide.bin"), value, { zip64From: 0 });
  const reader = openWeights(file("wide.bin"));
  assert.deepEqual([...reader.readFloat32("a"), ...reader.readFloat32("b")], [1, 2, 3]);
  reader.close();
  assert.ok(readFileSync(file("wide.bin")).includes("PK\x06\x06"));
});

test("the same content gives the same bytes", async () => {
  const value = { a: source("F32", [2], Float32Array.of(1, 2)), text: "x" };
  await writeTorchArchive(file("same.bin"), value);
  const first = readFileSync(file("same.bin"));
  await writeTorchArchive(file("same.bin"), value);
  assert.deepEqual(readFileSync(file("same.bin")), first);
});

test("what Python has no plain value for is refused, with its place; the previous file stays", async () => {
  await writeTorchArchive(file("kept.bin"), { a: 1 });
  const before = readFileSync(file("kept.bin"));
  const refuses = (value: unknown, message: RegExp) =>
    assert.rejects(writeTorchArchive(file("kept.bin"), value as TorchWritable), message);
  await refuses({ a: [undefined] }, /a\.0 is a undefined/);
  await refuses({ a: { b: new Date() } }, /a\.b is a Date/);
  await refuses({ a: source("U64", [1], new BigUint64Array(1)) }, /a is a tensor of U64/);
  const loop: unknown[] = [];
  loop.push(loop);
  await refuses(loop, /nested too deeply/);
  await refuses({ a: source("F32", [2], Float32Array.of(1)) }, /8 bytes expected, 4 given/);
  await refuses({ a: source("I32", [1], Float32Array.of(1)) }, /cannot be stored as I32/);
  assert.deepEqual(readFileSync(file("kept.bin")), before);
  assert.equal(existsSync(file("kept.bin.tmp")), false);
  await assert.rejects(writeTorchArchive(file("nowhere/x.bin"), {}), (error) => error instanceof UserError);
});
