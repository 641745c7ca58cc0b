/** Which metrics a config gets, and what is refused before anything is loaded. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { composeTrainConfig } from "../../src/config/index.ts";
import { asMusicGenConfig } from "../../src/config/schema.ts";
import { UserError } from "../../src/errors.ts";
import { buildMetrics, checkMetrics, measuresAudio } from "../../src/metrics/build.ts";

const config = (...overrides: string[]) =>
  asMusicGenConfig(composeTrainConfig(["solver=musicgen/tiny", ...overrides]));

function refuses(overrides: string[], reason: RegExp): void {
  assert.throws(
    () => checkMetrics(config(...overrides)),
    (error) => error instanceof UserError && reason.test(error.message),
  );
}

test("nothing is asked for by default", () => {
  assert.equal(measuresAudio(config()), false);
  checkMetrics(config());
});

test("the Python programs that AudioCraft calls are refused by name, with what to use instead", () => {
  refuses(["evaluate.metrics.fad=true"], /metrics\.fad\.model=tf .*metrics\.fad\.model=onnx/);
  refuses(["evaluate.metrics.kld=true"], /metrics\.kld\.model=passt .*export PaSST to ONNX/);
  refuses(
    ["evaluate.metrics.fad=true", "metrics.fad.model=vgg"],
    /=vgg is not built; built: onnx, clap, mert/,
  );
});

test("a model that is not given, or not there, is said before training", () => {
  const kld = ["evaluate.metrics.kld=true", "metrics.kld.model=onnx"];
  refuses(kld, /metrics\.kld\.onnx\.model_path: the path of an ONNX file is needed/);
  refuses([...kld, "++metrics.kld.onnx.model_path=/nowhere.onnx"], /nowhere\.onnx: no such file/);
  refuses(["evaluate.metrics.text_consistency=true"], /metrics\.text_consistency\.clap\.model_path: /);
  refuses(
    ["evaluate.metrics.text_consistency=true", "metrics.text_consistency.clap.enable_fusion=true"],
    /enable_fusion=true is not built/,
  );
});

test("metrics without data to measure on are refused, unless the run does not evaluate", () => {
  const without = ["evaluate.metrics.chroma_cosine=true", "datasource.evaluate=null"];
  refuses(without, /evaluate\.metrics\.chroma_cosine=true, but there is no data/);
  checkMetrics(config(...without, "execute_only=generate"));
});

test("chroma cosine takes AudioCraft's keys, and models by path take theirs", async () => {
  const clap = new URL("../golden/clap/relu", import.meta.url).pathname;
  const chosen = await buildMetrics(
    config(
      "evaluate.metrics.chroma_cosine=true",
      "metrics.chroma_cosine.use_gt=true",
      "metrics.chroma_cosine.chroma_base.radix2_exp=9",
      "evaluate.metrics.text_consistency=true",
      `metrics.text_consistency.clap.model_path=${clap}`,
      "evaluate.metrics.fad=true",
      "metrics.fad.model=clap",
      `++metrics.fad.clap.model_path=${clap}`,
    ),
  );
  assert.deepEqual(
    chosen.map(({ name, useGt }) => [name, useGt]),
    [
      ["fad", false],
      ["text_consistency", false],
      ["chroma_cosine", true],
    ],
  );
  for (const { metric } of chosen) metric.dispose();
});
