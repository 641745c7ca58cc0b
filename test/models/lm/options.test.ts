/** Every option of the language model against AudioCraft's (test/golden/lm_options): logits, loss, gradients, generation. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConditionTensors } from "../../../src/models/conditioners/base.ts";
import type { PreparedConditions } from "../../../src/models/conditioners/provider.ts";
import { Generator } from "../../../src/models/lm/generation.ts";
import type { MusicGenLM } from "../../../src/models/lm/lm.ts";
import { clipByGlobalNorm } from "../../../src/optim/index.ts";
import { jit, type Tensor, tf, valueAndGradients } from "../../../src/runtime/index.ts";
import { close } from "../../close.ts";
import { cases, goldenCase, lossOf } from "./golden.ts";

const greedy = { use_sampling: false, temp: 1, top_k: 0, top_p: 0, cfgCoef: 3, seed: 0 };

for (const name of Object.keys(cases)) {
  test(`${name}: conditions, sequence and logits agree to 2e-5`, () => {
    const { lm, file, codes, conditions } = goldenCase(name);
    const sequence = lm.sequence(codes, lm.patterns.getPattern(12));
    assert.deepEqual([...sequence.dataSync()], [...(file.read("outputs.sequence_codes") as Int32Array)]);
    for (const [condition, { embedding }] of Object.entries(lm.conditionProvider.forward(conditions))) {
      close(embedding.dataSync(), file.readFloat32(`outputs.cond.${condition}`), 1e-5);
    }
    const forward = jit((tokens: Tensor, given: PreparedConditions) =>
      lm.forward(tokens, lm.conditionProvider.forward(given)),
    );
    close(
      forward(sequence, conditions as never).dataSync(),
      file.readFloat32("outputs.sequence_logits"),
      2e-5,
    );
  });

  test(`${name}: cross entropy agrees to 1e-6, gradients to a relative L2 distance of 1e-5`, () => {
    assertGradients(name, goldenCase(name));
  });

  if (cases[name].generates) {
    test(`${name}: greedy generation with guidance 3 gives the original's tokens, also from a prompt`, async () => {
      const { lm, file, float, codes } = goldenCase(name);
      const embeddings = Object.keys(lm.conditionProvider.conditioners).map(
        (condition) => [condition, float(`generate.cfg_cond.${condition}`)] as const,
      );
      const streams = given(lm, Object.fromEntries(embeddings));
      const prompt = firstFrames(codes, 3);
      for (const [key, extra] of [
        ["greedy_cfg3", {}],
        ["greedy_cfg3_prompt3", { prompt }],
      ] as const) {
        const options = { ...greedy, ...extra, maxGenLen: 14 };
        const { codes: generated } = await new Generator(lm).generate(
          { guidance: "joint", streams: [streams] },
          3,
          options,
        );
        assert.deepEqual([...generated], [...(file.read(`generate.${key}`) as Int32Array)], key);
      }
    });
  }

  test(`${name}: step-by-step generation sees what the whole sequence sees`, async () => {
    const { lm, conditions, codes } = goldenCase(name);
    const frames = codes.shape[2]!;
    for (const prompt of [null, firstFrames(codes, 7)]) {
      const { codes: generated } = await new Generator(lm).generate(
        { guidance: "none", streams: [conditions] },
        3,
        { ...greedy, maxGenLen: frames, prompt },
      );
      const whole = tf.tensor3d(generated, codes.shape as [number, number, number], "int32");
      const { logits, mask } = lm.computePredictions(whole, lm.conditionProvider.forward(conditions));
      assertGreedy(generated, logits, mask, prompt?.frames ?? 0);
    }
  });
}

for (const checkpointing of ["torch", "xformers_default", "xformers_mm"]) {
  for (const name of ["bias_post_norm_relu", "rope_qk_layer_norm", "prepend_and_sum"]) {
    test(`checkpointing=${checkpointing} leaves loss and gradients as they are (${name})`, () => {
      assertGradients(name, goldenCase(name, { checkpointing }));
    });
  }
}

test("recomputation gives the same gradients op by op and compiled", () => {
  for (const mode of ["none", "xla"] as const) {
    assertGradients("rope_qk_layer_norm", goldenCase("rope_qk_layer_norm", { checkpointing: "torch" }), mode);
    assertGradients(
      "layer_scale_reglu",
      goldenCase("layer_scale_reglu", { checkpointing: "xformers_mm" }),
      mode,
    );
  }
});

function assertGradients(
  name: string,
  { lm, file, codes, conditions, padding }: ReturnType<typeof goldenCase>,
  mode: "none" | "graph" | "xla" = "graph",
): void {
  const parameters = lm.namedParameters().filter(([, parameter]) => parameter.trainable);
  const run = jit(
    () => {
      const variables = parameters.map(([, parameter]) => parameter);
      const { loss, aux, gradients } = valueAndGradients(() => {
        const { ce, perCodebook } = lossOf(lm, codes, conditions, padding);
        return { loss: ce, aux: { perCodebook } };
      }, variables);
      const filled = gradients.map((gradient, i) => gradient ?? tf.zeros(variables[i].shape));
      return {
        loss,
        perCodebook: aux.perCodebook,
        gradients: filled,
        norm: clipByGlobalNorm(filled, null).norm,
      };
    },
    { mode },
  );
  const { loss, perCodebook, gradients, norm } = run();
  close(loss.dataSync(), file.readFloat32("outputs.ce"), 1e-6);
  close(perCodebook.dataSync(), file.readFloat32("outputs.ce_per_codebook"), 1e-6);
  close(norm.dataSync(), file.readFloat32("outputs.grad_norm"), 1e-5);
  // Keys shifted by one bias change no attention weights: its gradient is 0, but for rounding.
  const rounding = 1e-8 * file.readFloat32("outputs.grad_norm")[0];
  assert.deepEqual(
    parameters.map(([parameter]) => parameter).sort(),
    file.names.flatMap((key) => (key.startsWith("grads.") ? key.slice(6) : [])).sort(),
  );
  for (const [i, [parameter]] of parameters.entries()) {
    const [actual, expected] = [gradients[i].dataSync(), file.readFloat32(`grads.${parameter}`)];
    const difference = Math.hypot(...actual.map((value, j) => value - expected[j]));
    const size = Math.hypot(...expected);
    assert.ok(
      difference <= 1e-5 * size + rounding,
      `${name}: ${parameter} differs by ${difference} of ${size}`,
    );
  }
}

/** The largest logit at every cell that was generated is the token that was taken. */
function assertGreedy(generated: Int32Array, logits: Tensor, mask: Uint8Array, prompt: number): void {
  const [, codebooks, frames] = logits.shape as [number, number, number];
  const best = tf.argMax(logits, -1).dataSync();
  let compared = 0;
  for (let cell = 0; cell < generated.length; cell++) {
    if (!mask[cell % (codebooks * frames)] || cell % frames < prompt) continue;
    assert.equal(generated[cell], best[cell], `cell ${cell}`);
    compared++;
  }
  assert.ok(compared > generated.length / 4);
}

/** Conditions that are embedded already; the model takes them as they are from now on. */
function given(lm: MusicGenLM, embeddings: Record<string, Tensor>): PreparedConditions {
  lm.conditionProvider.forward = (prepared) =>
    Object.fromEntries(
      Object.entries(prepared).map(([name, { input, mask, crossBias }]): [string, ConditionTensors] => [
        name,
        { embedding: input, mask, crossBias },
      ]),
    );
  const entries = Object.entries(embeddings).map(([name, input]) => {
    const [rows, length] = input.shape as [number, number];
    return [name, { input, mask: tf.ones([rows, length]), crossBias: tf.zeros([1, 1, 1, length]) }];
  });
  return Object.fromEntries(entries);
}

function firstFrames(codes: Tensor, frames: number) {
  const [rows, codebooks] = codes.shape as [number, number];
  const kept = tf.slice(codes, [0, 0, 0], [rows, codebooks, frames]).dataSync();
  return { codes: Int32Array.from(kept), frames };
}
