import assert from "node:assert/strict";
import { test } from "node:test";
import { bucketLength } from "../../../src/models/conditioners/base.ts";

test("texts of 1 to 128 tokens come in four lengths, so a step that takes them is traced four times at most", () => {
  const lengths = new Set(Array.from({ length: 128 }, (_, i) => bucketLength(i + 1, 16)));
  assert.deepEqual([...lengths], [16, 32, 64, 128]);
});

test("where padding could not be hidden, lengths stay", () => assert.equal(bucketLength(7, 1), 7));
