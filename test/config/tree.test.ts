// The YAML tree under config/ gives AudioCraft's configs, value for value.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  asMusicGenConfig,
  asTrainConfig,
  CONFIG_DIR,
  composeConfig,
  composeTrainConfig,
} from "../../src/config/index.ts";
import { MappingNode } from "../../src/config/node.ts";
import { ConfigRepository } from "../../src/config/repository.ts";

const golden = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../golden/configs");
process.env.USER = "user";

for (const name of fs.readdirSync(golden).filter((file) => file.startsWith("config_"))) {
  const { argv, config } = JSON.parse(fs.readFileSync(path.join(golden, name), "utf8"));

  test(`${argv.join(" ")}: composed exactly as AudioCraft composes it`, () => {
    assert.deepEqual(composeConfig({ configDir: CONFIG_DIR, overrides: argv }).toObject(), config);
  });

  test(`${argv.join(" ")}: a training run adds only the keys of runtime.yaml`, () => {
    const composed = composeTrainConfig(argv).toObject();
    remove(
      composed,
      new ConfigRepository([CONFIG_DIR], "1.1").load("runtime")!.config as MappingNode,
      config,
    );
    assert.deepEqual(composed, config);
  });
}

/** Takes out the keys of ours, also those in AudioCraft's sections, which must have none of the same name. */
function remove(
  values: Record<string, unknown>,
  own: MappingNode,
  theirs: Record<string, unknown> | undefined,
): void {
  for (const key of own.keys().map(String)) {
    const child = own.get(key);
    if (child instanceof MappingNode && theirs?.[key]) {
      remove(values[key] as Record<string, unknown>, child, theirs[key] as Record<string, unknown>);
    } else {
      assert.ok(!(key in (theirs ?? {})), `${key} is AudioCraft's`);
      delete values[key];
    }
  }
}

test("without a solver the embedded tiny MusicGen is trained on the example data", () => {
  const config = composeTrainConfig([]);
  assert.equal(config.choices.get("solver"), "musicgen/tiny");
  assert.equal(config.get("compression_model_checkpoint"), "//embedded/encodec_tiny_16khz");
  assert.match(String(config.get("datasource.train")), /^egs\/example/);
  assert.equal(config.get("conditioners.description.model"), "lut");
  assert.equal(config.get("codebooks_pattern.modeling"), "delay");
});

test("solver=musicgen/musicgen_base_32khz alone falls back to the example data", () => {
  const solver = "solver=musicgen/musicgen_base_32khz";
  const config = composeTrainConfig([solver]);
  assert.deepEqual(
    config.get("datasource"),
    composeTrainConfig([solver, "dset=audio/example"]).get("datasource"),
  );
});

test("every option of every musicgen group composes, resolves and passes the schema", () => {
  const repository = new ConfigRepository([CONFIG_DIR], "1.1");
  for (const solver of repository.options("solver/musicgen")) {
    if (solver === "default") continue;
    asMusicGenConfig(
      composeTrainConfig([`solver=musicgen/${solver}`, "solver/musicgen/evaluation=objective_eval"]),
    );
  }
  for (const scale of repository.options("model/lm/model_scale")) {
    const config = asMusicGenConfig(composeTrainConfig([`model/lm/model_scale=${scale}`]));
    assert.equal(config.transformer_lm.dim, 128, "tiny's own size wins over any scale");
  }
});

test("every compression config passes the schema of its solver", () => {
  for (const solver of new ConfigRepository([CONFIG_DIR], "1.1").options("solver/compression")) {
    if (solver === "default") continue;
    asTrainConfig(composeTrainConfig([`solver=compression/${solver}`]));
  }
});

test("the other solvers of the tree compose and resolve", () => {
  const repository = new ConfigRepository([CONFIG_DIR], "1.1");
  for (const family of ["audiogen", "compression", "diffusion", "jasco", "magnet", "watermark"]) {
    for (const option of repository.options(`solver/${family}`)) {
      // A family's default is what its other options build on; it leaves ??? to them.
      if (option === "default") continue;
      const config = composeTrainConfig([`solver=${family}/${option}`]).toObject({ keepMissing: true });
      assert.ok(config.optim, option);
    }
  }
});

test("jit can be set for every solver", () => {
  for (const solver of ["musicgen/debug", "compression/debug", "diffusion/debug"]) {
    assert.equal(composeTrainConfig([`solver=${solver}`, "jit=none"]).get("jit"), "none");
  }
});

test("composing the base solver in a warm process takes less than 100 ms", () => {
  const compose = () =>
    composeTrainConfig(["solver=musicgen/musicgen_base_32khz", "optim.lr=0.1"]).toObject();
  compose();
  const times = Array.from({ length: 5 }, () => {
    const start = performance.now();
    compose();
    return performance.now() - start;
  });
  assert.ok(Math.min(...times) < 100, `${times}`);
});

test("composing the base solver takes under 60 ms in a warm process", () => {
  const times = Array.from({ length: 7 }, () => {
    const begin = performance.now();
    composeTrainConfig(["solver=musicgen/musicgen_base_32khz", "dset=audio/example", "optim.lr=0.5"]);
    return performance.now() - begin;
  });
  // The fastest: other processes may take the core meanwhile.
  assert.ok(Math.min(...times) < 60, `took ${times.map((time) => time.toFixed(1)).join(", ")} ms`);
});
