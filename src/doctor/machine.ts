/** What a report about a problem should say of the machine: versions, processor, memory, caches, programs. */
import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, readdirSync, readFileSync, statfsSync, statSync } from "node:fs";
import { availableParallelism, cpus, freemem, homedir, release, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { findFfmpeg } from "../data/audio/ffmpeg.ts";
import { visibleGpus } from "../runtime/gpus.ts";
import { type NativeInstallation, nativeInstallation } from "../runtime/native.ts";

const checkout = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Name of each fact and its value, or values, in the order in which they are worth reading. */
export function describeMachine(): Record<string, string | string[]> {
  const installation = nativeInstallation();
  const hub = hubFolder();
  return {
    Node: `${process.versions.node} (${process.execPath})`,
    npm: npmVersion(),
    System: `${process.platform} ${process.arch}, kernel ${release()}, ${distribution()}`,
    TensorFlow: `${installation.tensorflowVersion} (${installation.variant}), ${installation.tensorflow}`,
    Processor: describeProcessor(),
    GPU: describeGpus(installation),
    Memory: `${formatSize(freemem())} free of ${formatSize(totalmem())}`,
    ffmpeg: describeFfmpeg(),
    Caches: [
      describeFolder("TensorFlow and native code", installation.cache),
      describeFolder("Hugging Face hub", hub),
    ],
    "Free disk": freeDisks([checkout, installation.cache, hub]),
  };
}

/** The hub cache as the hub's own client finds it. */
export function hubFolder(env: NodeJS.ProcessEnv = process.env): string {
  if (env.HF_HUB_CACHE) return env.HF_HUB_CACHE;
  if (env.HF_HOME) return join(env.HF_HOME, "hub");
  return join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "huggingface", "hub");
}

/** The instruction sets that decide how fast TensorFlow computes here. */
export function processorFeatures(cpuinfo: string): string[] {
  const flags = new Set(/^flags\s*:\s*(.*)$/m.exec(cpuinfo)?.[1]?.split(" ") ?? []);
  const telling = ["avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16"];
  return telling.filter((flag) => flags.has(flag));
}

function describeProcessor(): string {
  const features = existsSync("/proc/cpuinfo")
    ? processorFeatures(readFileSync("/proc/cpuinfo", "utf8"))
    : [];
  const model = cpus()[0]?.model.trim() ?? "unknown";
  return `${model}, ${availableParallelism()} cores, ${features.join(" ") || "features unknown"}`;
}

/** Name, memory and driver of each NVIDIA GPU that the driver shows. */
export function findGpus(): string[] {
  const query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"];
  const { status, stdout } = spawnSync("nvidia-smi", query, { encoding: "utf8" });
  return status === 0 ? stdout.trim().split("\n").filter(Boolean) : [];
}

function describeGpus({ variant }: NativeInstallation): string | string[] {
  const gpus = findGpus();
  if (gpus.length === 0) return "none found";
  const chosen = process.env.CUDA_VISIBLE_DEVICES;
  if (chosen !== undefined) gpus.push(`CUDA_VISIBLE_DEVICES=${chosen} leaves ${visibleGpus()} of them`);
  if (variant === "cpu") return [...gpus, "not used: this is TensorFlow for CPU (npm run setup -- --gpu)"];
  return gpus;
}

/** WAV, AIFF, FLAC, MP3, Ogg Vorbis and Opus are read without it. */
function describeFfmpeg(): string {
  const missing = "AAC (m4a), ALAC, CAF and WMA files cannot be read; all other audio can";
  let path: string | undefined;
  try {
    path = findFfmpeg();
  } catch (error) {
    return `${(error as Error).message}; ${missing}`;
  }
  if (path === undefined) return `missing: ${missing}. Install ffmpeg, or set FFMPEG_PATH to it`;
  const { status, stdout } = spawnSync(path, ["-version"], { encoding: "utf8" });
  if (status !== 0) return `${path} does not run: ${missing}`;
  return `${stdout.split("\n")[0] || "found"} (${path})`;
}

function npmVersion(): string {
  const agent = /^npm\/(\S+)/.exec(process.env.npm_config_user_agent ?? "")?.[1];
  if (agent) return agent;
  const { status, stdout } = spawnSync("npm", ["--version"], { encoding: "utf8" });
  return status === 0 ? stdout.trim() : "not on PATH";
}

function distribution(): string {
  if (!existsSync("/etc/os-release")) return "unknown distribution";
  return (
    /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "unknown distribution"
  );
}

function describeFolder(what: string, folder: string): string {
  return existsSync(folder)
    ? `${what}: ${folder}, ${formatSize(folderSize(folder))}`
    : `${what}: ${folder}, empty`;
}

/** Free space, once per disk; a folder that is not there yet counts for its nearest parent. */
function freeDisks(folders: string[]): string[] {
  const disks = new Map<number, string>();
  for (const folder of folders) {
    let existing = folder;
    while (!existsSync(existing)) existing = dirname(existing);
    const { dev } = statSync(existing);
    const { bavail, bsize } = statfsSync(existing);
    if (!disks.has(dev)) disks.set(dev, `${formatSize(bavail * bsize)} at ${existing}`);
  }
  return [...disks.values()];
}

function folderSize(folder: string): number {
  let size = 0;
  for (const entry of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    const state = lstatSync(join(folder, entry), { throwIfNoEntry: false });
    if (state?.isFile()) size += state.size;
  }
  return size;
}

function formatSize(bytes: number): string {
  return bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}
