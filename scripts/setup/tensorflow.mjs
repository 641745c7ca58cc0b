// TensorFlow's libraries and C headers, out of its Python wheel, in the cache.
//
// Each wheel is downloaded under a folder of its own, moved when complete, unpacked, and noted as done in the partial folder;
// the partial folder gets its final name when all wheels are in. So whatever an interrupted run left is either complete or redone.
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runCommand } from "./command.mjs";
import { folderSize, readJson, sizeOf, writeJson } from "./files.mjs";
import { failureOf, SetupError } from "./messages.mjs";
import { libraryFolder, tensorflowFolder, tensorflowVersion } from "./paths.mjs";
import { formatSize } from "./progress.mjs";

/** Peak disk use of providing a variant, in bytes: measured, plus a margin. */
export const spaceNeeded = { cpu: 1.3e9, gpu: 7.5e9 };

const title = `TensorFlow ${tensorflowVersion}`;

/** What we take from the wheels, as regular expressions over the names in them (read by Python). */
const licences = "^[^/]+\\.dist-info/(METADATA|LICENSE.*|licenses/.*)$";
const tensorflowFiles = [
  "^tensorflow/libtensorflow_(cc|framework)\\.so\\.2$",
  "^tensorflow/include/tensorflow/c/",
  "^tensorflow/include/xla/tsl/c/",
  "^tensorflow/include/(tensorflow/core|tsl)/platform/ctstring",
  licences,
];
const cudaFiles = ["^nvidia/(?!.*(/include/|\\.a$))", licences];

/** True if all files of the variant are there with the sizes they had when unpacked. */
export function isTensorFlowComplete(cache, variant) {
  const folder = tensorflowFolder(cache, variant);
  const files = readJson(join(folder, "complete.json"))?.files;
  return (
    files !== undefined &&
    Object.entries(files).every(([name, size]) => sizeOf(join(folder, "site-packages", name)) === size)
  );
}

/** The libraries whose presence every start checks. */
export function libraries(cache, variant) {
  return ["libtensorflow_cc.so.2", "libtensorflow_framework.so.2"].map((name) =>
    join(libraryFolder(cache, variant), name),
  );
}

/** Downloads and unpacks what is missing of the variant. `python` as found by findPython. */
export async function provideTensorFlow({
  cache,
  variant,
  python,
  glibcMinor,
  log,
  progress,
  env = process.env,
}) {
  const final = tensorflowFolder(cache, variant);
  const partial = `${final}.partial`;
  const tools = { cache, partial, python, glibcMinor, log, progress, env };
  rmSync(final, { recursive: true, force: true }); // damaged, or we would not be here

  const main =
    variant === "gpu" ? `tensorflow==${tensorflowVersion}` : `tensorflow-cpu==${tensorflowVersion}`;
  await provideWheel(main, title, tensorflowFiles, tools);
  if (variant === "gpu") {
    const requirements = cudaRequirements(readMetadata(join(partial, "site-packages")));
    if (requirements.length === 0)
      throw new SetupError(
        `${title}'s wheel names no CUDA packages. Use the CPU variant: npm run setup -- --cpu.`,
      );
    for (const requirement of requirements)
      await provideWheel(requirement, packageName(requirement), cudaFiles, tools);
  }

  const notes = readdirSync(join(partial, "wheels")).map((name) => readJson(join(partial, "wheels", name)));
  writeJson(join(partial, "complete.json"), {
    version: tensorflowVersion,
    variant,
    wheels: notes.map((note) => note.wheel),
    files: Object.assign({}, ...notes.map((note) => note.files)),
  });
  renameSync(partial, final);
}

/** One wheel: downloaded, unpacked and noted, unless an earlier run has done so. */
async function provideWheel(requirement, name, patterns, tools) {
  const note = join(tools.partial, "wheels", `${packageName(requirement)}.json`);
  if (readJson(note)) return;
  const folder = join(tools.cache, "downloads");
  mkdirSync(folder, { recursive: true });
  const wheel =
    readdirSync(folder).find((file) => isWheelOf(file, requirement)) ??
    (await download(requirement, name, folder, tools));
  const path = join(folder, wheel);
  const files = await unpack(path, name, patterns, tools);
  writeJson(note, { wheel, files });
  rmSync(path);
}

/** Lets pip find and fetch the wheel (it knows the user's index, mirror, proxy and certificates) for a fixed Python: we only unpack it. */
async function download(requirement, name, folder, { python, glibcMinor, log, progress, env }) {
  const incoming = join(folder, "incoming");
  rmSync(incoming, { recursive: true, force: true }); // of a run that did not end
  mkdirSync(join(incoming, "tmp"), { recursive: true });
  mkdirSync(join(incoming, "done"));
  const step = progress.step(name, "downloading");
  let total;
  const onLine = (line) => {
    const size = /^Downloading .*\(([\d.]+) (kB|MB|GB)\)/.exec(line);
    if (size) total = Number(size[1]) * { kB: 1e3, MB: 1e6, GB: 1e9 }[size[2]];
  };
  const ticking = setInterval(() => step.update(folderSize(join(incoming, "tmp")), total), 200);
  const args = [
    "-m",
    "pip",
    "download",
    "--no-deps",
    "--dest",
    join(incoming, "done"),
    ...wheelTarget(glibcMinor),
  ];
  args.push(
    "--no-cache-dir",
    "--disable-pip-version-check",
    "--no-input",
    "--progress-bar",
    "off",
    "--retries",
    "3",
    requirement,
  );
  const result = await runCommand(python.python, args, {
    // pip writes the file to TMPDIR first: not into a small /tmp, and where its size can be watched.
    env: { ...env, TMPDIR: join(incoming, "tmp"), PIP_REQUIRE_VIRTUALENV: "0", PYTHONUNBUFFERED: "1" },
    log,
    onLine,
  });
  clearInterval(ticking);
  if (result.code !== 0) throw failureOf(`downloading ${requirement}`, "pip", result);
  const wheel = readdirSync(join(incoming, "done")).find((file) => file.endsWith(".whl"));
  if (!wheel) throw new SetupError(`pip gave no wheel for ${requirement}. Details: ${log}`);
  step.done(`downloaded ${formatSize(sizeOf(join(incoming, "done", wheel)))}`);
  renameSync(join(incoming, "done", wheel), join(folder, wheel));
  rmSync(incoming, { recursive: true, force: true });
  return wheel;
}

async function unpack(wheel, name, patterns, { partial, python, progress, env }) {
  const step = progress.step(name, "unpacking");
  let files;
  const onLine = (line) => {
    if (!line.startsWith("{")) return;
    const told = JSON.parse(line);
    if (told.files) files = told.files;
    else step.update(told.done, told.total);
  };
  const script = fileURLToPath(new URL("unpack_wheel.py", import.meta.url));
  const result = await runCommand(
    python.python,
    [script, wheel, join(partial, "site-packages"), ...patterns],
    { env, onLine },
  );
  if (result.code !== 0 || !files) {
    if (/BadZip|Bad CRC|zlib\.error/i.test(result.output)) rmSync(wheel, { force: true }); // the next run fetches it anew
    throw failureOf(`unpacking ${name}`, "python", { ...result, log: undefined });
  }
  const sizes = Object.values(files);
  step.done(`unpacked ${formatSize(sizes.reduce((sum, size) => sum + size, 0))}`);
  return files;
}

/** The pip options that ask for CPython 3.12 wheels for this machine's glibc, whatever Python runs pip. */
function wheelTarget(glibcMinor) {
  const platforms = [];
  for (let minor = 5; minor <= glibcMinor; minor++) platforms.push(`manylinux_2_${minor}_x86_64`);
  platforms.push(
    "manylinux1_x86_64",
    "manylinux2010_x86_64",
    "manylinux2014_x86_64",
    "manylinux_2_27_x86_64",
  );
  const options = [
    "--only-binary=:all:",
    "--implementation",
    "cp",
    "--python-version",
    "3.12",
    "--abi",
    "cp312",
  ];
  return [...options, ...platforms.flatMap((platform) => ["--platform", platform])];
}

/** The requirements `nvidia-…-cu12` of the extra `and-cuda` in a wheel's METADATA. */
export function cudaRequirements(metadata) {
  return metadata
    .split("\n")
    .map((line) =>
      /^Requires-Dist:\s*(nvidia-[a-z0-9-]+-cu12)\s*\(?([^;)]*)\)?\s*;.*extra\s*==\s*["']and-cuda["']/.exec(
        line,
      ),
    )
    .filter(Boolean)
    .map(([, name, range]) => `${name}${range.replaceAll(" ", "")}`);
}

function readMetadata(sitePackages) {
  const folder = readdirSync(sitePackages).find((name) => /^tensorflow-.*\.dist-info$/.test(name));
  return folder ? readFileSync(join(sitePackages, folder, "METADATA"), "utf8") : "";
}

const packageName = (requirement) => /^[A-Za-z0-9-]+/.exec(requirement)[0];

/** Wheels spell the package's name with underscores. A pinned version must agree; of ranges, an earlier run's download is good. */
function isWheelOf(file, requirement) {
  const [, version] = requirement.split("==");
  const start = `${packageName(requirement).replaceAll("-", "_")}-${version ? `${version}-` : ""}`;
  return file.endsWith(".whl") && file.startsWith(start);
}
