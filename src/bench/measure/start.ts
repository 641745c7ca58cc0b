/** From the command line to the first result: the first training step of the tiny default, and one second of audio. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PROJECT_ROOT } from "../../config/index.ts";
import { writeUntrainedCheckpoint } from "../../solvers/untrained.ts";
import { type Measurement, peakBytes } from "../measurement.ts";
import type { Request } from "../request.ts";
import { FIRST_STEP_FILE } from "./first_step.ts";
import { versions } from "./model.ts";

export async function measureStart(request: Request): Promise<Measurement> {
  const folder = mkdtempSync(join(tmpdir(), "musicgen-tfjs-start-"));
  try {
    const model = join(folder, "model.safetensors");
    await writeUntrainedCheckpoint(model, []);
    const train = await repeated(request, (run) => firstStep(join(folder, `run${run}`)));
    const argv = ["lo-fi beat", "duration=1", `model=${model}`, `out=${join(folder, "samples")}`];
    const generate = await repeated(request, () => command(["generate", "--", ...argv]));
    return {
      series: {
        train: train.map(({ seconds }) => seconds),
        generate: generate.map(({ seconds }) => seconds),
      },
      peakBytes: Math.max(...[...train, ...generate].map(({ peak }) => peak)),
      facts: {},
      versions: versions(),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Command {
  seconds: number;
  peak: number;
}

async function repeated(
  { runs, warmup }: Request,
  work: (run: number) => Promise<Command>,
): Promise<Command[]> {
  const all: Command[] = [];
  for (let run = 0; run < warmup + runs; run++) all.push(await work(run));
  return all.slice(warmup);
}

/** `npm run train` in a new experiment folder, until the plugin first_step.ts ends it. */
async function firstStep(folder: string): Promise<Command> {
  const began = now();
  const mark = `${folder}.txt`;
  const plugin = join(PROJECT_ROOT, "src/bench/measure/first_step.ts");
  const { peak } = await command(["train", "--", `dora.dir=${folder}`, `plugins=[${plugin}]`], {
    [FIRST_STEP_FILE]: mark,
  });
  return { seconds: Number(readFileSync(mark, "utf8")) - began, peak };
}

/** Runs `npm run …` to its end. The peak is that of the largest of its processes. */
async function command(argv: string[], env: Record<string, string> = {}): Promise<Command> {
  const began = now();
  const child = spawn("npm", ["run", "--silent", ...argv], {
    cwd: PROJECT_ROOT,
    env: { ...process.env, ...env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let errors = "";
  child.stderr.on("data", (text) => {
    errors += text;
  });
  let peak = 0;
  const watch = setInterval(() => {
    peak = Math.max(peak, ...processTree(child.pid!).map(peakBytes));
  }, 50);
  const code = await new Promise((resolve, reject) => child.once("close", resolve).once("error", reject));
  clearInterval(watch);
  if (code !== 0) throw new Error(`npm run ${argv[0]} failed with exit code ${code}: ${errors}`);
  return { seconds: now() - began, peak };
}

/** A process and all that it started. */
function processTree(pid: number): number[] {
  let children = "";
  try {
    children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
  } catch {
    // it has ended
  }
  return [pid, ...children.split(" ").filter(Boolean).map(Number).flatMap(processTree)];
}

/** Seconds on a clock that all processes share. */
function now(): number {
  return (performance.timeOrigin + performance.now()) / 1000;
}
