import assert from "node:assert/strict";
import {
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { packagesMatch } from "../../scripts/setup/packages.mjs";
import { bindingFile } from "../../scripts/setup/paths.mjs";
import { whyNotSetUp, writeStamp } from "../../scripts/setup/stamp.mjs";

let root: string;
let cache: string;
let env: NodeJS.ProcessEnv;

function write(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "musicgen-stamp-"));
  cache = join(root, "cache");
  env = { MUSICGEN_CACHE_DIR: cache };
  write(
    join(root, "package-lock.json"),
    '{ "packages": { "": {}, "node_modules/a": { "version": "1.0.0" } } }',
  );
  write(
    join(root, "node_modules", ".package-lock.json"),
    '{ "packages": { "node_modules/a": { "version": "1.0.0" } } }',
  );
  write(join(root, "node_modules", "a", "package.json"), "{}");
  write(join(root, "native", "addon.cc"), "int a;");
  write(join(cache, "native.node"), "1234");
  mkdirSync(dirname(bindingFile(root)), { recursive: true });
  symlinkSync(join(cache, "native.node"), bindingFile(root));
  const native = join(cache, "native.node");
  writeStamp(root, {
    native,
    tensorflow: cache,
    variant: "cpu",
    chosen: true,
    cache,
    binding: native,
    files: [native],
  });
});
afterEach(() => rmSync(root, { recursive: true }));

describe("the stamp of set-up holds", () => {
  it("while nothing changes", () => {
    assert.equal(whyNotSetUp(root, env), undefined);
  });
});

describe("the stamp of set-up is void", () => {
  it("in a clone that was never set up", () => {
    rmSync(join(root, "node_modules"), { recursive: true });
    assert.equal(whyNotSetUp(root, env), "never set up");
  });

  it("when a native source changes", () => {
    write(join(root, "native", "addon.cc"), "int b;");
    assert.match(whyNotSetUp(root, env), /sources/);
  });

  it("when a native source is added", () => {
    write(join(root, "native", "more.cc"), "");
    assert.match(whyNotSetUp(root, env), /sources/);
  });

  it("when package-lock.json changes", () => {
    write(join(root, "package-lock.json"), "{}");
    assert.match(whyNotSetUp(root, env), /package-lock/);
  });

  it("when npm has changed node_modules", () => {
    write(join(root, "node_modules", ".package-lock.json"), '{ "packages": {} }');
    assert.equal(whyNotSetUp(root, env), "node_modules changed");
  });

  it("when a library is cut short", () => {
    truncateSync(join(cache, "native.node"), 2);
    assert.match(whyNotSetUp(root, env), /native.node is missing or damaged/);
  });

  it("when the cache was deleted", () => {
    rmSync(cache, { recursive: true });
    assert.match(whyNotSetUp(root, env), /missing or damaged/);
  });

  it("when tfjs-node-gpu's addon was removed", () => {
    unlinkSync(bindingFile(root));
    assert.match(whyNotSetUp(root, env), /addon is missing/);
  });

  it("when another cache folder is asked for", () => {
    assert.match(whyNotSetUp(root, { MUSICGEN_CACHE_DIR: "/elsewhere" }), /another cache/);
  });

  it("when another TensorFlow variant is asked for", () => {
    assert.match(whyNotSetUp(root, { ...env, MUSICGEN_TENSORFLOW: "gpu" }), /another TensorFlow/);
  });

  it("when it is damaged", () => {
    write(join(root, "node_modules", ".musicgen", "native.json"), "{ half");
    assert.equal(whyNotSetUp(root, env), "never set up");
  });
});

describe("node_modules", () => {
  const lock = (packages: object) => write(join(root, "package-lock.json"), JSON.stringify({ packages }));

  it("matches the lock if every package is there in its version", () => {
    assert.equal(packagesMatch(root), true);
  });

  it("does not match if a version differs", () => {
    lock({ "node_modules/a": { version: "1.0.1" } });
    assert.equal(packagesMatch(root), false);
  });

  it("does not match if a package's folder was deleted", () => {
    rmSync(join(root, "node_modules", "a"), { recursive: true });
    assert.equal(packagesMatch(root), false);
  });

  it("matches without the optional packages of other platforms", () => {
    lock({ "node_modules/a": { version: "1.0.0" }, "node_modules/b": { version: "1.0.0", optional: true } });
    assert.equal(packagesMatch(root), true);
  });
});
