/** Files of the Hugging Face hub: from the cache, from a hub (a small server on this machine), or with a clear refusal. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, beforeEach, test } from "node:test";
import { promisify } from "node:util";
import { openHubWeights, resolveHubFile } from "../../src/checkpoint/hub.ts";
import { accessToken, cacheFolders } from "../../src/checkpoint/hub_cache.ts";
import { writeSafetensors } from "../../src/checkpoint/safetensors.ts";
import { UserError } from "../../src/errors.ts";

const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const root = mkdtempSync(join(tmpdir(), "hub-"));

/** Serves `files` of the repository org/name as the hub does; large files lie in a store of another origin. */
const files = new Map<string, { content: Buffer; large?: boolean; etag?: string }>();
let requests: { method: string; path: string; range?: string; authorization?: string }[] = [];
/** What the store does with a download instead of sending it whole, once. */
let misbehave: ((request: IncomingMessage, response: ServerResponse, content: Buffer) => void) | null = null;

/** How many times the hub answers that it is busy. */
let busy = 0;

const sha256 = (content: Buffer) => createHash("sha256").update(content).digest("hex");

function record(request: IncomingMessage): void {
  const { range, authorization } = request.headers;
  requests.push({ method: request.method ?? "", path: request.url ?? "", range, authorization });
}

function send(request: IncomingMessage, response: ServerResponse, content: Buffer): void {
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
  if (start > 0 && start >= content.length) response.writeHead(416).end();
  else {
    const headers: Record<string, string | number> = { "content-length": content.length - start };
    if (start > 0) headers["content-range"] = `bytes ${start}-${content.length - 1}/${content.length}`;
    response.writeHead(start > 0 ? 206 : 200, headers);
    response.end(request.method === "HEAD" ? undefined : content.subarray(start));
  }
}

const store = createServer((request, response) => {
  record(request);
  const { content } = files.get(decodeURIComponent(request.url!.slice(1)))!;
  const act = misbehave ?? send;
  misbehave = null;
  act(request, response, content);
});

const hub = createServer((request, response) => {
  record(request);
  const [, repo, revision, name] =
    /^\/(.+)\/resolve\/([^/]+)\/(.+)$/.exec(decodeURIComponent(request.url!)) ?? [];
  if (repo === "old/name") {
    response.writeHead(307, { location: `/org/name/resolve/${revision}/${name}` }).end();
    return;
  }
  const file = files.get(name);
  if (repo === "org/private") response.writeHead(401).end();
  else if (repo !== "org/name") response.writeHead(404, { "x-error-code": "RepoNotFound" }).end();
  else if (!file) response.writeHead(404, { "x-error-code": "EntryNotFound", "x-repo-commit": COMMIT }).end();
  else if (busy > 0) {
    busy--;
    response.writeHead(503, { "retry-after": "0" }).end();
  } else {
    response.setHeader("x-repo-commit", COMMIT);
    if (file.large) {
      response.writeHead(302, {
        location: `http://127.0.0.1:${(store.address() as AddressInfo).port}/${name}`,
        "x-linked-etag": `"${file.etag ?? sha256(file.content)}"`,
        "x-linked-size": file.content.length,
      });
      response.end();
    } else {
      response.setHeader("etag", `"${createHash("sha1").update(file.content).digest("hex")}"`);
      send(request, response, file.content);
    }
  }
});

await Promise.all(
  [hub, store].map((server) => new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready))),
);
after(() => {
  for (const server of [hub, store]) {
    server.closeAllConnections();
    server.close();
  }
  rmSync(root, { recursive: true });
});

let cache: string;
let repo: string;
beforeEach(() => {
  cache = mkdtempSync(join(root, "cache-"));
  repo = join(cache, "models--org--name");
  for (const name of ["AUDIOCRAFT_CACHE_DIR", "HF_HUB_OFFLINE", "HF_TOKEN"]) delete process.env[name];
  process.env.HF_HUB_CACHE = cache;
  process.env.HF_TOKEN_PATH = join(cache, "no_token");
  process.env.HF_ENDPOINT = `http://127.0.0.1:${(hub.address() as AddressInfo).port}`;
  files.clear();
  requests = [];
  misbehave = null;
  busy = 0;
});

const small = Buffer.from('{"model_type": "musicgen"}');
const large = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 31) % 251));

const userError = (message: RegExp) => (error: unknown) =>
  error instanceof UserError && message.test(error.message);

/** Where an unfinished download of `large` is kept. */
function incomplete(): string {
  const path = join(repo, "blobs", `${sha256(large)}.incomplete`);
  mkdirSync(dirname(path), { recursive: true });
  return path;
}

test("the cache is where the Python libraries have it", () => {
  const folder = (env: NodeJS.ProcessEnv) => cacheFolders(env);
  assert.match(folder({})[0], /\/\.cache\/huggingface\/hub$/);
  assert.deepEqual(folder({ XDG_CACHE_HOME: "/x" }), ["/x/huggingface/hub"]);
  assert.deepEqual(folder({ XDG_CACHE_HOME: "/x", HF_HOME: "/h" }), ["/h/hub"]);
  assert.deepEqual(folder({ HF_HOME: "/h", HF_HUB_CACHE: "/c" }), ["/c"]);
  assert.deepEqual(folder({ HF_HUB_CACHE: "/c", AUDIOCRAFT_CACHE_DIR: "/a" }), ["/a", "/c"]);
  assert.ok(!folder({ HF_HUB_CACHE: "~/c" })[0].includes("~"));
});

test("a file in the cache is found through its ref, without a request", async () => {
  mkdirSync(join(repo, "refs"), { recursive: true });
  mkdirSync(join(repo, "snapshots", COMMIT, "sub"), { recursive: true });
  writeFileSync(join(repo, "refs/main"), COMMIT);
  writeFileSync(join(repo, "snapshots", COMMIT, "sub/config.json"), small);
  const path = join(repo, "snapshots", COMMIT, "sub/config.json");
  assert.equal(await resolveHubFile("org/name", "sub/config.json"), path);
  assert.equal(await resolveHubFile("org/name", "sub/config.json", { revision: COMMIT }), path);
  process.env.HF_HUB_CACHE = join(root, "elsewhere");
  process.env.AUDIOCRAFT_CACHE_DIR = cache;
  assert.equal(await resolveHubFile("org/name", "sub/config.json"), path);
  assert.deepEqual(requests, []);
});

test("a small file is downloaded to a blob, linked into the snapshot, and not asked for again", async () => {
  files.set("sub/config.json", { content: small });
  const path = await resolveHubFile("org/name", "sub/config.json");
  const etag = createHash("sha1").update(small).digest("hex");
  assert.equal(path, join(repo, "snapshots", COMMIT, "sub/config.json"));
  assert.equal(readlinkSync(path), `../../../blobs/${etag}`);
  assert.deepEqual(readFileSync(path), small);
  assert.equal(readFileSync(join(repo, "refs/main"), "utf8"), COMMIT);
  assert.deepEqual(readdirSync(join(repo, "blobs")), [etag]);
  requests = [];
  assert.equal(await resolveHubFile("org/name", "sub/config.json"), path);
  assert.deepEqual(requests, []);
});

test("a large file comes from the store, with progress; the token is for the hub alone", async () => {
  files.set("model.safetensors", { content: large, large: true });
  process.env.HF_TOKEN = "secret";
  const progress: [number, number][] = [];
  const path = await resolveHubFile("org/name", "model.safetensors", {
    onProgress: (done, total) => progress.push([done, total]),
  });
  assert.deepEqual(readFileSync(path), large);
  assert.deepEqual(progress.at(-1), [large.length, large.length]);
  const tokens = new Map(
    requests.map(({ path, authorization }) => [path.includes("resolve"), authorization]),
  );
  assert.deepEqual([tokens.get(true), tokens.get(false)], ["Bearer secret", undefined]);
});

test("a download that broke off earlier goes on where it stopped", async () => {
  files.set("model.safetensors", { content: large, large: true });
  writeFileSync(incomplete(), large.subarray(0, 200_000));
  const path = await resolveHubFile("org/name", "model.safetensors");
  assert.deepEqual(readFileSync(path), large);
  assert.equal(requests.at(-1)?.range, "bytes=200000-");
  assert.equal(existsSync(incomplete()), false);
});

test("a connection that breaks is taken up again", async () => {
  files.set("model.safetensors", { content: large, large: true });
  misbehave = (_, response, content) => {
    response.writeHead(200, { "content-length": content.length });
    response.write(content.subarray(0, 100_000), () => response.destroy());
  };
  const path = await resolveHubFile("org/name", "model.safetensors");
  assert.deepEqual(readFileSync(path), large);
  const downloads = requests.filter(({ method, path }) => method === "GET" && !path.includes("resolve"));
  assert.equal(downloads.length, 2);
  assert.match(downloads[1].range ?? "", /^bytes=[1-9]\d*-$/);
});

test("a store that cannot resume sends the whole file again", async () => {
  files.set("model.safetensors", { content: large, large: true });
  writeFileSync(incomplete(), Buffer.alloc(1000, 1));
  misbehave = (_, response, content) => response.writeHead(200).end(content);
  assert.deepEqual(readFileSync(await resolveHubFile("org/name", "model.safetensors")), large);
});

test("what arrives with another SHA-256 is thrown away", async () => {
  files.set("model.safetensors", { content: large, large: true });
  const wrong = Buffer.from(large);
  wrong[1000] ^= 1;
  misbehave = (_, response) => response.writeHead(200).end(wrong);
  await assert.rejects(resolveHubFile("org/name", "model.safetensors"), userError(/SHA-256 .* differs/));
  assert.deepEqual(readdirSync(join(repo, "blobs")), []);
  assert.equal(existsSync(join(repo, "snapshots")), false);
});

test("too few bytes are a user error, and are kept for the next try", async () => {
  files.set("model.safetensors", { content: large, large: true });
  misbehave = (_, response, content) => response.writeHead(200).end(content.subarray(0, 1000));
  await assert.rejects(
    resolveHubFile("org/name", "model.safetensors"),
    userError(/300000 bytes announced, 1000 arrived/),
  );
  assert.deepEqual(readFileSync(await resolveHubFile("org/name", "model.safetensors")), large);
});

test("a hub that is busy is asked again; one that stays so is reported", async () => {
  files.set("config.json", { content: small });
  busy = 3;
  assert.deepEqual(readFileSync(await resolveHubFile("org/name", "config.json")), small);
  files.set("other.json", { content: large });
  busy = 100;
  await assert.rejects(
    resolveHubFile("org/name", "other.json"),
    userError(/answers HTTP 503; try again later/),
  );
});

test("a store that breaks every connection at once is given up", async () => {
  files.set("model.safetensors", { content: large, large: true });
  const breakOff = (_: IncomingMessage, response: ServerResponse) => {
    misbehave = breakOff;
    response.writeHead(200, { "content-length": large.length });
    response.flushHeaders();
    response.destroy();
  };
  misbehave = breakOff;
  await assert.rejects(
    resolveHubFile("org/name", "model.safetensors"),
    userError(/the connection broke off/),
  );
  assert.ok(requests.length < 10);
});

test("more bytes than were announced are not taken", async () => {
  files.set("model.safetensors", { content: large, large: true });
  misbehave = (_, response, content) => response.writeHead(200).end(Buffer.concat([content, content]));
  await assert.rejects(resolveHubFile("org/name", "model.safetensors"), userError(/announced, more arrive/));
  assert.equal(existsSync(join(repo, "snapshots")), false);
  assert.deepEqual(readFileSync(await resolveHubFile("org/name", "model.safetensors")), large);
});

test("the token is HF_TOKEN, or that of the token file", () => {
  const home = mkdtempSync(join(root, "home-"));
  writeFileSync(join(home, "token"), "from_home\n");
  writeFileSync(join(home, "elsewhere"), "from_path");
  assert.equal(accessToken({ HF_HOME: home }), "from_home");
  assert.equal(accessToken({ HF_HOME: home, HF_TOKEN_PATH: join(home, "elsewhere") }), "from_path");
  assert.equal(accessToken({ HF_HOME: home, HF_TOKEN: " given \n" }), "given");
  assert.equal(accessToken({ HF_HOME: home, HF_HUB_DISABLE_IMPLICIT_TOKEN: "1" }), null);
  assert.equal(accessToken({ HF_HOME: join(home, "nowhere") }), null);
});

test("the token of the file is sent to the hub", async () => {
  files.set("config.json", { content: small });
  process.env.HF_TOKEN_PATH = join(cache, "token");
  writeFileSync(process.env.HF_TOKEN_PATH, "from_file\n");
  await resolveHubFile("org/name", "config.json");
  assert.deepEqual(
    new Set(requests.map(({ authorization }) => authorization)),
    new Set(["Bearer from_file"]),
  );
});

test("that a commit lacks a file is noted as the Python libraries note it, and not asked again", async () => {
  assert.equal(await resolveHubFile("org/name", "extra/none.json", { optional: true }), null);
  assert.ok(existsSync(join(repo, ".no_exist", COMMIT, "extra/none.json")));
  requests = [];
  assert.equal(await resolveHubFile("org/name", "extra/none.json", { optional: true }), null);
  assert.deepEqual(requests, []);
  await assert.rejects(
    resolveHubFile("org/name", "extra/none.json"),
    userError(/no file "extra\/none\.json"/),
  );
  assert.equal(requests.length, 1, "a file that is needed is asked for all the same");
});

test("two processes that ask at once share one download", async () => {
  files.set("model.safetensors", { content: large, large: true });
  misbehave = (request, response, content) => void setTimeout(() => send(request, response, content), 300);
  const module = new URL("../../src/checkpoint/hub.ts", import.meta.url).href;
  const program = `
    const { resolveHubFile } = await import(${JSON.stringify(module)});
    console.log(await resolveHubFile("org/name", "model.safetensors"));`;
  const run = promisify(execFile);
  const arguments_ = ["--import", "tsx", "--input-type=module", "-e", program];
  const outputs = await Promise.all([0, 1].map(() => run(process.execPath, arguments_)));
  assert.deepEqual(readFileSync(outputs[0].stdout.trim()), large);
  assert.equal(outputs[0].stdout, outputs[1].stdout);
  const downloads = requests.filter(({ method, path }) => method === "GET" && !path.includes("resolve"));
  assert.equal(downloads.length, 1);
});

test("a renamed repository is followed", async () => {
  files.set("config.json", { content: small });
  const path = await resolveHubFile("old/name", "config.json");
  assert.equal(path, join(cache, "models--old--name/snapshots", COMMIT, "config.json"));
});

test("several that ask at once share one download", async () => {
  files.set("model.safetensors", { content: large, large: true });
  const asks = Array.from({ length: 3 }, () => resolveHubFile("org/name", "model.safetensors"));
  assert.equal(new Set(await Promise.all(asks)).size, 1);
  const downloads = requests.filter(({ method, path }) => method === "GET" && !path.includes("resolve"));
  assert.equal(downloads.length, 1);
});

test("the lock of a process that died does not block", async () => {
  files.set("model.safetensors", { content: large, large: true });
  const lock = incomplete().replace(".incomplete", ".lock");
  writeFileSync(lock, "1");
  utimesSync(lock, 0, 0);
  assert.deepEqual(readFileSync(await resolveHubFile("org/name", "model.safetensors")), large);
  assert.equal(existsSync(lock), false);
});

test("refusals of the hub are user errors that say what to do", async () => {
  files.set("config.json", { content: small });
  await assert.rejects(resolveHubFile("org/private", "config.json"), userError(/HTTP 401.*set HF_TOKEN/));
  await assert.rejects(resolveHubFile("org/nowhere", "config.json"), userError(/no such repository/));
  await assert.rejects(
    resolveHubFile("org/name", "model.bin"),
    userError(/org\/name: no file "model\.bin" in revision main/),
  );
});

test("a file that the repository lacks is null when it is optional; no access is an error all the same", async () => {
  assert.equal(await resolveHubFile("org/name", "model.bin", { optional: true }), null);
  await assert.rejects(resolveHubFile("org/private", "model.bin", { optional: true }), UserError);
});

test("without a network the message names the repository, the file, its place and the way to get it", async () => {
  const place = join(repo, "snapshots/main/state_dict.bin");
  const complete = (reason: RegExp) => (error: unknown) =>
    error instanceof UserError &&
    reason.test(error.message) &&
    error.message.includes('org/name: the file "state_dict.bin" (revision main)') &&
    error.message.includes(`\n  ${place}\n`) &&
    error.message.includes("curl -fL -o state_dict.bin ") &&
    error.message.includes("/org/name/resolve/main/state_dict.bin");
  process.env.HF_HUB_OFFLINE = "1";
  await assert.rejects(resolveHubFile("org/name", "state_dict.bin"), complete(/HF_HUB_OFFLINE is set/));
  assert.equal(await resolveHubFile("org/name", "state_dict.bin", { optional: true }), null);
  assert.deepEqual(requests, []);

  delete process.env.HF_HUB_OFFLINE;
  process.env.HF_ENDPOINT = "http://127.0.0.1:1";
  await assert.rejects(
    resolveHubFile("org/name", "state_dict.bin"),
    complete(/127\.0\.0\.1:1 does not answer/),
  );

  mkdirSync(dirname(place), { recursive: true });
  writeFileSync(place, "x");
  assert.equal(await resolveHubFile("org/name", "state_dict.bin"), place);
});

test("a server that is no hub is named", async () => {
  files.set("org/name/resolve/main/config.json", { content: small });
  process.env.HF_ENDPOINT = `http://127.0.0.1:${(store.address() as AddressInfo).port}`;
  await assert.rejects(
    resolveHubFile("org/name", "config.json"),
    userError(/not that of a Hugging Face hub/),
  );
  process.env.HF_ENDPOINT = "hub.example.org";
  await assert.rejects(
    resolveHubFile("org/name", "config.json"),
    userError(/HF_ENDPOINT: "hub\.example\.org" is not an address/),
  );
});

test("names that lead out of the cache are refused", async () => {
  for (const name of ["../../x", "/etc/passwd", "a//b", ""]) {
    await assert.rejects(resolveHubFile("org/name", name), userError(/not the name of a repository's file/));
  }
  await assert.rejects(resolveHubFile("a/b/c", "x"), userError(/neither a folder nor the name/));
  await assert.rejects(
    resolveHubFile("org/name", "x", { revision: "../.." }),
    userError(/name of a revision/),
  );
});

test("a folder stands for a repository", async () => {
  const folder = mkdtempSync(join(root, "folder-"));
  writeFileSync(join(folder, "config.json"), small);
  assert.equal(await resolveHubFile(folder, "config.json"), join(folder, "config.json"));
  assert.equal(await resolveHubFile(folder, "other.json", { optional: true }), null);
  await assert.rejects(resolveHubFile(folder, "other.json"), userError(/other\.json: no such file/));
  await assert.rejects(
    resolveHubFile(`${folder}/missing`, "config.json"),
    userError(/missing: no such folder/),
  );
  assert.deepEqual(requests, []);
});

/** Writes two shards and their index to a folder. */
async function writeShards(folder: string): Promise<void> {
  const shard = (path: string, name: string, value: number) =>
    writeSafetensors(
      join(folder, path),
      [{ name, dtype: "F32", shape: [1], data: () => Float32Array.of(value) }],
      { format: "pt" },
    );
  await shard("model-1.safetensors", "a", 1);
  await shard("model-2.safetensors", "b", 2);
  const weight_map = { a: "model-1.safetensors", b: "model-2.safetensors" };
  writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify({ metadata: {}, weight_map }));
}

test("sharded weights of a folder are read as one", async () => {
  const folder = mkdtempSync(join(root, "shards-"));
  await writeShards(folder);
  const weights = await openHubWeights(folder);
  assert.deepEqual([...weights.names], ["a", "b"]);
  assert.deepEqual([weights.dtype("b"), weights.shape("b")], ["F32", [1]]);
  assert.deepEqual(
    [...weights.names].map((name) => weights.readFloat32(name)[0]),
    [1, 2],
  );
  assert.deepEqual(weights.metadata, { format: "pt" });
  assert.equal(weights.has("c"), false);
  assert.throws(() => weights.read("c"), userError(/no tensor "c"/));
  assert.equal(weights.verify(), true);
  weights.close();
});

test("sharded weights of a repository are downloaded; a single file is preferred", async () => {
  const folder = mkdtempSync(join(root, "shards-"));
  await writeShards(folder);
  for (const name of readdirSync(folder)) {
    files.set(name, { content: readFileSync(join(folder, name)), large: name.endsWith(".safetensors") });
  }
  const weights = await openHubWeights("org/name");
  assert.deepEqual([...weights.read("b")], [2]);
  weights.close();
  requests = [];
  (await openHubWeights("org/name")).close();
  assert.deepEqual(requests, [], "the second time all is in the cache");

  rmSync(repo, { recursive: true });
  files.set("model.safetensors", files.get("model-1.safetensors")!);
  const single = await openHubWeights("org/name");
  assert.deepEqual([...single.names], ["a"]);
  single.close();
});

test("an index that does not fit its shards is a user error", async () => {
  const folder = mkdtempSync(join(root, "shards-"));
  await writeShards(folder);
  const index = join(folder, "model.safetensors.index.json");
  const refuses = async (content: string, message: RegExp) => {
    writeFileSync(index, content);
    await assert.rejects(openHubWeights(folder), userError(message));
  };
  await refuses('{"weight_map": {"c": "model-1.safetensors"}}', /says that "c" is in model-1\.safetensors/);
  await refuses('{"weight_map": {"a": "model-3.safetensors"}}', /model-3\.safetensors: no such file/);
  await refuses('{"weight_map": {"a": "../model-1.safetensors"}}', /weight_map does not map/);
  await refuses("{", /cannot be read as JSON/);
});

/** What PyTorch wrote: w = [1, 1]. */
const torchFile = readFileSync(new URL("../golden/torch/no_checksums.pt", import.meta.url));

test("a folder or repository without safetensors gives what PyTorch wrote, in one file or in shards", async () => {
  const folder = mkdtempSync(join(root, "torch-"));
  writeFileSync(join(folder, "pytorch_model.bin"), torchFile);
  const single = await openHubWeights(folder);
  assert.deepEqual([...single.readFloat32("weight")], [1, 1]);
  single.close();

  const weight_map = { weight: "pytorch_model-00001-of-00001.bin" };
  files.set("pytorch_model.bin.index.json", { content: Buffer.from(JSON.stringify({ weight_map })) });
  files.set("pytorch_model-00001-of-00001.bin", { content: torchFile, large: true });
  const shards = await openHubWeights("org/name");
  assert.deepEqual([...shards.readFloat32("weight")], [1, 1]);
  shards.close();
});

test("weights that are in the cache are taken before others are asked for", async () => {
  files.set("pytorch_model.bin", { content: torchFile, large: true });
  await resolveHubFile("org/name", "pytorch_model.bin");
  files.set("model.safetensors", { content: small });
  requests = [];
  (await openHubWeights("org/name")).close();
  assert.deepEqual(requests, []);
});

test("a folder or repository without weights is a user error that names the four files that would do", async () => {
  const folder = mkdtempSync(join(root, "empty-"));
  const all =
    /model\.safetensors\b[\s\S]*model\.safetensors\.index\.json, pytorch_model\.bin, pytorch_model\.bin\.index\.json/;
  await assert.rejects(openHubWeights(folder), userError(all));
  await assert.rejects(openHubWeights(folder), userError(/model\.safetensors: no such file/));
  await assert.rejects(openHubWeights("org/name"), userError(/no file "model\.safetensors"/));
  await assert.rejects(openHubWeights("org/name"), userError(all));
  process.env.HF_HUB_OFFLINE = "1";
  await assert.rejects(openHubWeights("org/name"), userError(all));
});
