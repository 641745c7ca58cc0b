// npm packages: installed without their own install scripts, when node_modules does not match the lock.
import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { findProgram, runCommand } from "./command.mjs";
import { readJson } from "./files.mjs";
import { failureOf, SetupError } from "./messages.mjs";

const npmOptions = [
  "--ignore-scripts",
  "--include=dev",
  "--include=optional",
  "--no-audit",
  "--no-fund",
  "--prefer-offline",
  // npm's own patience with an absent network is minutes.
  "--fetch-retries=2",
  "--fetch-retry-mintimeout=2000",
  "--fetch-retry-maxtimeout=10000",
];

/** True if node_modules holds what package-lock.json asks for. */
export function packagesMatch(root) {
  const wanted = readJson(join(root, "package-lock.json"))?.packages;
  const present = readJson(join(root, "node_modules", ".package-lock.json"))?.packages;
  if (!wanted || !present) return false;
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === "" || entry.link) return true;
    if (!present[path]) return entry.optional === true; // a package for another platform
    return present[path].version === entry.version && existsSync(join(root, path, "package.json"));
  });
}

/** Installs the packages; resolves to their number. */
export async function installPackages(root, { log, progress, env = process.env }) {
  const step = progress.step("npm packages", "installing");
  const [program, ...first] = findNpm(env);
  const ticking = setInterval(() => step.working(), 250);
  const npm = (...args) =>
    runCommand(program, [...first, ...args, ...npmOptions], { cwd: root, env: cleanEnvironment(env), log });
  let result = await npm("ci");
  // package.json asks for something that the lock lacks (a package of the user's own, say): install it, change no file.
  if (result.code !== 0 && /code EUSAGE/.test(result.output)) result = await npm("install", "--no-save");
  clearInterval(ticking);
  if (result.code !== 0) throw failureOf("installing the npm packages", "npm", result);
  const count = Object.keys(
    readJson(join(root, "node_modules", ".package-lock.json"))?.packages ?? {},
  ).length;
  step.done(`${count} packages installed`);
}

/** The command line of npm: the one that started us, the one on PATH, or the one beside this Node. */
export function findNpm(env = process.env) {
  const script = env.npm_execpath;
  if (script && /^npm(-cli)?\.(c|m)?js$/.test(basename(script)) && existsSync(script))
    return [process.execPath, script];
  const onPath = findProgram("npm", env);
  if (onPath) return [onPath];
  const bundled = join(dirname(dirname(process.execPath)), "lib", "node_modules", "npm", "bin", "npm-cli.js");
  if (existsSync(bundled)) return [process.execPath, bundled];
  throw new SetupError(
    "npm is not on PATH. It comes with Node: install Node 20 to 26 with npm, then run this again.",
  );
}

/** The outer `npm run` hands its options down as variables; those that would change what is installed must not reach ours. */
export function cleanEnvironment(env) {
  const harmful =
    /^npm_config_(ignore_scripts|dry_run|package_lock|package_lock_only|global|location|local_prefix|workspaces?|include_workspace_root|omit|include|only|production|install_strategy|install_links|json|loglevel|silent|prefix)$/i;
  const clean = {};
  for (const [name, value] of Object.entries(env)) {
    if (!harmful.test(name) && !/^npm_(package|lifecycle)_/.test(name)) clean[name] = value;
  }
  // npm starts its children with the `node` on PATH: let it be this one.
  clean.PATH = `${dirname(process.execPath)}:${env.PATH ?? ""}`;
  return clean;
}
