/** Files of torch.save are read as they were written: values, views, configs. The files of test/golden/torch are PyTorch's own. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openTorchArchive, openWeights, stateDictReader, TorchTensor } from "../../src/checkpoint/weights.ts";
import { crc32, crc32Portable } from "../../src/crc32.ts";
import { UserError } from "../../src/errors.ts";
import { archiveOf, dictOf, storage, tensor } from "./crafted_archive.ts";

const folder = mkdtempSync(join(tmpdir(), "torch-"));
after(() => rmSync(folder, { recursive: true }));

const golden = (name: string) => fileURLToPath(new URL(`../golden/torch/${name}`, import.meta.url));
const json = (name: string) => JSON.parse(readFileSync(golden(name), "utf8"));

const userError = (message: RegExp) => (error: unknown) =>
  error instanceof UserError && message.test(error.message);

/** Dicts with their prototype back, so that they can be compared. */
// biome-ignore lint/suspicious/noExplicitAny: a tree that tests look into
const plain = (value: unknown): any => structuredClone(value);

const DTYPES: Record<string, string> = {
  float64: "F64",
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
  int64: "I64",
  int32: "I32",
  int16: "I16",
  int8: "I8",
  uint8: "U8",
  bool: "BOOL",
  uint16: "U16",
};

for (const name of ["views.pt", "views_legacy.bin"]) {
  test(`${name}: every dtype and every kind of view has the values that PyTorch gives it`, () => {
    const reader = openWeights(golden(name));
    const expected = json("views.json");
    assert.deepEqual(
      [...reader.names],
      Object.keys(expected).filter((key) => name === "views.pt" || key !== "uint16"),
      "in the order of the state dict",
    );
    for (const key of reader.names) {
      const { shape, values } = expected[key];
      assert.deepEqual(reader.shape(key), shape, key);
      if (key in DTYPES) assert.equal(reader.dtype(key), DTYPES[key]);
      const floating = /F/.test(reader.dtype(key));
      assert.deepEqual(
        Array.from(floating ? reader.readFloat32(key) : reader.read(key), Number),
        values,
        key,
      );
    }
    assert.equal(reader.verify(), name === "views.pt", "only the zip format has checksums");
    assert.throws(() => reader.read("nothing"), userError(/no tensor "nothing"/));
    assert.throws(() => reader.readFloat32("int32"), userError(/"int32" holds I32/));
    reader.close();
  });
}

test("a scattered view of a large storage is read in pieces", () => {
  const rows = 5000;
  const width = 1024;
  const data = Buffer.alloc(rows * width * 4);
  for (let row = 0; row < rows; row++) data.writeFloatLE(row, row * width * 4 + 4);
  // the second column: 20 MB lie between its first and its last element
  const path = join(folder, "column.pt");
  writeFileSync(
    path,
    archiveOf(dictOf(tensor(storage(rows * width), 1, [rows, 1], [width, 1])), { 0: data }),
  );
  const reader = openWeights(path);
  assert.deepEqual(
    reader.readFloat32("w"),
    Float32Array.from({ length: rows }, (_, row) => row),
  );
  reader.close();
});

test("an export of AudioCraft: weights under best_state, config text, version", () => {
  const archive = openTorchArchive(golden("state_dict.bin"));
  const { best_state, ...rest } = archive.value as Record<string, unknown>;
  assert.deepEqual(rest, {
    "xp.cfg": "sample_rate: 32000\ntransformer_lm:\n  dim: 64\n  num_heads: 4\nconditioners: null\n",
    version: "1.4.0a2",
    exported: true,
  });
  assert.deepEqual(Object.keys(best_state as object), ["weight", "bias"]);
  archive.close();
  const reader = openWeights(golden("state_dict.bin"), ["best_state"]);
  assert.deepEqual(reader.shape("weight"), [2, 3]);
  reader.close();
});

test("a checkpoint of AudioCraft: the pickled OmegaConf config comes out as the plain config, unresolved", () => {
  const archive = openTorchArchive(golden("checkpoint.th"));
  const value = archive.value as Record<string, unknown>;
  assert.deepEqual(plain(value["xp.cfg"]), json("config.json"));
  archive.close();
});

test("a checkpoint of AudioCraft: optimizer state, NumPy values, paths and PyTorch's small types are plain values", () => {
  const archive = openTorchArchive(golden("checkpoint.th"));
  const value = archive.value as Record<string, unknown>;
  const { optimizer, numpy, history, set, path, args, dtype, device, size, big } = value;
  assert.deepEqual(plain(history), [{ train: { ce: 2.5, epochs: 3 } }]);
  assert.deepEqual(
    [set, path, plain(args), dtype, device, size, big],
    [[1], "/a/b", { depth: 2 }, "torch.float16", "cpu", [2, 3], 2n ** 70n],
  );
  assert.ok(numpy instanceof TorchTensor);
  assert.deepEqual(
    [numpy.shape, [...numpy.read()]],
    [
      [3, 2],
      [0, 3, 1, 4, 2, 5],
    ],
  );
  const { state } = optimizer as { state: Record<string, Record<string, unknown>> };
  assert.deepEqual(Object.keys(state), ["0", "1"], "int keys are text");
  assert.ok(state[0].exp_avg instanceof TorchTensor);
  archive.close();
});

test("a dict inside of an archive is given as weights, with a prefix taken off", () => {
  const archive = openTorchArchive(golden("checkpoint.th"));
  assert.deepEqual([...stateDictReader(archive, ["best_state", "model"]).names], ["weight", "bias"]);
  assert.deepEqual([...stateDictReader(archive, ["best_state", "model"], "wei").names], ["ght"]);
  archive.close();
});

test("where the tensors are is said when they are not where they were looked for", () => {
  const places = /there are tensors .*under "best_state\.model"/;
  assert.throws(
    () => openWeights(golden("state_dict.bin")),
    userError(/no tensors at its top level; .*under "best_state"/),
  );
  assert.throws(
    () => openWeights(golden("checkpoint.th"), ["ema"]),
    userError(/no key "ema" at its top level/),
  );
  assert.throws(() => openWeights(golden("checkpoint.th"), ["best_state"]), userError(places));
  assert.throws(() => openWeights(golden("checkpoint.th"), ["xp.sig"]), userError(/no dict under "xp\.sig"/));
});

test("the opcodes of protocol 4 are known", () => {
  const archive = openTorchArchive(golden("protocol4.pt"));
  const { weight, note, bytes } = archive.value as Record<string, unknown>;
  assert.deepEqual([...(weight as TorchTensor).read()], [1, 1]);
  assert.deepEqual([note, bytes], ["ü", Uint8Array.of(97, 98)]);
  archive.close();
});

test("a file written without checksums is read, and says that it has none", () => {
  const reader = openWeights(golden("no_checksums.pt"));
  assert.deepEqual([...reader.readFloat32("weight")], [1, 1]);
  assert.equal(reader.verify(), false);
  reader.close();
});

test("an index of PyTorch shards is read as one", () => {
  const shard = (value: number) => {
    const data = Buffer.alloc(4);
    data.writeFloatLE(value);
    return data;
  };
  const one = tensor(storage(1), 0, [1], [1]);
  writeFileSync(join(folder, "pytorch_model-1.bin"), archiveOf(dictOf(one), { 0: shard(5) }));
  const weight_map = { w: "pytorch_model-1.bin" };
  writeFileSync(join(folder, "pytorch_model.bin.index.json"), JSON.stringify({ weight_map }));
  const reader = openWeights(join(folder, "pytorch_model.bin.index.json"));
  assert.deepEqual([...reader.readFloat32("w")], [5]);
  reader.close();
});

test("the format is told by the content when the name does not tell it", () => {
  const path = join(folder, "weights_without_extension");
  writeFileSync(path, readFileSync(golden("views.pt")));
  openWeights(path).close();
  writeFileSync(path, readFileSync(golden("views_legacy.bin")));
  openWeights(path).close();
  writeFileSync(
    path,
    readFileSync(
      fileURLToPath(new URL("../golden/safetensors/original_scalars.safetensors", import.meta.url)),
    ),
  );
  openWeights(path).close();
  assert.throws(
    () => openWeights(join(folder, "missing.bin")),
    userError(/missing\.bin: cannot open: ENOENT/),
  );
});

test("the checksum is the same with and without Node's own function", () => {
  const check = Buffer.from("123456789");
  assert.deepEqual([crc32(check), crc32Portable(check)], [0xcbf43926, 0xcbf43926]);
  assert.equal(crc32Portable(check.subarray(4), crc32Portable(check.subarray(0, 4))), 0xcbf43926);
});
