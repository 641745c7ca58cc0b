/** Hostile and damaged files of torch.save: each is refused with a reason; nothing of them is run, nothing large is allocated. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { deflateRawSync } from "node:zlib";
import { isTree, openTorchArchive, TorchTensor, type TorchValue } from "../../src/checkpoint/weights.ts";
import { crc32 } from "../../src/crc32.ts";
import { UserError } from "../../src/errors.ts";
import { archiveOf, dictOf, int, storage, tensor, text, tuple, u32, zipOf } from "./crafted_archive.ts";

const folder = mkdtempSync(join(tmpdir(), "hostile-"));
after(() => rmSync(folder, { recursive: true }));
const path = join(folder, "hostile.pt");
const golden = (name: string) =>
  readFileSync(fileURLToPath(new URL(`../golden/torch/${name}`, import.meta.url)));

/** Opens the file and reads all of its tensors. */
function readAll(content: Buffer): void {
  writeFileSync(path, content);
  const archive = openTorchArchive(path);
  try {
    visit(archive.value);
  } finally {
    archive.close();
  }
}

function visit(value: TorchValue): void {
  if (value instanceof TorchTensor) value.read();
  else if (Array.isArray(value)) value.forEach(visit);
  else if (isTree(value)) Object.values(value).forEach(visit);
}

function refuses(content: Buffer, reason: RegExp, name = String(reason)): void {
  assert.throws(
    () => readAll(content),
    (error) => {
      assert.ok(error instanceof UserError, `${name}: ${error}`);
      assert.match(error.message, reason, name);
      assert.ok(error.message.startsWith(path), "the file is named");
      assert.ok(error.message.length < 1000, `${name}: a message of ${error.message.length} characters`);
      return true;
    },
  );
}

const pickleOf = (opcodes: string) => archiveOf(`\x80\x02${opcodes}`);
const four = { 0: Buffer.alloc(16) };

test("calls of functions that are not accepted are refused by name, in every way to write a call", () => {
  const command = text("touch /tmp/pwned");
  for (const name of [
    "os system",
    "posix system",
    "builtins eval",
    "__builtin__ exec",
    "subprocess Popen",
    "nt system",
  ]) {
    const [module, attribute] = name.split(" ");
    const id = new RegExp(`asks Python for "${module}\\.${attribute}"`);
    refuses(pickleOf(`c${module}\n${attribute}\n${tuple(command)}R.`), id);
    refuses(pickleOf(`c${module}\n${attribute}\n${tuple(command)}\x81.`), id);
    refuses(pickleOf(`c${module}\n${attribute}\n)}\x92.`), id);
    refuses(pickleOf(`(${command}i${module}\n${attribute}\n.`), id);
    refuses(pickleOf(`(c${module}\n${attribute}\n${command}o.`), id);
    refuses(archiveOf(`\x80\x04${text(module)}${text(attribute)}\x93${tuple(command)}R.`), id);
  }
});

test("functions through which others could be reached are refused as well", () => {
  const names = [
    "builtins getattr",
    "builtins __import__",
    "importlib import_module",
    "torch load",
    "torch.storage _load_from_bytes",
    "torch._utils __dict__",
    "numpy load",
    "functools partial",
    "collections namedtuple",
    "copyreg add_extension",
    "types FunctionType",
    "omegaconf.omegaconf OmegaConf",
    "constructor constructor",
    "__proto__ x",
  ];
  for (const name of names) refuses(pickleOf(`c${name.replace(" ", "\n")}\n).`), /asks Python for/, name);
  refuses(pickleOf(`coperator\ngetitem\n${tuple(`}`, text("x"))}R.`), /an item of something is asked for/);
  refuses(
    pickleOf(`ccopyreg\n_reconstructor\n${tuple("cbuiltins\ndict\n", "N", "N")}R.`),
    /a class that is not accepted/,
  );
  refuses(
    pickleOf(`ctorch._tensor\n_rebuild_from_type_v2\n${tuple("c_codecs\nencode\n", "N", ")", "N")}R.`),
    /rebuilt by/,
  );
});

test("names that are only mentioned cannot be called", () => {
  refuses(pickleOf("ctyping\nAny\n)R."), /"typing\.Any" is called/);
  refuses(pickleOf("ctorch\nFloatStorage\n)R."), /"torch\.FloatStorage" is called/);
  refuses(pickleOf("K\x01)R."), /calls something that is not a class/);
});

test("states are set on nothing but what has some", () => {
  refuses(pickleOf("]}b."), /state of something/);
  refuses(pickleOf("K\x01}b."), /state of something/);
  refuses(pickleOf("ctyping\nAny\n}b."), /state of something/);
  refuses(pickleOf("cargparse\nNamespace\n)\x81K\x01b."), /state of a argparse\.Namespace is no dict/);
});

test("opcodes that torch.save does not write are refused by number", () => {
  for (const opcode of ["\x82\x01", "\x97", "\x98", "\xff", "\x00", "P1\n"]) {
    const number = opcode.charCodeAt(0).toString(16);
    refuses(pickleOf(`${opcode}.`), new RegExp(`opcode 0x${number}, which is not accepted \\(byte 2 `));
  }
  refuses(pickleOf("\x80\x09N."), /protocol 9/);
});

test("a pickle that is cut, or ends with too much or too little, is refused", () => {
  refuses(pickleOf(""), /cut short/);
  refuses(pickleOf("N"), /cut short/);
  refuses(pickleOf("."), /ends half-way/);
  refuses(pickleOf("NN."), /ends half-way/);
  refuses(pickleOf("N(."), /ends half-way/);
  refuses(pickleOf("0."), /takes more than it has made/);
  refuses(pickleOf("t."), /takes a mark/);
  refuses(pickleOf("(N0000."), /takes more than it has made/);
  refuses(pickleOf("h\x05."), /recalls the value 5/);
  refuses(pickleOf("}(K\x01u."), /sets items/);
  refuses(pickleOf("K\x01K\x01a."), /appends to something/);
  refuses(pickleOf(`cx${"y".repeat(2000)}`), /line without an end/);
  refuses(pickleOf("I12x\n."), /a number that is none/);
  for (const word of ["constructor", "", "Infinity?"])
    refuses(pickleOf(`F${word}\n.`), /a number that is none/);
});

test("lengths that the pickle does not have are not allocated", () => {
  for (const opcode of ["X", "T", "B", "\x8b"])
    refuses(pickleOf(`${opcode}\xff\xff\xff\x7f.`), /claims 2147483647 bytes/);
  for (const opcode of ["\x8d", "\x8e", "\x96"])
    refuses(pickleOf(`${opcode}${"\xff".repeat(8)}.`), /claims \d+ bytes/);
  refuses(pickleOf(`\x8b${u32(1000)}${"\x01".repeat(1000)}.`), /an integer of 1000 bytes/);
});

test("values that multiply when written out are refused", () => {
  // a list of two times the list before, 60 times: 2^60 parts
  refuses(pickleOf(`]${"2\x86".repeat(60)}.`), /more than 5000000 parts/);
  refuses(pickleOf("]q\x00h\x00a."), /contains itself/);
  refuses(pickleOf(`}q\x00${text("me")}h\x00s.`), /contains itself/);
  refuses(pickleOf(`${"]".repeat(5000)}${"a".repeat(4999)}.`), /nested more than 200 deep/);
  refuses(pickleOf(`${"(".repeat(20_000)}.`), /nests too deeply/);
});

test("memo indices and many values cost no more than the file", () => {
  refuses(
    pickleOf(`Nr\xff\xff\xff\xff${"\x94".repeat(10)}j\xfe\xff\xff\xff.`),
    /recalls the value 4294967294/,
  );
  refuses(pickleOf(`${"]".repeat(600_000)}.`), /makes more than 500000 objects/);
  refuses(pickleOf(`${"N0".repeat(2_100_000)}.`), /more than 4000000 steps/);
});

test("copies of one large value are bounded", () => {
  const large = `${text("x".repeat(1_000_000))}\x85q\x000`;
  refuses(pickleOf(`${large}${"c_codecs\nencode\nh\x00R0".repeat(1000)}N.`), /its calls copy too much/);
});

test("keys that are set twice, are no plain values, or would reach a prototype do no harm", () => {
  refuses(pickleOf(`}(${text("a")}N${text("a")}Nu.`), /key "a" twice/);
  refuses(pickleOf(`}(K\x01N${text("1")}Nu.`), /key "1" twice/);
  refuses(pickleOf("}}Ns."), /neither text nor a number/);
  refuses(pickleOf(`}${text("k".repeat(20_000))}Ns.`), /absurdly long key/);
  writeFileSync(path, archiveOf(`\x80\x02}${text("__proto__")}}${text("polluted")}\x88ss.`));
  const archive = openTorchArchive(path);
  assert.equal((archive.value as Record<string, unknown>).polluted, undefined);
  assert.deepEqual(Object.keys(archive.value as object), ["__proto__"]);
  archive.close();
});

/** A call of NumPy's scalar with a dtype of this code, and an array of this shape. */
const numpyScalar = (code: string, bytes: string) =>
  pickleOf(`cnumpy.core.multiarray\nscalar\n${tuple(`cnumpy\ndtype\n${tuple(text(code))}R`, `C${bytes}`)}R.`);
const numpyArray = (shape: string, bytes: string) =>
  pickleOf(
    `cnumpy.core.multiarray\n_reconstruct\n)R${tuple("K\x01", shape, `cnumpy\ndtype\n${tuple(text("f4"))}R`, "\x89", `C${bytes}`)}b.`,
  );

test("NumPy values whose bytes do not fit are refused", () => {
  readAll(numpyScalar("f4", "\x04abcd"));
  refuses(numpyScalar("f4", "\x03abc"), /has 3 bytes, which do not fit/);
  refuses(numpyScalar("O8", "\x08abcdefgh"), /something else than little-endian numbers/);
  refuses(numpyScalar("constructor", "\x04abcd"), /something else than little-endian numbers/);
  readAll(numpyArray(tuple(int(1), int(1)), "\x04abcd"));
  refuses(numpyArray(tuple(int(2)), "\x04abcd"), /has 4 bytes, which do not fit/);
  refuses(numpyArray(tuple("}"), "\x04abcd"), /is malformed/);
  refuses(numpyArray(tuple(int(-1), int(-1)), "\x04abcd"), /is malformed/);
  refuses(pickleOf("cnumpy.core.multiarray\n_reconstruct\n)R."), /its content is incomplete/);
});

test("references to storages that are malformed or lie are refused", () => {
  refuses(archiveOf(`\x80\x02${text("x")}Q.`), /reference to a storage is malformed/);
  refuses(
    archiveOf(`\x80\x02${tuple(text("storage"), "ctyping\nAny\n", text("0"), text("cpu"), int(4))}Q.`),
    /malformed/,
  );
  refuses(archiveOf(dictOf(tensor(storage(-4), 0, [1], [1])), four), /malformed/);
  refuses(archiveOf(dictOf(tensor(storage(4), 0, [4], [1]))), /the data of storage "0" is missing/);
  refuses(archiveOf(dictOf(tensor(storage(4, undefined, "../data.pkl"), 0, [4], [1])), four), /is missing/);
  refuses(archiveOf(dictOf(tensor(storage(5), 0, [4], [1])), four), /should have 20 bytes, the file has 16/);
  refuses(archiveOf(dictOf(storage(4)), four), /a storage outside of a tensor/);
  refuses(
    archiveOf(dictOf(tensor(storage(4, "torch\nComplexFloatStorage"), 0, [4], [1])), four),
    /not supported/,
  );
  refuses(archiveOf(dictOf(`ctorch._utils\n_rebuild_tensor_v2\n)R`)), /a tensor is made of something/);
});

test("views that do not lie within their storage are refused", () => {
  const view = (offset: number, shape: number[], strides: number[]) =>
    archiveOf(dictOf(tensor(storage(4), offset, shape, strides)), four);
  refuses(view(0, [5], [1]), /needs 20 bytes, its storage has 16/);
  refuses(view(1, [4], [1]), /needs 20 bytes/);
  refuses(view(0, [2, 2], [3, 1]), /needs 20 bytes/);
  refuses(view(-1, [1], [1]), /negative/);
  refuses(view(3, [2], [-1]), /negative/);
  refuses(view(0, [-1], [1]), /negative/);
  refuses(view(0, [2 ** 31 - 1, 2 ** 31 - 1], [2 ** 31 - 1, 1]), /needs \d+ bytes/);
  refuses(view(0, [2 ** 31 - 1, 2 ** 31 - 1], [0, 0]), /would expand 16 bytes/);
  refuses(view(0, [4], []), /1 axes and 0 strides/);
  refuses(view(0, Array(40).fill(1), Array(40).fill(1)), /40 axes/);
  refuses(archiveOf(dictOf(tensor(storage(4), 0, [1], [1]).replace(int(0), text("0"))), four), /no numbers/);
});

/** Fields of the records of an archive with one entry in front, by name. */
const whole = archiveOf(dictOf(tensor(storage(4), 0, [4], [1])), four);
const central = whole.indexOf("PK\x01\x02");
const end = whole.indexOf("PK\x05\x06");
function patched(at: number, value: number, width: 2 | 4 = 4): Buffer {
  const copy = Buffer.from(whole);
  copy.writeUIntLE(value, at, width);
  return copy;
}

test("zip records that lie are refused, each with its reason", () => {
  readAll(whole);
  refuses(patched(end + 10, 2, 2), /bytes of its directory belong to no entry/);
  refuses(patched(end + 10, 60, 2), /cannot hold the announced 60 entries/);
  refuses(patched(end + 4, 1, 2), /several volumes/);
  refuses(patched(end + 12, 10), /its directory should end at/);
  refuses(patched(end + 16, 0xfffffff0), /its directory should end at/);
  refuses(patched(end + 16, 0xffffffff), /needs a zip64 record/);
  refuses(patched(end, 0), /no directory at its end/);
  refuses(patched(central, 0), /directory is damaged at byte 0/);
  refuses(patched(central + 28, 60_000, 2), /directory is damaged/);
  refuses(patched(central + 8, 1, 2), /"archive\/data\.pkl" is encrypted/);
  refuses(patched(central + 10, 12, 2), /unknown method \(12\)/);
  refuses(patched(central + 24, 5), /is stored, but its sizes differ/);
  refuses(patched(central + 42, 5), /does not begin at byte 5/);
  refuses(patched(central + 42, 0x7fffffff), /begins beyond the data/);
  refuses(patched(central + 42, 0xffffffff), /lacks its zip64 sizes/);
  refuses(patched(6, 1, 2), /stored in another way/);
  refuses(patched(18, 5), /other sizes in its own header/);
  refuses(patched(30, 0x41414141), /another name in its own header/);
  refuses(patched(28, 60_000, 2), /go beyond the data/);
  refuses(patched(central + 16, 12345), /the checksum of "archive\/data\.pkl" differs/);
  refuses(Buffer.concat([whole, Buffer.from("x")]), /no directory at its end/);
  refuses(Buffer.concat([Buffer.from("PK\x03\x04...."), whole]), /its directory should end at/);
});

test("entries that overlap or have one name are refused", () => {
  const twins = zipOf({ "archive/data.pkl": "\x80\x02N.", "archive/data.pkx": "" });
  refuses(
    Buffer.from(twins.toString("latin1").replaceAll("data.pkx", "data.pkl"), "latin1"),
    /two entries named/,
  );
  const same = Buffer.from(twins);
  const second = same.indexOf("PK\x01\x02", same.indexOf("PK\x01\x02") + 1);
  same.writeUInt32LE(0, second + 42);
  refuses(same, /another name in its own header/);
  // an entry inside of the data of another one
  const inner = zipOf({ b: "x" }).subarray(0, 65);
  const outer = zipOf({ "archive/data.pkl": "\x80\x02N.", a: inner, b: "x" });
  const third = outer.lastIndexOf("PK\x01\x02");
  outer.writeUInt32LE(outer.indexOf(inner), third + 42);
  refuses(outer, /entries "a" and "b" overlap/);
});

/** An archive whose pickle is deflated and claims to have `claimed` bytes. */
function deflated(content: Buffer, claimed: number): Buffer {
  const packed = deflateRawSync(content, { level: 9 });
  const archive = zipOf({ "archive/data.pkl": packed });
  const directory = archive.indexOf("PK\x01\x02");
  for (const [start, shift] of [
    [0, 0],
    [directory, 2],
  ]) {
    archive.writeUInt16LE(8, start + 8 + shift);
    archive.writeUInt32LE(crc32(content), start + 14 + shift);
    archive.writeUInt32LE(claimed, start + 22 + shift);
  }
  return archive;
}

test("zip bombs are not inflated; an honest deflated pickle is", () => {
  const bomb = Buffer.alloc(100 << 20);
  refuses(deflated(bomb, bomb.length), /has 104857600 bytes, 67108864 at most/);
  refuses(deflated(bomb, 1000), /does not inflate to the announced 1000 bytes/);
  refuses(deflated(Buffer.from("\x80\x02N.", "latin1"), 5), /does not inflate to the announced 5 bytes/);
  readAll(deflated(Buffer.from("\x80\x02N.", "latin1"), 4));
});

test("a damaged storage is found when it is read", () => {
  const copy = Buffer.from(whole);
  const headerEnd = copy.indexOf("archive/data/0") + "archive/data/0".length + 4;
  copy[Math.ceil(headerEnd / 64) * 64] ^= 1;
  refuses(copy, /damaged: the checksum of "archive\/data\/0" differs/);
});

test("the zip64 form is read", () => {
  const pickle = dictOf(tensor(storage(4), 0, [4], [1]));
  const archive = zipOf({ "archive/data.pkl": pickle, "archive/data/0": Buffer.alloc(16) }, 0);
  readAll(archive);
  const locator = archive.indexOf("PK\x06\x07");
  archive.writeBigUInt64LE(2n ** 60n, locator + 8);
  refuses(archive, /a size of \d+ bytes is impossible/);
  archive.writeBigUInt64LE(2n ** 40n, locator + 8);
  refuses(archive, /zip64 record lies beyond/);
});

test("files of other kinds are named as what they are", () => {
  const tar = Buffer.alloc(600);
  tar.write("ustar", 257);
  refuses(Buffer.alloc(0), /it is empty/);
  refuses(Buffer.from("<!DOCTYPE html><html>"), /a web page/);
  refuses(Buffer.from("version https://git-lfs.github.com/spec/v1\n"), /Git LFS pointer/);
  refuses(tar, /tar format of PyTorch before 0\.2; load it in PyTorch and write it again/);
  refuses(Buffer.from("\x80\x02}.", "latin1"), /a pickle, but not one of torch\.save/);
  refuses(zipOf({ "readme.txt": "x" }), /has 0 entries \*\/data\.pkl/);
  refuses(zipOf({ "m/data.pkl": "\x80\x02N.", "m/constants.pkl": "\x80\x02)." }), /TorchScript program/);
  refuses(zipOf({ "m/data.pkl": "\x80\x02N.", "m/byteorder": "big" }), /big-endian/);
});

test("files of the legacy format that lie are refused", () => {
  const legacy = golden("views_legacy.bin");
  const replace = (from: string, to: string) =>
    Buffer.from(legacy.toString("latin1").replace(from, to), "latin1");
  refuses(replace("\x80\x02M\xe9\x03.", "\x80\x02M\xea\x03."), /another version than 1001/);
  refuses(
    replace("little_endianq\x02\x88", "little_endianq\x02\x89"),
    /not written on a little-endian machine/,
  );
  refuses(Buffer.concat([legacy, Buffer.from("x")]), /1 bytes at its end belong to no storage/);
  refuses(legacy.subarray(0, legacy.length - 1), /cut short/);
  refuses(replace("ctorch._utils\n_rebuild_tensor_v2", "cposix\nsystem"), /asks Python for "posix\.system"/);
});

/** Reproducible numbers below 2^32. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t ^= t + Math.imul(t ^ (t >>> 7), 61 | t);
    return (t ^ (t >>> 14)) >>> 0;
  };
}

test("a file cut anywhere is refused", () => {
  for (const name of ["checkpoint.th", "views_legacy.bin"]) {
    const content = golden(name);
    const random = generator(1);
    for (let i = 0; i < 150; i++) refuses(content.subarray(0, random() % content.length), /./);
  }
});

test("1,000 mutations of real files end in a value or in a UserError, in little time and memory", () => {
  const random = generator(2);
  const sources = [
    golden("checkpoint.th"),
    golden("views.pt"),
    golden("views_legacy.bin"),
    golden("protocol4.pt"),
    golden("no_checksums.pt"),
  ];
  let refused = 0;
  let slowest = 0;
  const before = process.memoryUsage.rss();
  for (let i = 0; i < 1000; i++) {
    const content = Buffer.from(sources[i % sources.length]);
    // without checksums, so that the damage gets as far as it can
    for (let at = content.indexOf("PK\x01\x02"); at >= 0; at = content.indexOf("PK\x01\x02", at + 1)) {
      if (i % 4 !== 0) content.writeUInt32LE(0, at + 16);
    }
    for (let flips = 1 + (random() % 4); flips > 0; flips--) {
      const at = random() % content.length;
      content[at] = random() % 2 ? content[at] ^ (1 << (random() % 8)) : random();
    }
    const start = performance.now();
    try {
      readAll(content);
    } catch (error) {
      assert.ok(error instanceof UserError, `mutation ${i}: ${(error as Error).stack}`);
      refused++;
    }
    slowest = Math.max(slowest, performance.now() - start);
  }
  assert.ok(refused > 200 && refused < 1000, `${refused} refused`);
  assert.ok(slowest < 2000, `${slowest} ms for one`);
  assert.ok(process.memoryUsage.rss() - before < 500e6, "memory");
});
