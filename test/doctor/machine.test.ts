import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { hubFolder, processorFeatures } from "../../src/doctor/machine.ts";

describe("the Hugging Face hub cache", () => {
  it("is HF_HUB_CACHE, else HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub", () => {
    assert.equal(hubFolder({ HF_HUB_CACHE: "/a", HF_HOME: "/b", XDG_CACHE_HOME: "/c" }), "/a");
    assert.equal(hubFolder({ HF_HOME: "/b", XDG_CACHE_HOME: "/c" }), "/b/hub");
    assert.equal(hubFolder({ XDG_CACHE_HOME: "/c" }), "/c/huggingface/hub");
  });
});

describe("the processor's features", () => {
  it("are whole words of its flags, not parts of other words", () => {
    assert.deepEqual(processorFeatures("model : x\nflags\t\t: fpu avx512f avx2x fma\n"), ["fma", "avx512f"]);
  });
});
