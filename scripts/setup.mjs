// Set-up of a checkout: npm packages, TensorFlow, native code. Idempotent, resumable, and safe when several run at once.
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { openLog, stopChildren } from "./setup/command.mjs";
import { folderSize, replaceByLink } from "./setup/files.mjs";
import { acquireLock } from "./setup/lock.mjs";
import {
  checkCacheFolder,
  checkMachine,
  checkSpace,
  chooseVariant,
  findCompiler,
  findPython,
} from "./setup/machine.mjs";
import { asSetupError, SetupError } from "./setup/messages.mjs";
import { buildNative, checkNative } from "./setup/native.mjs";
import { findNpm, installPackages, packagesMatch } from "./setup/packages.mjs";
import { bindingFile, cacheFolder, libraryFolder, tensorflowFolder } from "./setup/paths.mjs";
import { createProgress, formatTime } from "./setup/progress.mjs";
import { isSetUp, whyNotSetUp, writeStamp } from "./setup/stamp.mjs";
import { isTensorFlowComplete, libraries, provideTensorFlow, spaceNeeded } from "./setup/tensorflow.mjs";

const usage = "npm run setup -- [--cpu | --gpu] [--force]";
const packagesSize = 0.5e9; // bytes of node_modules

/** `--cpu`, `--gpu`, `--force`. */
export function parseSetupArguments(argv) {
  const options = { variant: undefined, force: false };
  for (const argument of argv) {
    if (argument === "--cpu" || argument === "--gpu") options.variant = argument.slice(2);
    else if (argument === "--force") options.force = true;
    else throw new SetupError(`set-up does not know '${argument}'. Usage: ${usage}`);
  }
  return options;
}

/**
 * Brings the checkout at `root` to a state in which every command runs. `variant`: "cpu" or "gpu" if the user says so; `force`:
 * make everything anew; `announce`: say so when there was nothing to do.
 */
export async function setUp(root, { variant, force = false, announce = false } = {}) {
  const progress = createProgress();
  const start = performance.now();
  const cache = cacheFolder();
  let release = () => {};
  const interrupted = () => {
    progress.clear();
    stopChildren();
    release();
    process.stderr.write("error: set-up was interrupted. Run the command again: finished parts are kept.\n");
    process.exit(130);
  };
  process.on("SIGINT", interrupted);
  process.on("SIGTERM", interrupted);
  try {
    const { glibcMinor } = checkMachine();
    checkCacheFolder(cache);
    const onWait = (holder) =>
      progress.say(
        `Another set-up is running (process ${holder.pid ?? "unknown"} on ${holder.host ?? "some machine"}); waiting for it.`,
      );
    release = await acquireLock(join(cache, "setup.lock"), { onWait });
    const done = !force && variant === undefined && isSetUp(root);
    if (!done) await bringUp({ root, cache, variant, force, glibcMinor, progress });
    if (!done) progress.say(`Set-up done in ${formatTime((performance.now() - start) / 1000)}.`);
    else if (announce) progress.say(`Nothing to do: set-up is complete (cache: ${cache}).`);
  } catch (error) {
    progress.clear();
    throw asSetupError(error, "set-up");
  } finally {
    release();
    process.removeListener("SIGINT", interrupted);
    process.removeListener("SIGTERM", interrupted);
  }
}

/** All steps, each of which does nothing where its result is there; the cheap checks of tools and space come before the long steps. */
async function bringUp({ root, cache, variant: asked, force, glibcMinor, progress }) {
  const reason = whyNotSetUp(root);
  progress.say(`Setting up musicgen-tfjs (${force ? "as asked" : (reason ?? "as asked")}). Cache: ${cache}`);
  const { variant, chosen } = await chooseVariant({ asked });
  const needsPackages = force || !packagesMatch(root);
  const needsTensorFlow = force || !isTensorFlowComplete(cache, variant);

  const compiler = await findCompiler();
  const python = needsTensorFlow ? await findPython() : undefined;
  if (needsPackages) findNpm();
  const needs = [[root, needsPackages && !existsSync(join(root, "node_modules")) ? packagesSize : 0]];
  needs.push([
    cache,
    needsTensorFlow ? Math.max(0.1e9, spaceNeeded[variant] - alreadyThere(cache, variant)) : 0.01e9,
  ]);
  checkSpace(
    needs,
    variant === "gpu" && !chosen ? " The CPU variant needs less: npm run setup -- --cpu." : "",
  );

  const size = variant === "gpu" ? "3.4 GB" : "0.3 GB";
  if (needsTensorFlow)
    progress.say(`To download: TensorFlow, about ${size}. Once; other clones will find it there.`);

  const log = openLog(cache);
  if (needsPackages) await installPackages(root, { log, progress });
  if (needsTensorFlow) {
    if (force) discard(cache, variant);
    await provideTensorFlow({ cache, variant, python, glibcMinor, log, progress });
  }
  const native = await buildNative({ root, cache, variant, compiler, force, log, progress });
  await checkNative({ native, cache, variant, log, progress });

  const binding = join(native, "tfjs_binding.node");
  const addon = join(native, "musicgen_native.node");
  replaceByLink(bindingFile(root), binding);
  const files = [addon, binding, join(native, "libtensorflow.so"), ...libraries(cache, variant)];
  writeStamp(root, {
    native: addon,
    tensorflow: libraryFolder(cache, variant),
    variant,
    chosen,
    cache,
    binding,
    files,
  });
}

/** `--force` also forgets what earlier runs left half done. */
function discard(cache, variant) {
  rmSync(`${tensorflowFolder(cache, variant)}.partial`, { recursive: true, force: true });
  rmSync(join(cache, "downloads"), { recursive: true, force: true });
}

/** Bytes in the cache that an unfinished or damaged earlier run leaves to be used or replaced. */
function alreadyThere(cache, variant) {
  const folder = tensorflowFolder(cache, variant);
  return [folder, `${folder}.partial`, join(cache, "downloads")].reduce(
    (sum, path) => sum + folderSize(path),
    0,
  );
}
