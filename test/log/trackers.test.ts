/** Trackers speak their services' HTTP APIs, find a run again, and never stand in a run's way. */
import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { MlflowTracker } from "../../src/log/trackers/mlflow.ts";
import { flatConfig, type RunDescription, type TrackedSample } from "../../src/log/trackers/tracker.ts";
import { WandbTracker } from "../../src/log/trackers/wandb.ts";

const warnings: string[] = [];
const log = {
  info() {},
  debug() {},
  error() {},
  warn: (message: string) => void warnings.push(message),
  close() {},
  named: () => log,
};
const run: RunDescription = {
  signature: "01234567",
  folder: "/nowhere",
  config: { optim: { lr: 1e-3 }, seed: 1 },
  log,
};
const sample: TrackedSample = {
  name: "piano",
  caption: "slow piano",
  wav: new Uint8Array([1, 2, 3]),
  sampleRate: 16000,
  channels: 1,
  frames: 1,
  picture: new Uint8Array([4]),
};

interface Request {
  method: string;
  path: string;
  body: string;
}

/** A server that answers by `answer`, and what it was asked. */
async function serve(
  answer: (request: Request) => unknown,
): Promise<{ url: string; requests: Request[]; server: Server }> {
  const requests: Request[] = [];
  const server = createServer(async (incoming: IncomingMessage, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const request = {
      method: incoming.method!,
      path: incoming.url!,
      body: Buffer.concat(chunks).toString("latin1"),
    };
    requests.push(request);
    const body = answer(request);
    response.statusCode = typeof body === "number" ? body : 200;
    response.end(typeof body === "number" ? "{}" : JSON.stringify(body ?? {}));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests, server };
}

test("wandb: the run is made under its signature, history lines follow those that are there, samples are uploaded", async () => {
  const { url, requests, server } = await serve(({ path, body }) => {
    if (body.includes("createRunFiles"))
      return { data: { createRunFiles: { files: [{ name: "a", uploadUrl: "/upload" }] } } };
    if (path === "/graphql") {
      const bucket = { historyLineCount: 5, project: { name: "audiocraft", entity: { name: "me" } } };
      return { data: { upsertBucket: { bucket } } };
    }
  });
  process.env.WANDB_BASE_URL = url;
  process.env.WANDB_API_KEY = "key";
  const tracker = new WandbTracker({ project: null, name: null, group: null }, run);
  tracker.metrics("train", { ce: 1.5 }, 3);
  tracker.sample(sample, 3);
  await tracker.finish("finished");
  server.close();
  const variables = JSON.parse(requests[0].body).variables;
  assert.equal(variables.id, "01234567");
  assert.deepEqual(JSON.parse(variables.config).optim, { value: { lr: 1e-3 } });
  assert.equal(requests[1].path, "/files/me/audiocraft/01234567/file_stream");
  const history = JSON.parse(requests[1].body).files["wandb-history.jsonl"];
  assert.equal(history.offset, 5);
  const line = JSON.parse(history.content[0]);
  assert.deepEqual([line._step, line.epoch, line["train/ce"]], [5, 3, 1.5]);
  const upload = requests.find(({ path }) => path === "/upload")!;
  assert.deepEqual([upload.method, upload.body], ["PUT", "\x01\x02\x03"]);
  const last = requests.filter(({ path }) => path.endsWith("file_stream")).at(-1)!;
  assert.deepEqual(JSON.parse(last.body), { complete: true, exitcode: 0 });
});

test("mlflow: experiment and run are made when there are none, and parameters, metrics, artifacts and status arrive", async () => {
  const { url, requests, server } = await serve(({ path }) => {
    if (path.includes("get-by-name")) return 404;
    if (path.endsWith("experiments/create")) return { experiment_id: "7" };
    if (path.endsWith("runs/search")) return {};
    if (path.endsWith("runs/create"))
      return { run: { info: { run_id: "r", artifact_uri: "mlflow-artifacts:/7/r/artifacts" } } };
  });
  const tracker = new MlflowTracker({ tracking_uri: url, experiment: "music", name: null }, run);
  tracker.metrics("valid", { ce: 2, broken: Number.NaN }, 4);
  tracker.sample(sample, 4);
  await tracker.finish("interrupted");
  server.close();
  const bodies = (end: string) =>
    requests.filter(({ path }) => path.endsWith(end)).map(({ body }) => JSON.parse(body));
  assert.deepEqual(bodies("runs/create")[0].tags, [{ key: "signature", value: "01234567" }]);
  const [params, metrics] = bodies("runs/log-batch");
  assert.deepEqual(params.params, [
    { key: "optim.lr", value: "0.001" },
    { key: "seed", value: "1" },
  ]);
  assert.deepEqual(
    metrics.metrics.map(({ key, value, step }: Record<string, unknown>) => [key, value, step]),
    [["valid/ce", 2, 4]],
  );
  assert.ok(requests.some(({ path }) => path.endsWith("/7/r/artifacts/samples/4/piano.wav")));
  assert.equal(bodies("runs/update").at(-1).status, "KILLED");
});

test("a server that fails is tried again, then reported once; nothing is thrown and nothing hangs", async () => {
  warnings.length = 0;
  let calls = 0;
  const { url, server } = await serve(() => {
    calls++;
    return 503;
  });
  const tracker = new MlflowTracker({ tracking_uri: url, experiment: "music", name: null }, run, {
    delays: [1, 1],
  });
  for (let epoch = 1; epoch < 5; epoch++) tracker.metrics("train", { ce: 1 }, epoch);
  await tracker.finish("finished");
  server.close();
  assert.equal(calls, 3);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /mlflow: .*answers 503.*the run goes on/);
});

test("a nested config is flat for services that know no nesting", () => {
  assert.deepEqual(flatConfig({ a: { b: 1, c: [1, 2] }, d: null }), { "a.b": 1, "a.c": "[1,2]", d: null });
});
