// What this machine has: C library, processor, Python with pip, compiler, disk space, NVIDIA driver.
import { accessSync, constants, mkdirSync, readFileSync, statfsSync } from "node:fs";
import { findProgram, runCommand } from "./command.mjs";
import { asSetupError, SetupError } from "./messages.mjs";
import { formatSize } from "./progress.mjs";
import { hasDriverFile } from "./stamp.mjs";

/** TensorFlow's wheels need glibc 2.27 or newer, and a processor with AVX. */
export function checkMachine({ glibc, flags } = { glibc: glibcVersion(), flags: processorFlags() }) {
  if (glibc === undefined) {
    throw new SetupError(
      "this system's C library is not glibc (Alpine Linux has musl), and TensorFlow has no build for it. " +
        "Use a glibc system or image, such as Debian, Ubuntu or Fedora.",
    );
  }
  const [major, minor] = glibc.split(".").map(Number);
  if (major < 2 || (major === 2 && minor < 27)) {
    throw new SetupError(
      `glibc ${glibc} is too old for TensorFlow, which needs 2.27. Use a system from 2018 or later.`,
    );
  }
  if (flags !== undefined && !flags.has("avx")) {
    throw new SetupError(
      "this processor has no AVX instructions, which TensorFlow needs. Use another machine, or let the virtual machine show the host's processor.",
    );
  }
  return { glibcMinor: minor };
}

/** The folder, made if missing and tried for writing. */
export function checkCacheFolder(cache) {
  try {
    mkdirSync(cache, { recursive: true });
    accessSync(cache, constants.W_OK | constants.X_OK);
  } catch (error) {
    const known = asSetupError(error, "making the cache folder");
    if (known !== error) throw new SetupError(known.message.replace(/ at .*?:/, ` (${cache}):`));
    throw new SetupError(
      `the cache folder ${cache} cannot be made (${error.code}). Set MUSICGEN_CACHE_DIR=FOLDER to a folder of yours.`,
    );
  }
}

/** Refuses early what would end in a full disk. `needs`: folder -> bytes; folders on one disk are added up. */
export function checkSpace(needs, hint = "") {
  const disks = new Map();
  for (const [folder, bytes] of needs) {
    const { bavail, bsize, type, blocks } = statfsSync(folder);
    const disk = `${type} ${blocks} ${bavail}`;
    const entry = disks.get(disk) ?? { folder, bytes: 0, free: bavail * bsize };
    entry.bytes += bytes;
    disks.set(disk, entry);
  }
  for (const { folder, bytes, free } of disks.values()) {
    if (bytes <= free) continue;
    throw new SetupError(
      `not enough disk space: set-up needs about ${formatSize(bytes)} and ${folder} has ${formatSize(free)} free. ` +
        `Free some space, or put the cache on another disk with MUSICGEN_CACHE_DIR=FOLDER.${hint}`,
    );
  }
}

/** A Python 3 with pip: $PYTHON, python3 or python. */
export async function findPython(env = process.env) {
  const names = env.PYTHON ? [env.PYTHON] : ["python3", "python"];
  const found = names.map((name) => findProgram(name, env)).filter(Boolean);
  if (found.length === 0) {
    throw new SetupError(
      `there is no ${names[0]} on PATH. Install Python 3 with pip (Debian, Ubuntu: sudo apt install python3 python3-pip; Fedora: sudo dnf install python3-pip), then run this again.`,
    );
  }
  let version;
  for (const python of found) {
    const probe = "import sys; print(sys.version_info >= (3, 7)); import pip; print('pip', pip.__version__)";
    const { code, output } = await runCommand(python, ["-c", probe], { env });
    if (output.startsWith("True")) {
      if (code === 0) return { python, pip: /pip ([\d.]+)/.exec(output)?.[1] ?? "" };
      version ??= python;
    }
  }
  if (version === undefined)
    throw new SetupError(
      `${found[0]} is older than Python 3.7. Install a newer Python 3 with pip, or name one: PYTHON=/path/to/python3.`,
    );
  throw new SetupError(
    `${version} has no pip. Install it (Debian, Ubuntu: sudo apt install python3-pip; Fedora: sudo dnf install python3-pip; elsewhere: ${version} -m ensurepip), ` +
      "or name another Python: PYTHON=/path/to/python3.",
  );
}

/** A C++ compiler: $CXX (with its arguments), g++, clang++ or c++. */
export async function findCompiler(env = process.env) {
  const candidates = env.CXX?.trim() ? [env.CXX.trim().split(/\s+/)] : [["g++"], ["clang++"], ["c++"]];
  for (const [name, ...args] of candidates) {
    const program = findProgram(name, env);
    if (!program) continue;
    const { code, output } = await runCommand(program, [...args, "--version"], { env });
    if (code === 0) return { program, args, version: output.split("\n")[0].trim() };
  }
  const missing = env.CXX?.trim()
    ? `the compiler that CXX names (${env.CXX.trim()}) does not run`
    : "there is no C++ compiler (g++ or clang++) on PATH";
  throw new SetupError(
    `${missing}. Install one (Debian, Ubuntu: sudo apt install g++; Fedora: sudo dnf install gcc-c++) or name it with CXX=PROGRAM, then run this again.`,
  );
}

/** Which TensorFlow: as asked, else "gpu" where an NVIDIA driver answers, else "cpu". */
export async function chooseVariant({ asked, env = process.env } = {}) {
  const wish = asked ?? env.MUSICGEN_TENSORFLOW;
  if (wish === "cpu" || wish === "gpu") return { variant: wish, chosen: true };
  if (wish)
    throw new SetupError(
      `MUSICGEN_TENSORFLOW is '${wish}'; it may be 'cpu' or 'gpu', or absent to look for an NVIDIA driver.`,
    );
  if (hasDriverFile()) return { variant: "gpu", chosen: false };
  const program = findProgram("nvidia-smi", env);
  const answers = program && (await runCommand(program, ["-L"], { env })).code === 0;
  return { variant: answers ? "gpu" : "cpu", chosen: false };
}

function glibcVersion() {
  return process.report.getReport().header.glibcVersionRuntime;
}

function processorFlags() {
  try {
    const line = /^flags\s*:\s*(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"));
    return line ? new Set(line[1].split(" ")) : undefined;
  } catch {
    return undefined;
  }
}
