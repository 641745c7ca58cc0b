/** A report is one page that needs nothing else and tells what is in the run's folder. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { readAudio } from "../../src/data/audio/read.ts";
import { writeSample } from "../../src/solvers/samples.ts";

const launcher = fileURLToPath(new URL("../../scripts/launch.mjs", import.meta.url));
const root = mkdtempSync(join(tmpdir(), "musicgen-report-"));
const outputs = join(root, "outputs");
after(() => rmSync(root, { recursive: true, force: true }));

const rate = 16000;
const tone = (hertz: number, seconds: number) => [
  Float32Array.from({ length: seconds * rate }, (_, i) => 0.5 * Math.sin((2 * Math.PI * hertz * i) / rate)),
];
const history = [6, 5, 5.5].map((ce, index) => ({
  train: { lr: 1e-3, ce: ce + 0.25, ce_q1: ce, ce_q2: ce + 0.5, grad_norm: 10 ** index, duration: 60 },
  valid: { ce, ppl: Math.exp(ce), ce_q1: ce, ce_q2: ce + 1, duration: 2 },
}));

function experiment(sig: string, files: Record<string, string>): string {
  const folder = join(outputs, "xps", sig);
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

/** Runs the command; `page` is what it wrote. It fails the test when TensorFlow's library was loaded. */
function report(...args: string[]): { code: number | null; output: string; page: string } {
  const out = join(root, "page.html");
  rmSync(out, { force: true });
  const watch = `process.on("exit", () => {
    if (process.report.getReport().sharedObjects.some((name) => /tensorflow/.test(name))) console.error("TENSORFLOW LOADED");
  })`;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["--import", `data:text/javascript,${encodeURIComponent(watch)}`, launcher, "report", ...args],
    { encoding: "utf8", env: { ...process.env, AUDIOCRAFT_DORA_DIR: outputs, NO_COLOR: "1" } },
  );
  const output = stdout + stderr;
  assert.doesNotMatch(output, /TENSORFLOW LOADED/);
  return { code: status, output, page: args.includes(out) && status === 0 ? readFileSync(out, "utf8") : "" };
}

const out = join(root, "page.html");
let page = "";
let output = "";

before(async () => {
  const folder = experiment("0123abcd", {
    ".argv.json": '["solver=musicgen/tiny","optim.epochs=5"]',
    ".runs.json": JSON.stringify([
      {
        started: "2026-01-02T03:04:05.000Z",
        command: ["npm", "run", "train", "--", "optim.epochs=5"],
        cwd: "/",
        node: "v20.0.0",
        commit: "c0ffee00",
        dirty: true,
      },
    ]),
    "history.json": JSON.stringify(history),
    "solver.log.0": "[01-02 03:04:05][train][WARNING] - <script>alert(1)</script>\n",
    "deadlock.txt": "at waits & waits",
  });
  for (const epoch of [1, 2]) {
    for (const prompt of [null, tone(500, 0.25)]) {
      await writeSample(
        join(folder, "samples"),
        epoch,
        {
          index: 0,
          seed: 0,
          audio: tone(1000 * epoch, 1),
          sampleRate: rate,
          conditions: { description: 'a "bright" <b>tone</b>' },
          prompt,
          reference: tone(3000, 1),
          generationArgs: {},
        },
        { format: "wav", levels: { strategy: "clip" } },
      );
    }
  }
  writeFileSync(join(folder, "samples", "2", "cut.json"), '{"id": "cu');
  ({ page, output } = report("0123", "--out", out));
});

test("the command says where the page is and how large, and does not load TensorFlow", () => {
  const megabytes = (statSync(out).size / 1e6).toFixed(1);
  assert.equal(output, `${out}  (${megabytes} MB; 3 epochs, 2 samples)\n`);
});

test("nothing in the page leads out of it, and its policy forbids that", () => {
  const addresses = [...page.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, address]) => address);
  assert.ok(addresses.length > 0);
  assert.ok(addresses.every((address) => address.startsWith("data:")));
  assert.doesNotMatch(page, /https?:|<link|@import|url\(/);
  assert.match(page, /Content-Security-Policy" content="default-src 'none'/);
});

test("what a run's files say is text in the page, never markup", () => {
  assert.equal(page.split("<script>").length - 1, 1); // the page's own
  assert.match(page, /&#60;script&#62;alert\(1\)/);
  assert.match(page, /a &#34;bright&#34; &#60;b&#62;tone/);
});

test("every element is closed by its own end", () => {
  const voids = new Set(["meta", "input", "br", "img"]);
  const open: string[] = [];
  const body = page.replace(/<(script|style)>[\s\S]*?<\/\1>/g, "").replace(/^<!doctype html>/, "");
  for (const [, end, name, closed] of body.matchAll(/<(\/?)([a-z][a-z0-9]*)(?:\s[^<>]*?)?(\/?)>/g)) {
    if (end) assert.equal(open.pop(), name);
    else if (!closed && !voids.has(name)) open.push(name);
  }
  assert.deepEqual(open, []);
  assert.doesNotMatch(body.replace(/<\/?[a-z][^<>]*>/g, ""), /[<>]/);
});

test("title, signature, state, command line, commit and settings are at its head", () => {
  const head = page.slice(page.indexOf("<header>"), page.indexOf("</header>"));
  for (const text of [
    "0123abcd",
    "stopped before its last epoch, 3 of 5 epochs",
    "npm run train -- optim.epochs=5",
    "c0ffee00",
    "with changes",
    "best validation cross entropy, epoch 2",
  ])
    assert.ok(head.includes(text), text);
});

test("there is a chart per metric with the values of every stage, and one of the codebooks per stage", () => {
  const charts = [...page.matchAll(/data-chart="([^"]*)"[\s\S]*?<b>([^<]*)<\/b>/g)].map(
    ([, data, title]) => ({
      title,
      ...JSON.parse(data.replace(/&#(\d+);/g, (_, code) => String.fromCharCode(Number(code)))),
    }),
  );
  assert.deepEqual(
    charts.map(({ title }) => title),
    [
      "cross entropy",
      "perplexity",
      "learning rate",
      "gradient norm",
      "seconds per stage",
      "cross entropy, train",
      "cross entropy, valid",
    ],
  );
  const points = ({ series }: { series: { name: string; points: number[][] }[] }) =>
    Object.fromEntries(series.map((one) => [one.name, one.points]));
  const byEpoch = (values: number[]) => values.map((value, index) => [index + 1, value]);
  assert.deepEqual(points(charts[0]), { train: byEpoch([6.25, 5.25, 5.75]), valid: byEpoch([6, 5, 5.5]) });
  assert.deepEqual(points(charts[6]), {
    "codebook 1": byEpoch([6, 5, 5.5]),
    "codebook 2": byEpoch([7, 6, 6.5]),
  });
});

test("a chart's lines lie where its values are: lower values lower, on the logarithmic axis tenfold steps equal", () => {
  const chart = page.slice(page.indexOf("<b>gradient norm</b>"));
  const heights = (variant: string) =>
    /points="([^"]*)"/
      .exec(chart.slice(chart.indexOf(`<g class="${variant}">`)))![1]
      .split(" ")
      .map((place) => Number(place.split(",")[1]));
  const [a, b, c] = heights("logarithmic"); // 1, 10, 100
  assert.ok(a > b && b > c && Math.abs(a - b - (b - c)) < 0.2);
  const [d, e, f] = heights("linear");
  assert.ok(Math.abs((e - f) / (d - e) - 10) < 0.5);
});

test("a sample is heard at every epoch, with its prompt and its reference", async () => {
  const sounds = [...page.matchAll(/src="data:audio\/mpeg;base64,([^"]*)"><\/audio><figcaption>([^<]*)/g)];
  const expected = ["reference, from the data", "epoch 2", "epoch 1", "prompt", "epoch 2", "epoch 1"];
  assert.deepEqual(
    sounds.map(([, , label]) => label.split(" · ")[0]),
    expected,
  );
  const hertz = [3000, 2000, 1000, 500, 2000, 1000];
  for (const [i, [, data]] of sounds.entries()) {
    const file = join(root, `${i}.mp3`);
    writeFileSync(file, Buffer.from(data, "base64"));
    const { samples, sampleRate } = await readAudio(file);
    const seconds = expected[i] === "prompt" ? 0.25 : 1;
    assert.deepEqual([samples[0].length, sampleRate], [seconds * rate, rate]);
    const crossings = samples[0].filter((value, at) => at > 0 && value > 0 !== samples[0][at - 1] > 0).length;
    assert.ok(Math.abs(crossings / 2 / seconds - hertz[i]) < 0.05 * hertz[i], `${crossings}`);
  }
  assert.equal(page.split('src="data:image/png').length - 1, sounds.length);
});

test("epochs, warnings, the stack of a hang and the whole config are in it", () => {
  assert.match(page, /<tr class="best"><th>2 ★<\/th>/);
  assert.match(page, /<b>WARNING<\/b>/);
  assert.match(page, /at waits &#38; waits/);
  assert.match(page, /<details><summary>the whole config<\/summary><pre>[^<]*updates_per_epoch:/);
});

test("with less room than all sounds need, the newest epoch is kept, and the page says what is missing", () => {
  const newest = [...page.matchAll(/<figure class="clip">[\s\S]*?<\/figure>/g)]
    .map(([figure]) => figure)
    .filter((figure) => figure.includes(">epoch 2"));
  const size = newest.flatMap((figure) => figure.match(/data:[^"]*/g)!).join("").length;
  const limit = String(size / 1e6);
  const small = report("0123abcd", "--out", out, "--limit", limit);
  const labels = [...small.page.matchAll(/<\/audio><figcaption>([^<·]*) ·/g)].map(([, label]) => label);
  assert.deepEqual([...new Set(labels)], ["epoch 2"]);
  assert.match(small.page, /files are left out to keep the page below/);
  assert.match(small.output, /sounds left out/);
});

test("a run in its first epoch has a report: in its folder, newest by default, with the curve so far", () => {
  const folder = experiment("fedcba98", {
    ".argv.json": '["solver=musicgen/tiny"]',
    "solver.log.0": [1, 2, 3]
      .map(
        (i) => `[01-02 03:04:05][train][INFO] - Train | Epoch 1 | ${i}/8 | 1.00 it/sec | ce ${6 - i / 10}\n`,
      )
      .join(""),
  });
  const later = Date.now() / 1000 + 60;
  utimesSync(join(folder, ".argv.json"), later, later);
  const { output: said } = report();
  assert.match(said, /fedcba98\/report\.html {2}\(0\.\d MB; 0 epochs, 0 samples\)/);
  const early = readFileSync(join(folder, "report.html"), "utf8");
  assert.match(early, /50 % of the next is trained/);
  assert.match(early, /<polyline class="line c1 faint"/);
});

test("an unknown run is an error that names those there are", () => {
  const { code, output: said } = report("abc");
  assert.equal(code, 1);
  assert.match(said, /error: there is no experiment 'abc' .*0123abcd/);
});
