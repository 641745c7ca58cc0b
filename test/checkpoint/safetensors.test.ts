/** Safetensors files: what is written comes back, what is damaged is refused with a reason, a failed write harms nothing. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Dtype, TypedArray } from "../../src/checkpoint/dtypes.ts";
import { openSafetensors, type TensorSource, writeSafetensors } from "../../src/checkpoint/safetensors.ts";
import { UserError } from "../../src/errors.ts";

const folder = mkdtempSync(join(tmpdir(), "safetensors-"));
after(() => rmSync(folder, { recursive: true }));

const file = (name: string) => join(folder, name);
const original = (name: string) =>
  fileURLToPath(new URL(`../golden/safetensors/original_${name}.safetensors`, import.meta.url));

const source = (name: string, dtype: Dtype, shape: number[], data: TypedArray): TensorSource => ({
  name,
  dtype,
  shape,
  data: () => data,
});

const userError = (message: RegExp) => (error: unknown) =>
  error instanceof UserError && message.test(error.message);

/** A file with this header JSON and this many bytes of data. */
function craft(name: string, header: unknown, dataBytes: number): string {
  const json =
    typeof header === "string" ? Buffer.from(header, "latin1") : Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(file(name), Buffer.concat([length, json, Buffer.alloc(dataBytes)]));
  return file(name);
}

test("a file of the original library is read: names, shapes, dtypes, values", () => {
  const reader = openSafetensors(original("inputs"));
  assert.deepEqual([...reader.names].sort(), [
    "codes",
    "description.attention_mask",
    "description.input_ids",
    "description.t5_hidden",
    "padding_mask",
  ]);
  assert.deepEqual([reader.dtype("codes"), reader.shape("codes")], ["I32", [3, 4, 20]]);
  const codes = reader.read("codes");
  assert.ok(codes instanceof Int32Array && codes.length === 240 && codes.every((code) => code >= 0));
  const mask = reader.read("padding_mask");
  assert.ok(
    mask instanceof Uint8Array && mask.every((bit) => bit <= 1) && mask.includes(0) && mask.includes(1),
  );
  assert.equal(reader.readFloat32("description.t5_hidden").length, 3 * 7 * 48);
  assert.equal(reader.verify(), false, "it carries no checksums of ours");
  reader.close();
});

test("scalars have an empty shape and one value", () => {
  const reader = openSafetensors(original("scalars"));
  assert.deepEqual(reader.shape("eff0"), []);
  assert.equal(reader.read("eff0").length, 1);
  reader.close();
});

test("every dtype, an empty tensor, a scalar and the metadata come back as they were written", async () => {
  const sources = [
    source("u8", "U8", [3], Uint8Array.of(1, 2, 255)),
    source("bool", "BOOL", [2], Uint8Array.of(0, 1)),
    source("i8", "I8", [1], Int8Array.of(-1)),
    source("f16", "F16", [2], Uint16Array.of(0x3c00, 0xc000)),
    source("bf16", "BF16", [1], Uint16Array.of(0x3f80)),
    source("i16", "I16", [1], Int16Array.of(-300)),
    source("u16", "U16", [1], Uint16Array.of(65535)),
    source("f32", "F32", [2, 2], Float32Array.of(1.5, -0, Number.NaN, Number.POSITIVE_INFINITY)),
    source("i32", "I32", [], Int32Array.of(-7)),
    source("u32", "U32", [1], Uint32Array.of(2 ** 32 - 1)),
    source("f64", "F64", [1], Float64Array.of(Math.PI)),
    source("i64", "I64", [1], BigInt64Array.of(-(2n ** 60n))),
    source("u64", "U64", [1], BigUint64Array.of(2n ** 63n)),
    source("empty", "F32", [0, 4], new Float32Array(0)),
    source('ünïcode "name"', "U8", [1], Uint8Array.of(9)),
  ];
  const metadata = { config: '{"a": "\\"ß"}', epoch: "3" };
  await writeSafetensors(file("all"), sources, metadata);
  const reader = openSafetensors(file("all"));
  assert.deepEqual(reader.metadata, metadata);
  for (const { name, dtype, shape, data } of sources) {
    assert.equal(reader.dtype(name), dtype);
    assert.deepEqual(reader.shape(name), shape);
    assert.deepEqual(reader.read(name), data());
  }
  assert.deepEqual([...reader.readFloat32("f16")], [1, -2]);
  assert.deepEqual([...reader.readFloat32("bf16")], [1]);
  assert.deepEqual([...reader.readFloat32("f64")], [Math.fround(Math.PI)]);
  assert.equal(reader.verify(), true);
  reader.close();
});

test("the data begins at a multiple of 8 and every tensor at a multiple of its element size", async () => {
  const sources = [
    source("a", "U8", [3], Uint8Array.of(1, 2, 3)),
    source("b", "F64", [1], Float64Array.of(1)),
    source("c", "F32", [1], Float32Array.of(1)),
  ];
  await writeSafetensors(file("aligned"), sources, { note: "x" });
  const bytes = readFileSync(file("aligned"));
  const length = Number(bytes.readBigUInt64LE(0));
  assert.equal(length % 8, 0);
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString());
  assert.deepEqual(
    [header.b, header.c, header.a].map((entry) => entry.data_offsets[0]),
    [0, 8, 12],
  );
});

test("float32 is stored as half precision on request, and raw bytes as they are", async () => {
  const values = Float32Array.of(1, 0.1, -65504);
  await writeSafetensors(file("half"), [
    source("f16", "F16", [3], values),
    source("bf16", "BF16", [3], values),
    source("raw", "F32", [1], Buffer.from([0, 0, 128, 63])),
  ]);
  const reader = openSafetensors(file("half"));
  assert.deepEqual([...reader.readFloat32("f16")], [1, 0.0999755859375, -65504]);
  assert.deepEqual([...reader.readFloat32("bf16")], [1, 0.10009765625, -65536]);
  assert.deepEqual([...reader.readFloat32("raw")], [1]);
  reader.close();
});

test("tensors are asked for one at a time, in turn, with progress in bytes", async () => {
  const events: string[] = [];
  const late = (name: string): TensorSource => ({
    name,
    dtype: "F32",
    shape: [2],
    data: async () => {
      events.push(name);
      return Float32Array.of(1, 2);
    },
  });
  await writeSafetensors(
    file("turns"),
    [late("a"), late("b")],
    {},
    {
      onProgress: (done, total) => events.push(`${done}/${total}`),
    },
  );
  assert.deepEqual(events, ["a", "8/16", "b", "16/16"]);
});

test("integers are not passed off as floating-point numbers", () => {
  const reader = openSafetensors(original("inputs"));
  assert.throws(() => reader.readFloat32("codes"), userError(/"codes" holds I32/));
  reader.close();
});

test("a name that is not in the file is a user error", () => {
  const reader = openSafetensors(original("scalars"));
  assert.throws(() => reader.read("weight"), userError(/no tensor "weight"/));
  reader.close();
});

test("a file cut in its length, its header or its data is refused with both lengths", async () => {
  await writeSafetensors(file("cut"), [source("a", "F32", [64], new Float32Array(64))]);
  const whole = readFileSync(file("cut"));
  for (const size of [0, 5, 20, whole.length - 256, whole.length - 1]) {
    truncateSync(file("cut"), size);
    assert.throws(
      () => openSafetensors(file("cut")),
      userError(new RegExp(`cut: cut short: header says \\d+ bytes, file has ${size};`)),
    );
    writeFileSync(file("cut"), whole);
  }
  openSafetensors(file("cut")).close();
});

test("headers that lie are refused, each with its reason", () => {
  const f32 = (begin: number, end: number, shape: unknown = [(end - begin) / 4]) => ({
    dtype: "F32",
    shape,
    data_offsets: [begin, end],
  });
  const lies: [unknown, number, RegExp][] = [
    ["{nonsense", 0, /header is not JSON/],
    ["[]", 0, /header is not a JSON object/],
    [`{"a": ${JSON.stringify(f32(0, 4))}, "a": ${JSON.stringify(f32(0, 4))}}`, 4, /has the key "a" twice/],
    [
      `{"a": ${JSON.stringify(f32(0, 4))}, "\\u0061": ${JSON.stringify(f32(0, 4))}}`,
      4,
      /has the key "a" twice/,
    ],
    ['{"a": {"dtype": "F32", "dtype": "U8", "shape": [], "data_offsets": [0, 4]}}', 4, /key "dtype" twice/],
    ['{"a\xff": 1}', 0, /header is not JSON/],
    [{ __metadata__: { epoch: 3 } }, 0, /__metadata__ key "epoch" is not a string/],
    [{ __metadata__: [] }, 0, /__metadata__ is not a JSON object/],
    [{ a: 3 }, 0, /tensor "a": its entry is not/],
    [{ a: { ...f32(0, 4), dtype: "F31" } }, 4, /tensor "a": unknown dtype "F31"/],
    [{ a: { ...f32(0, 4), dtype: "constructor" } }, 4, /unknown dtype/],
    [{ a: f32(0, 4, [-1]) }, 4, /tensor "a": impossible shape \[-1\]/],
    [{ a: f32(0, 4, [1.5]) }, 4, /tensor "a": impossible shape/],
    [{ a: { ...f32(0, 4), data_offsets: [-4, 0] } }, 4, /tensor "a": impossible data_offsets/],
    [{ a: f32(2 ** 60, 2 ** 60 + 1024) }, 4, /tensor "a": impossible data_offsets/],
    [{ a: f32(0, 4, "4") }, 4, /tensor "a": impossible shape/],
    [{ a: { ...f32(0, 4), data_offsets: [4, 0] } }, 4, /tensor "a": impossible data_offsets \[4,0\]/],
    [{ a: { ...f32(0, 4), data_offsets: [0] } }, 4, /tensor "a": impossible data_offsets/],
    [{ a: f32(0, 8, [3]) }, 8, /tensor "a": F32 of shape \[3\] takes 12 bytes, its data_offsets say 8/],
    [{ a: f32(0, 8, [2 ** 31, 2 ** 31, 2 ** 31]) }, 8, /tensor "a": F32 of shape .* takes/],
    [{ a: f32(0, 8), b: f32(4, 12) }, 12, /tensor "b" overlaps/],
    [{ a: f32(0, 4), b: f32(8, 12) }, 12, /4 bytes before tensor "b" belong to no tensor/],
    [{ a: f32(4, 8) }, 8, /4 bytes before tensor "a"/],
    [{ a: f32(0, 4) }, 6, /2 bytes at its end belong to no tensor/],
    [{ a: f32(0, 8) }, 4, /cut short: header says \d+ bytes, file has \d+/],
  ];
  for (const [header, dataBytes, reason] of lies) {
    assert.throws(() => openSafetensors(craft("lie", header, dataBytes)), userError(reason), String(reason));
  }
});

test("keys are told from text that looks like them, however long", () => {
  const note = '{"a": 1, "a": "'.repeat(500_000);
  const header = {
    __metadata__: { note, other: '"note":' },
    a: { dtype: "U8", shape: [1], data_offsets: [0, 1] },
  };
  const reader = openSafetensors(craft("long", header, 1));
  assert.equal(reader.metadata.note, note);
  reader.close();
});

test("files of other kinds are named as what they are", () => {
  const kinds: [string, RegExp][] = [
    ["version https://git-lfs.github.com/spec/v1\noid sha256:00\n", /Git LFS pointer/],
    ["PK\x03\x04\x00\x00\x08\x08archive/data.pkl", /PyTorch or zip archive/],
    ["<!doctype html><html><body>404</body></html>", /a web page/],
    ["just some text", /begins with \d+ as the length of its header/],
  ];
  for (const [content, reason] of kinds) {
    writeFileSync(file("other"), content, "latin1");
    assert.throws(() => openSafetensors(file("other")), userError(reason));
  }
  assert.throws(() => openSafetensors(file("missing")), userError(/missing: cannot open: ENOENT/));
  assert.throws(() => openSafetensors(folder), userError(/not a file/));
});

test("one flipped bit is found: in a tensor when it is read, in the header when the file is opened", async () => {
  const sources = [
    source("good", "F32", [4], Float32Array.of(1, 2, 3, 4)),
    source("bad", "F32", [4], Float32Array.of(5, 6, 7, 8)),
  ];
  await writeSafetensors(file("flip"), sources, { config: "optim.lr=1e-4" });
  const whole = readFileSync(file("flip"));
  const flipped = Buffer.from(whole);
  flipped[whole.length - 1] ^= 1;
  writeFileSync(file("flip"), flipped);
  const reader = openSafetensors(file("flip"));
  assert.deepEqual([...reader.read("good")], [1, 2, 3, 4]);
  assert.throws(() => reader.read("bad"), userError(/damaged: the checksum of its tensor "bad"/));
  assert.throws(() => reader.verify(), userError(/tensor "bad"/));
  reader.close();
  const unchecked = openSafetensors(file("flip"), { verify: false });
  assert.equal(unchecked.read("bad").length, 4);
  unchecked.close();

  const changed = Buffer.from(whole.toString("latin1").replace("lr=1e-4", "lr=1e-5"), "latin1");
  writeFileSync(file("flip"), changed);
  assert.throws(() => openSafetensors(file("flip")), userError(/damaged: the checksum of its header/));
});

test("data that does not fit its shape or dtype is refused, and the previous file stays", async () => {
  await writeSafetensors(file("kept"), [source("a", "F32", [1], Float32Array.of(1))]);
  const before = readFileSync(file("kept"));
  const short = [source("a", "F32", [2], Float32Array.of(1))];
  await assert.rejects(writeSafetensors(file("kept"), short), /tensor "a": 8 bytes expected, its data has 4/);
  const wrong = [source("a", "I32", [1], Float32Array.of(1))];
  await assert.rejects(writeSafetensors(file("kept"), wrong), /Float32Array cannot be stored as I32/);
  const twice = [short[0], short[0]];
  await assert.rejects(writeSafetensors(file("kept"), twice), /tensor name "a" is taken/);
  assert.deepEqual(readFileSync(file("kept")), before);
  assert.equal(existsSync(file("kept.tmp")), false);
});

test("a full disk is a user error; the previous file stays and nothing is left behind", {
  skip: !existsSync("/dev/full"),
}, async () => {
  await writeSafetensors(file("full"), [source("a", "F32", [1], Float32Array.of(1))]);
  const before = readFileSync(file("full"));
  symlinkSync("/dev/full", file("full.tmp")); // what is written there meets a full disk
  await assert.rejects(
    writeSafetensors(file("full"), [source("a", "F32", [4096], new Float32Array(4096))]),
    userError(/full: cannot write: the disk is full \(0\.0 MB needed, .* free .*\); free some space/),
  );
  assert.deepEqual(readFileSync(file("full")), before);
  assert.equal(existsSync(file("full.tmp")), false);
});

test("a write that the system stops half-way leaves the previous file and no other", async () => {
  await writeSafetensors(file("limited"), [source("a", "F32", [1], Float32Array.of(1))]);
  const before = readFileSync(file("limited"));
  const module = new URL("../../src/checkpoint/safetensors.ts", import.meta.url).href;
  const program = `
    import { writeSafetensors } from ${JSON.stringify(module)};
    const source = (name) => ({ name, dtype: "F32", shape: [16384], data: () => new Float32Array(16384) });
    const names = Array.from({ length: 16 }, (_, i) => "tensor" + i);
    await writeSafetensors(${JSON.stringify(file("limited"))}, names.map(source))
      .catch((error) => console.log(error.name + ": " + error.message));`;
  // 256 KiB at most (in units of 512 bytes or of 1 KiB, depending on the shell), 1 MiB wanted
  const command = `ulimit -f 256 && exec ${process.execPath} --import tsx --input-type=module -e "$PROGRAM"`;
  const environment = { ...process.env, PROGRAM: program, TSX_DISABLE_CACHE: "1" };
  const output = execFileSync("sh", ["-c", command], { env: environment, encoding: "utf8" });
  assert.match(
    output,
    /^UserError: .*limited: cannot write: the file would be larger than the system allows/,
  );
  assert.deepEqual(readFileSync(file("limited")), before);
  assert.equal(existsSync(file("limited.tmp")), false);
});

test("a folder that is missing, or in the way, is a user error", async () => {
  const sources = [source("a", "U8", [1], Uint8Array.of(1))];
  await assert.rejects(
    writeSafetensors(file("nowhere/x"), sources),
    userError(/folder .*nowhere does not exist; create it/),
  );
  mkdirSync(file("taken"));
  await assert.rejects(writeSafetensors(file("taken"), sources), userError(/taken: cannot write: a folder/));
  assert.equal(existsSync(file("taken.tmp")), false);
});
