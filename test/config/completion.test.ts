// Completion: what the last word of a command line can become, and the scripts that ask for it.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import path from "node:path";
import { test } from "node:test";
import { completions } from "../../src/config/completion.ts";
import { PROJECT_ROOT } from "../../src/config/train-config.ts";

const complete = (word: string, ...before: string[]) => completions("train", before, word);

test("a word becomes a group, a key, or the way to the keys of a mapping", () => {
  assert.deepEqual(complete("sol"), ["solver=", "solver/"]);
  assert.deepEqual(complete("optim.e"), ["optim.epochs=", "optim.ema.", "optim.eager_sync="]);
  assert.ok(complete("").includes("seed="));
});

test("after a group come its options, and the groups below it", () => {
  const options = complete("solver=");
  assert.ok(options.includes("solver=default"));
  assert.ok(options.includes("solver=musicgen/"));
  assert.deepEqual(complete("solver=musicgen/t"), ["solver=musicgen/tiny"]);
  assert.deepEqual(complete("model/lm/model_scale=x"), ["model/lm/model_scale=xsmall"]);
});

test("after a key come its allowed values, else its present value", () => {
  assert.deepEqual(complete("optim.optimizer=a"), ["optim.optimizer=adam", "optim.optimizer=adamw"]);
  assert.deepEqual(complete("autocast="), ["autocast=true", "autocast=false"]);
  assert.deepEqual(complete("seed="), ["seed=2036"]);
});

test("in a sweep the last value is completed", () => {
  assert.deepEqual(complete("optim.optimizer=adam,d"), ["optim.optimizer=adam,dadam"]);
});

test("the words before say which config is meant; those that make no sense are passed over", () => {
  assert.deepEqual(complete("rvq.n", "solver=compression/debug"), ["rvq.n_q="]);
  assert.deepEqual(complete("rvq.n"), []);
  assert.deepEqual(complete("optim.l", "solver=nothing", "a=["), ["optim.lr="]);
});

test("+, ++ and ~ stay in front", () => {
  assert.deepEqual(complete("++optim.l"), ["++optim.lr="]);
  assert.deepEqual(complete("~condit"), ["~conditioner=", "~conditioners."]);
});

test("flags and their values", () => {
  assert.deepEqual(complete("--cl"), ["--clear"]);
  assert.deepEqual(complete("j", "--cfg"), ["job"]);
  assert.deepEqual(completions("config", [], "--s"), ["--sig"]);
});

test("the bash script completes npm run train in this checkout, and leaves the rest to what was there", () => {
  const launcher = path.join(PROJECT_ROOT, "scripts", "launch.mjs");
  const script = `
    _other() { COMPREPLY=(other); }
    complete -F _other npm
    eval "$('${process.execPath}' '${launcher}' completion bash)"
    try() { COMP_LINE="$1" COMP_POINT=\${#1}; COMPREPLY=(); _musicgen_complete npm 2>/dev/null; echo "\${COMPREPLY[*]}"; }
    cd '${PROJECT_ROOT}'
    try "npm run train -- solver=musicgen/t"
    try "npm run -s config -- seed=1 optim.optimizer=adam"
    try "npm run train -- optim.ep"
    try "npm inst"
    cd / && try "npm run train -- optim.ep"`;
  const output = execFileSync("bash", ["-c", script], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  assert.deepEqual(output.trimEnd().split("\n"), [
    "musicgen/tiny",
    "adam adamw",
    "optim.epochs=",
    "other",
    "other",
  ]);
});
