/** What a folder holds, told by its files and never by its name; each kind's checks are loaded when they are needed. */
import { type Check, type Checks, failed } from "./check.ts";
import type { GoldenFolder, Json } from "./folder.ts";

interface Kind {
  matches(folder: GoldenFolder): boolean;
  load(): Promise<(folder: GoldenFolder) => Checks>;
}

const kinds: Record<string, Kind> = {
  lm: {
    matches: (folder) => folder.has("weights.safetensors", "inputs.safetensors", "outputs.safetensors"),
    load: async () => (await import("./lm.ts")).verifyLM,
  },
  patterns: {
    matches: (folder) => folder.has("patterns.json"),
    load: async () => (await import("./patterns.ts")).verifyPatterns,
  },
  t5: {
    matches: (folder) => folder.files.some((file) => /^outputs_.+\.safetensors$/.test(file)),
    load: async () => (await import("./t5.ts")).verifyT5,
  },
  t5_spiece: {
    matches: (folder) => folder.files.some((file) => /^t5-spiece.*\.json$/.test(file)),
    load: async () => (await import("./t5_spiece.ts")).verifySpiece,
  },
  convert: {
    matches: (folder) => folder.has("rename_map.json"),
    load: async () => (await import("./convert.ts")).verifyConversion,
  },
  configs: {
    matches: (folder) => configFiles(folder).length > 0,
    load: async () => (await import("./configs.ts")).verifyConfigs,
  },
  hf_musicgen: {
    matches: (folder) => folder.has("model/config.json", "outputs.safetensors"),
    load: async () => (await import("./hf_musicgen.ts")).verifyHfMusicGen,
  },
  hf_shapes: {
    matches: (folder) =>
      folder.files.some(
        (file) => file.endsWith("_shapes.json") && folder.has(`${file.slice(0, -12)}/config.json`),
      ),
    load: async () => (await import("./hf_shapes.ts")).verifyHfShapes,
  },
  hf_encodec: {
    matches: (folder) => folder.has("config.json", "outputs.safetensors"),
    load: async () => (await import("./hf_encodec.ts")).verifyHfEncodec,
  },
  audiocraft_encodec: {
    matches: (folder) => folder.has("weights_init.safetensors", "outputs.safetensors"),
    load: async () => (await import("./audiocraft_encodec.ts")).verifyAudiocraftEncodec,
  },
  optim: {
    matches: (folder) => folder.has("trajectories.safetensors") || folder.has("schedulers.json"),
    load: async () => (await import("./optim.ts")).verifyOptim,
  },
  audio: {
    matches: (folder) => folder.has("resample.safetensors") || folder.has("normalize.safetensors"),
    load: async () => (await import("./audio.ts")).verifyAudio,
  },
  dropout: {
    matches: (folder) => folder.has("dropout.json"),
    load: async () => (await import("./dropout.ts")).verifyDropout,
  },
};

/** All checks of a folder. A folder of no known kind, or a kind that breaks off, is a failed check with the reason. */
export async function* verifyFolder(folder: GoldenFolder): AsyncGenerator<Check> {
  const found = Object.entries(kinds).filter(([, kind]) => kind.matches(folder));
  if (found.length === 0) {
    yield failed("kind", 0, `its files are of no kind that verify knows: ${Object.keys(kinds).join(", ")}`);
  }
  for (const [name, kind] of found) {
    try {
      yield* (await kind.load())(folder);
    } catch (error) {
      yield failed(name, 0, error);
    }
  }
}

/** The JSON files that hold a composed config and the overrides that it was composed with. */
export function configFiles(folder: GoldenFolder): string[] {
  return folder.files.filter((file) => {
    if (!file.endsWith(".json") || file === "meta.json") return false;
    const content = folder.json<Json>(file);
    return Array.isArray(content.overrides) && content.unresolved !== undefined;
  });
}
