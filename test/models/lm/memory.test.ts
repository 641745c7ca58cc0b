/** Activation checkpointing is for memory: the peak of a process that takes gradients says whether it saves any. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** MB that one gradient takes above what the model takes. */
function peak(checkpointing: string): number {
  const script = `
    import { readFileSync } from "node:fs";
    import { lossOf, plainLM } from "./test/models/lm/golden.ts";
    import { jit, tf, valueAndGradients } from "./src/runtime/index.ts";
    const peak = () => Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024;
    const lm = plainLM({ dim: 64, num_heads: 4, num_layers: 16, hidden_scale: 4, checkpointing: "${checkpointing}" });
    const parameters = lm.parameters();
    const step = jit((codes) => {
      const { gradients } = valueAndGradients(() => ({ loss: lossOf(lm, codes, {}).ce, aux: {} }), parameters);
      return tf.addN(gradients.map((gradient) => tf.sum(gradient)));
    }, { mode: "graph" });
    step(tf.zeros([1, 4, 8], "int32")).dataSync(); // TensorFlow's own memory
    const before = peak();
    step(tf.zeros([8, 4, 256], "int32")).dataSync();
    console.log(peak() - before);
  `;
  const argv = ["--import", "tsx", "--input-type=module", "--eval", script];
  return Number(execFileSync(process.execPath, argv, { cwd: root, encoding: "utf8" }));
}

test("checkpointing=torch takes less than half the memory of none, xformers_mm lies between", {
  skip: process.platform !== "linux" && "reads /proc",
}, () => {
  const [none, torch, products] = ["none", "torch", "xformers_mm"].map(peak);
  assert.ok(torch < 0.5 * none, `${torch} MB of ${none}`);
  assert.ok(products < 0.95 * none && products > torch, `${products} MB of ${none}`);
});
