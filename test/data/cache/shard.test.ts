/** Shards: what was appended stays, whatever happens to the writer; what is damaged is never read as if it were whole. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { copyFileSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { DamagedRecordError, ShardReader, ShardWriter } from "../../../src/data/cache/shard.ts";
import { scratch } from "../files.ts";

const folder = scratch();
const record = (i: number) => ({
  key: `k${i}`,
  bytes: Uint8Array.from({ length: 10 + i }, (_, j) => i * 7 + j),
  entry: { number: i },
});

function shardOf(name: string, count: number): string {
  const path = join(folder, name);
  const writer = new ShardWriter<{ number: number }>(path);
  writer.append(Array.from({ length: count }, (_, i) => record(i)));
  writer.close();
  return path;
}

function numbersIn(path: string): number[] {
  const reader = new ShardReader<{ number: number }>(path);
  const numbers = reader.entries.map((entry) => {
    assert.deepEqual(reader.read(entry), record(entry.number).bytes);
    return entry.number;
  });
  reader.close();
  return numbers;
}

test("records come back by their entries, in order, across several openings; a key that is there is not written twice", () => {
  const path = shardOf("plain", 3);
  const writer = new ShardWriter<{ number: number }>(path);
  assert.deepEqual(
    writer.append([record(2), record(3)]).map(({ key }) => key),
    ["k3"],
  );
  writer.close();
  assert.deepEqual(numbersIn(path), [0, 1, 2, 3]);
});

test("an index cut at any byte of its last line, and data cut at any byte of the last record, leave the others, and the next writer goes on there", () => {
  const whole = shardOf("whole", 4);
  for (const suffix of ["data", "index"]) {
    const size = readFileSync(`${whole}.${suffix}`).length;
    const last =
      suffix === "data" ? 13 : readFileSync(`${whole}.index`, "utf8").trimEnd().split("\n")[3].length + 1;
    for (let left = size - last; left < size; left += suffix === "data" ? 1 : 7) {
      const torn = join(folder, `torn-${suffix}-${left}`);
      for (const each of ["data", "index"]) copyFileSync(`${whole}.${each}`, `${torn}.${each}`);
      truncateSync(`${torn}.${suffix}`, left);
      assert.deepEqual(numbersIn(torn), [0, 1, 2]);
      const writer = new ShardWriter<{ number: number }>(torn);
      assert.ok(writer.cut > 0);
      writer.append([record(9)]);
      writer.close();
      assert.deepEqual(numbersIn(torn), [0, 1, 2, 9]);
    }
  }
});

test("a flipped bit in a record is found when it is read, and the error names the shard and the record", () => {
  const path = shardOf("flipped", 3);
  const bytes = readFileSync(`${path}.data`);
  bytes[12] ^= 4; // in the second record
  writeFileSync(`${path}.data`, bytes);
  const reader = new ShardReader(path);
  reader.read(reader.entries[0]);
  reader.read(reader.entries[2]);
  assert.throws(
    () => reader.read(reader.entries[1]),
    (error: Error) =>
      error instanceof DamagedRecordError && /flipped\.data: the record k1 /.test(error.message),
  );
  reader.close();
});

test("a damaged line with whole ones behind it is no torn end: it is refused and nothing is cut", () => {
  const path = shardOf("middle", 3);
  const text = readFileSync(`${path}.index`, "utf8").replace('"k1"', '"k8"');
  writeFileSync(`${path}.index`, text);
  assert.throws(() => new ShardReader(path), /line 2 is damaged/);
  assert.throws(() => new ShardWriter(path), /line 2 is damaged/);
  assert.equal(readFileSync(`${path}.index`, "utf8"), text);
});

test("after SIGKILL of a writer at any moment, every record that it had reported is there, whole", async () => {
  const shard = new URL("../../../src/data/cache/shard.ts", import.meta.url).href;
  const script = join(folder, "writer.mts");
  writeFileSync(
    script,
    `import { ShardWriter } from ${JSON.stringify(shard)};
     const writer = new ShardWriter(process.argv[2]);
     for (let i = 0; ; i++) {
       writer.append([{ key: "k" + i, bytes: new Uint8Array(50_000).fill(i), entry: { number: i } }]);
       process.stdout.write(i + "\\n");
     }`,
  );
  const path = join(folder, "killed");
  const child = spawn(process.execPath, [
    "--import",
    import.meta.resolve("tsx"),
    pathToFileURL(script).pathname,
    path,
  ]);
  let reported = "";
  await new Promise<void>((resolve) => {
    child.stdout.on("data", (chunk) => {
      reported += chunk;
      if (reported.split("\n").length > 20) child.kill("SIGKILL");
    });
    child.on("close", () => resolve());
  });
  const last = Number(reported.trimEnd().split("\n").at(-1));
  assert.ok(last >= 19);
  const writer = new ShardWriter(path);
  writer.close();
  const reader = new ShardReader<{ number: number }>(path);
  assert.ok(reader.entries.length > last);
  for (const entry of reader.entries) assert.equal(reader.read(entry)[49_999], entry.number % 256);
  reader.close();
});
