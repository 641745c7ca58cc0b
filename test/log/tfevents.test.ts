/** Event files are TFRecords with masked CRC-32C checksums, as TensorBoard reads them. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { crc32c, TensorBoardEvents, writeGraphEvents } from "../../src/log/tfevents.ts";

test("CRC-32C has the check value of its definition", () => {
  assert.equal(crc32c(Buffer.from("123456789")), 0xe3069283);
});

test("a graph's event file holds two records whose lengths lead to its end, and the graph as it was", () => {
  const graph = Buffer.from("a serialized GraphDef");
  const bytes = readFileSync(writeGraphEvents(mkdtempSync(join(tmpdir(), "events-")), graph));
  let offset = 0;
  const records: Buffer[] = [];
  while (offset < bytes.length) {
    const length = Number(bytes.readBigUInt64LE(offset));
    records.push(bytes.subarray(offset + 12, offset + 12 + length));
    offset += 16 + length;
  }
  assert.equal(offset, bytes.length);
  assert.equal(records.length, 2);
  assert.ok(records[0].includes("brain.Event:2"));
  assert.ok(records[1].includes(graph));
});

test("scalars are tagged by group and name; a run that goes on replaces the earlier file", () => {
  const folder = mkdtempSync(join(tmpdir(), "events-"));
  new TensorBoardEvents(folder).scalars("train", { ce: 1 }, 1);
  const events = new TensorBoardEvents(folder);
  events.scalars("valid", { ce: 1.5, ppl: 4.48 }, 2);
  const [file, ...others] = readdirSync(folder);
  assert.deepEqual(others, []);
  const bytes = readFileSync(join(folder, file));
  assert.ok(bytes.includes("valid/ce") && bytes.includes("valid/ppl") && !bytes.includes("train/ce"));
  const value = Buffer.alloc(4);
  value.writeFloatLE(1.5);
  assert.ok(bytes.includes(value));
});
