// The native code: tfjs-node-gpu's own addon from the sources in its npm package, and ours from native/.
//
//   libtensorflow.so        native/context.cc: what tfjs's addon links to; passes on to TensorFlow's library
//   musicgen_native.node    the other native/*.cc, and native/kernels/*.cc
//   tfjs_binding.node       node_modules/@tensorflow/tfjs-node-gpu/binding/*.cc
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { runCommand } from "./command.mjs";
import { hashOf, readJson, sizeOf, writeJson } from "./files.mjs";
import { explain, failureOf, SetupError } from "./messages.mjs";
import { libraryFolder, tensorflowVersion } from "./paths.mjs";

const compileFlags = [
  "-std=c++17",
  "-O2",
  "-fPIC",
  "-DNAPI_VERSION=8",
  "-DNODE_ADDON_API_CPP_EXCEPTIONS",
  "-fexceptions",
];
// Loops over floats; which instructions a processor has is asked at run time (native/kernels/).
const kernelFlags = ["-O3", "-fno-math-errno", "-fno-trapping-math"];
const products = ["libtensorflow.so", "musicgen_native.node", "tfjs_binding.node"];

/** Builds what is missing; resolves to the folder in the cache that holds the three products. */
export async function buildNative({
  root,
  cache,
  variant,
  compiler,
  force = false,
  log,
  progress,
  env = process.env,
}) {
  const binding = join(root, "node_modules", "@tensorflow", "tfjs-node-gpu", "binding");
  const folders = [join(root, "native"), join(root, "native", "kernels")];
  const ours = folders.flatMap(sourcesIn);
  const theirs = sourcesIn(binding);
  const headers = [...folders, binding].flatMap(headersIn);
  const hash = hashOf({
    files: [...ours, ...theirs, ...headers],
    texts: [...compileFlags, ...kernelFlags, tensorflowVersion, variant, compiler.version, ...compiler.args],
  });
  const folder = join(cache, `native-${hash}`);
  if (!force && isBuilt(folder)) return folder;

  const step = progress.step("native code", "compiling");
  const ticking = setInterval(() => step.working(), 250);
  const building = `${folder}.partial`;
  try {
    rmSync(building, { recursive: true, force: true });
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(building, { recursive: true });
    await build({
      root,
      building,
      tensorflow: libraryFolder(cache, variant),
      ours,
      theirs,
      compiler,
      log,
      env,
    });
  } finally {
    clearInterval(ticking);
  }
  writeJson(
    join(building, "complete.json"),
    Object.fromEntries(products.map((name) => [name, sizeOf(join(building, name))])),
  );
  renameSync(building, folder);
  step.done(`built with ${compiler.version}`);
  return folder;
}

/** Loads the products in a process of their own: a library that does not fit this machine must not take set-up down. */
export async function checkNative({ native, cache, variant, log, progress }) {
  const step = progress.step("check", "loading TensorFlow");
  const script = "for (const file of process.argv.slice(1)) process.dlopen({ exports: {} }, file)";
  const files = ["tfjs_binding.node", "musicgen_native.node"].map((name) => join(native, name));
  const result = await runCommand(process.execPath, ["-e", script, ...files], {
    env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: "2" },
    log,
  });
  if (result.code === 0) return step.done(`TensorFlow ${tensorflowVersion} (${variant}) loads`);
  const cause =
    result.signal === "SIGILL"
      ? "this processor lacks instructions that it uses. Use a newer processor"
      : (explain(result.output, "the loader") ??
        /Error: (.*)/.exec(result.output)?.[1] ??
        `it ended with ${result.signal ?? result.code}`);
  throw new SetupError(
    `TensorFlow in ${libraryFolder(cache, variant)} does not load: ${cause}. Try: npm run setup -- --force. Details: ${log}`,
  );
}

async function build({ root, building, tensorflow, ours, theirs, compiler, log, env }) {
  const modules = join(root, "node_modules");
  const includes = [
    join(tensorflow, "include"),
    join(root, "native", "include"),
    join(modules, "node-api-headers", "include"),
    join(modules, "node-addon-api"),
  ];
  includes.push(join(modules, "@tensorflow"));
  const call = async (what, args) => {
    const result = await runCommand(compiler.program, [...compiler.args, ...args], {
      env: { ...env, TMPDIR: building },
      log,
    });
    if (result.code === 0) return;
    const error = explain(result.output, "the compiler")
      ? undefined
      : /^.*\berror: (.*)$/m.exec(result.output)?.[1];
    throw failureOf(
      `compiling ${what}`,
      basename(compiler.program),
      error ? { ...result, output: `${error} (is the compiler older than C++17?)` } : result,
    );
  };
  const object = (source, index) => join(building, `${index}-${basename(source)}.o`);
  const sources = [...ours, ...theirs];
  const compile = (source, index) => {
    const quiet = theirs.includes(source) ? ["-w"] : [];
    const fast = basename(dirname(source)) === "kernels" ? kernelFlags : [];
    const args = [
      ...compileFlags,
      ...fast,
      ...quiet,
      ...includes.map((folder) => `-I${folder}`),
      "-c",
      source,
      "-o",
      object(source, index),
    ];
    return call(relative(root, source), args);
  };
  await inParallel(sources.map((source, index) => () => compile(source, index)));

  const objects = (choose) =>
    sources.flatMap((source, index) => (choose(source) ? [object(source, index)] : []));
  const isContext = (source) => ours.includes(source) && basename(source) === "context.cc";
  // Paths relative to the product, so that the cache folder may be moved.
  const runPath = `-Wl,-rpath,$ORIGIN:$ORIGIN/${relative(building, tensorflow)}`;
  const library = [
    `-L${tensorflow}`,
    "-Wl,--no-as-needed",
    "-l:libtensorflow_cc.so.2",
    "-l:libtensorflow_framework.so.2",
    runPath,
  ];
  const link = (name, objects, more) =>
    call(name, ["-shared", "-o", join(building, name), ...objects, ...more]);
  await link("libtensorflow.so", objects(isContext), ["-Wl,-soname,libtensorflow.so", ...library, "-ldl"]);
  const shim = [`-L${building}`, "-Wl,--no-as-needed", "-ltensorflow", ...library];
  const isOurs = (source) => ours.includes(source) && !isContext(source);
  await inParallel([
    () => link("musicgen_native.node", objects(isOurs), shim),
    () =>
      link(
        "tfjs_binding.node",
        objects((source) => theirs.includes(source)),
        shim,
      ),
  ]);
  for (const file of objects(() => true)) rmSync(file);
}

function isBuilt(folder) {
  const sizes = readJson(join(folder, "complete.json"));
  return (
    sizes !== undefined &&
    products.every((name) => sizes[name] > 0 && sizeOf(join(folder, name)) === sizes[name])
  );
}

async function inParallel(tasks) {
  const waiting = [...tasks];
  const work = async () => {
    for (let task = waiting.shift(); task; task = waiting.shift()) await task();
  };
  await Promise.all(Array.from({ length: Math.min(tasks.length, availableParallelism()) }, work));
}

const sourcesIn = (folder) => filesIn(folder, ".cc");
const headersIn = (folder) => filesIn(folder, ".h");

function filesIn(folder, end) {
  if (!existsSync(folder))
    throw new SetupError(
      `${folder} is missing: the checkout or an npm package is incomplete. Run: npm run setup -- --force`,
    );
  return readdirSync(folder)
    .filter((name) => name.endsWith(end))
    .sort()
    .map((name) => join(folder, name));
}
