#!/usr/bin/env node
// `npm run gpu-check`: on a machine with an NVIDIA GPU, does everything that the GPU can do right or wrong, and writes one report.
//
//   scripts/gpu-check.mjs [GOLDEN_FOLDER …] [--out FILE.md] [--cpu] [--quick] [--only PATTERN]
//
// Each part is a command of its own in a process of its own, so that a crash or a hang of one is a line of the report.
// --cpu runs the same parts on the CPU, to try this script where there is no GPU; --quick runs the shortest of each, --only those parts
// whose name matches.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const launcher = join(root, "scripts", "launch.mjs");

/** Folders of test/golden in the format that `verify` reads, in every mode; what the others hold is in the tests. */
const GOLDEN = ["lm_tiny"];
const TESTS = ["test/runtime", "test/nn", "test/losses", "test/optim", "test/models"];
const BENCHES = ["train", "generate", "codec", "t5"];
/** Minutes after which a part counts as hung. */
const LIMIT = 20;

const options = parse(process.argv.slice(2));
process.exitCode = await main();

async function main() {
  const gpus = query("name,memory.total,driver_version");
  if (gpus.length === 0 && !options.cpu) {
    console.error(
      "gpu-check: nvidia-smi shows no GPU on this machine, so there is nothing to check.\n" +
        "Run it where one is; `npm run gpu-check -- --cpu` tries its parts on the CPU.",
    );
    return 2;
  }
  const work = mkdtempSync(join(tmpdir(), "musicgen-gpu-check-"));
  const results = [];
  try {
    for (const part of parts(work).filter(({ name }) => options.only.test(name))) {
      process.stderr.write(`${part.name} … `);
      const result = await perform(part);
      process.stderr.write(`${result.state} (${result.seconds.toFixed(1)} s)\n`);
      results.push(result);
      writeFileSync(options.out, report(gpus, results)); // what is known so far, should the machine go away
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  const failed = results.filter(({ state }) => state === "FAIL").length;
  console.log(
    `${results.length - failed} of ${results.length} parts without a failure; report: ${options.out}`,
  );
  return failed === 0 ? 0 : 1;
}

/** What is run, in this order. `optional`: the part may not be built; `look` tells from the output what is worth a line. */
function parts(work) {
  const device = options.cpu ? "cpu" : "cuda:0";
  const modes = ["graph", "xla"];
  const precisions = [
    ["float32", ["autocast=false"]],
    ["bfloat16", ["autocast=true", "autocast_dtype=bfloat16"]],
    ["float16", ["autocast=true", "autocast_dtype=float16"]],
  ];
  const golden = GOLDEN.map((name) => join(root, "test", "golden", name)).filter(existsSync);
  const folders = [
    ...(options.quick ? golden.slice(0, 1) : golden),
    ...options.folders.flatMap(goldenFolders),
  ];
  const short = [
    "optim.epochs=1",
    `optim.updates_per_epoch=${options.quick ? 2 : 20}`,
    "dataset.valid.num_samples=16",
    "generate.every=null",
    "logging.log_updates=1",
  ];
  const run = (name, overrides) => ({
    name: `train: ${name}`,
    command: ["train", `device=${device}`, `dora.dir=${work}`, `label=${name}`, ...short, ...overrides],
    look: /first update after .*|Valid Summary .*|profile.*/g,
    usesGpu: !options.cpu,
  });
  const all = [
    {
      name: "set-up",
      command: ["setup", ...(options.cpu ? [] : ["--gpu"])],
      look: /Set-up done.*|.*loads.*/g,
    },
    { name: "doctor", command: ["doctor"], look: /^(TensorFlow|GPU|OK|FAIL).*$/gm },
    ...modes.flatMap((jit) =>
      folders.map((folder) => ({
        name: `golden tensors, jit=${jit}: ${folder.split("/").pop()}`,
        command: ["verify", `jit=${jit}`, `device=${options.cpu ? "cpu" : "cuda"}`, folder],
        summary: checks,
      })),
    ),
    {
      name: "tests with golden tensors, in the mode that jit=auto is",
      command: ["test", ...(options.quick ? ["test/losses"] : TESTS)],
      look: /^(# (tests|pass|fail)|ℹ (tests|pass|fail)) .*|^not ok .*|^✖ .*/gm,
    },
    ...modes.flatMap((jit) =>
      precisions.map(([precision, overrides]) => run(`${jit} ${precision}`, [`jit=${jit}`, ...overrides])),
    ),
    run("memory grows as needed", ["gpu.memory_growth=true"]),
    run("all memory at once", ["gpu.memory_growth=false"]),
    run("at most 4 GB", ["gpu.memory_limit_mb=4096"]),
    run("profile", ["profiler.enabled=true"]),
    {
      name: "generate",
      command: () => [
        "generate",
        "calm piano",
        `model=${trained(work)}`,
        `duration=${options.quick ? 0.5 : 4}`,
        `device=${device}`,
        `out=${work}`,
      ],
      look: /.*x real time/g,
    },
    ...BENCHES.map((what) => ({
      name: `bench ${what}`,
      command: ["bench", what, ...(options.quick ? ["--runs", "1"] : [])],
      optional: /there is no benchmark|does not know|unknown/i,
      look: /.+/g,
    })),
  ];
  return options.quick
    ? all.filter(({ name }) => !/float16|at once|at most/.test(name) || /graph bfloat16/.test(name))
    : all;
}

/** Runs one command; its state is ok, FAIL, or skipped. */
async function perform({ name, command: given, look, summary, optional, usesGpu }) {
  const command = typeof given === "function" ? given() : given;
  const began = performance.now();
  const { code, output, peakMemory } = await spawned(command, usesGpu);
  const seconds = (performance.now() - began) / 1000;
  let state = code === 0 ? "ok" : "FAIL";
  if (code !== 0 && optional?.test(output)) state = "skipped";
  const lines = summary
    ? summary(output)
    : [...output.matchAll(look ?? /$^/g)].map(([line]) => line.trim()).slice(-40);
  if (state !== "ok") lines.push(...output.trim().split("\n").slice(-12));
  if (peakMemory !== null) lines.push(`most memory of the GPU in use: ${peakMemory} MiB`);
  return { name, state, seconds, command: `npm run ${command[0]} -- ${command.slice(1).join(" ")}`, lines };
}

/** The folder of a run that has been trained by now. */
function trained(work) {
  const runs = existsSync(join(work, "xps")) ? readdirSync(join(work, "xps")) : [];
  const done = runs.filter((run) => existsSync(join(work, "xps", run, "checkpoint.safetensors")));
  return join(work, "xps", done[0] ?? "none");
}

function spawned([name, ...argv], usesGpu) {
  const child = spawn(process.execPath, [launcher, name, ...argv], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (data) => {
      output += data;
    });
  let peakMemory = null;
  const watch = setInterval(() => {
    const used = Math.max(...query("memory.used", "csv,noheader,nounits").map(Number));
    if (Number.isFinite(used)) peakMemory = Math.max(peakMemory ?? 0, used);
  }, 1000);
  if (!usesGpu) clearInterval(watch);
  const limit = setTimeout(() => {
    output += `\nno end after ${LIMIT} minutes: stopped\n`;
    child.kill("SIGKILL");
  }, LIMIT * 60_000);
  return new Promise((done) => {
    child.on("close", (code) => {
      clearInterval(watch);
      clearTimeout(limit);
      done({ code, output: output.replace(/\r/g, "\n"), peakMemory });
    });
  });
}

/** `verify`'s JSON lines: how many pass, the largest share of a tolerance, and those that fail. */
function checks(output) {
  const all = output
    .split("\n")
    .filter((line) => line.startsWith('{"folder"'))
    .map((line) => JSON.parse(line));
  const failed = all.filter(({ pass }) => !pass);
  const shares = all
    .filter(({ error, tolerance }) => error !== null && tolerance > 0)
    .map((c) => c.error / c.tolerance);
  const worst =
    shares.length > 0 ? `, at most ${(100 * Math.max(...shares)).toFixed(0)} % of a tolerance used` : "";
  return [
    `${all.length - failed.length} of ${all.length} checks pass${worst}`,
    ...failed.map(
      ({ check, error, tolerance, reason }) => `${check}: ${error} of ${tolerance} ${reason ?? ""}`,
    ),
  ];
}

function report(gpus, results) {
  const versions = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const commit = spawnSync("git", ["rev-parse", "HEAD"], { cwd: root, encoding: "utf8" }).stdout?.trim();
  const counts = ["ok", "FAIL", "skipped"].map(
    (state) => `${results.filter((r) => r.state === state).length} ${state}`,
  );
  return [
    "# GPU check",
    "",
    `- ${new Date().toISOString()}${options.cpu ? ", **on the CPU (--cpu): this says nothing about a GPU**" : ""}`,
    `- musicgen-tfjs ${versions.version}${commit ? `, commit ${commit}` : ""}, Node ${process.versions.node}`,
    `- GPU: ${gpus.join("; ") || "none"}`,
    `- CPU: ${cpus()[0]?.model.trim()}, ${cpus().length} cores`,
    `- ${counts.join(", ")}`,
    "",
    "| part | state | seconds |",
    "|---|---|---|",
    ...results.map(({ name, state, seconds }) => `| ${name} | ${state} | ${seconds.toFixed(1)} |`),
    "",
    ...results.flatMap(({ name, state, command, lines }) => [
      `## ${name}: ${state}`,
      "",
      `\`${command}\``,
      "",
      ...(lines.length > 0 ? ["```", ...lines, "```", ""] : []),
    ]),
  ].join("\n");
}

/** One line for each GPU, or none. */
function query(fields, format = "csv,noheader") {
  const { status, stdout } = spawnSync("nvidia-smi", [`--query-gpu=${fields}`, `--format=${format}`], {
    encoding: "utf8",
  });
  return status === 0 ? stdout.trim().split("\n").filter(Boolean) : [];
}

/** A folder of golden tensors, or all those in a folder of such. */
function goldenFolders(path) {
  const folder = resolve(path);
  const inside = readdirSync(folder, { withFileTypes: true });
  const folders = inside.filter((entry) => entry.isDirectory()).map(({ name }) => join(folder, name));
  return inside.some((entry) => entry.isFile() && entry.name !== "README.md") ? [folder] : folders;
}

function parse(argv) {
  const values = { "--out": "gpu-check.md", "--only": "" };
  const flags = { "--cpu": false, "--quick": false };
  const folders = [];
  for (let i = 0; i < argv.length; i++) {
    const argument = argv[i];
    if (argument in flags) flags[argument] = true;
    else if (argument in values) values[argument] = argv[++i] ?? stop(`${argument} needs a value`);
    else if (argument.startsWith("-")) stop(`no option '${argument}'`);
    else if (!existsSync(argument)) stop(`${argument}: no such folder`);
    else folders.push(argument);
  }
  return {
    cpu: flags["--cpu"],
    quick: flags["--quick"],
    only: new RegExp(values["--only"]),
    out: resolve(values["--out"]),
    folders,
  };
}

function stop(message) {
  console.error(
    `gpu-check: ${message}. Usage: npm run gpu-check -- [GOLDEN_FOLDER …] [--out FILE.md] [--cpu] [--quick] [--only PATTERN]`,
  );
  process.exit(2);
}
