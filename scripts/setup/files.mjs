// File operations that leave either the old or the new state behind, never half of one.
import { createHash } from "node:crypto";
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";

/** Writes JSON under a temporary name beside the target, then renames. */
export function writeJson(path, value) {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, `${JSON.stringify(value, null, 2)}\n`);
  renameSync(temporary, path);
}

/** Parsed JSON, or undefined if the file is missing or damaged. */
export function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return undefined;
  }
}

/** Makes `path` a symbolic link to `target`, replacing whatever file was there, in one step. */
export function replaceByLink(path, target) {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  symlinkSync(target, temporary);
  renameSync(temporary, path);
}

/** Size in bytes, or -1 if there is no such file. */
export function sizeOf(path) {
  return statSync(path, { throwIfNoEntry: false })?.size ?? -1;
}

/** Bytes of all files under a folder; 0 if there is none. */
export function folderSize(folder) {
  let size = 0;
  let entries = [];
  try {
    entries = readdirSync(folder, { recursive: true });
  } catch {}
  for (const entry of entries) {
    const state = lstatSync(join(folder, entry), { throwIfNoEntry: false });
    if (state?.isFile()) size += state.size;
  }
  return size;
}

/** SHA-256 of strings and of files' contents; a missing file counts as such. */
export function hashOf({ files = [], texts = [] }) {
  const hash = createHash("sha256");
  for (const text of texts) hash.update(`text ${text.length}\n${text}`);
  for (const file of files) {
    let content = "missing";
    try {
      content = readFileSync(file);
    } catch {}
    hash.update(`file ${content.length}\n`);
    hash.update(content);
  }
  return hash.digest("hex").slice(0, 16);
}
