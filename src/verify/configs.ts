/** Configs composed from the YAML tree against Hydra's composition of AudioCraft's, value for value. */
import { CONFIG_DIR, composeConfig } from "../config/index.ts";
import { type Checks, check } from "./check.ts";
import { treeMismatches } from "./compare.ts";
import type { GoldenFolder, Json } from "./folder.ts";
import { configFiles } from "./kinds.ts";

interface ComposedGolden {
  overrides: string[];
  unresolved: Json;
  /** Absent where the original could not resolve it (an environment variable was not set). */
  resolved?: Json;
}

export async function* verifyConfigs(folder: GoldenFolder): Checks {
  for (const file of configFiles(folder)) {
    const golden = folder.json<ComposedGolden>(file);
    const name = file.slice(0, -".json".length);
    const compose = (resolve: boolean) =>
      composeConfig({ configDir: CONFIG_DIR, overrides: golden.overrides }).toObject({ resolve });
    yield await check(`${name} unresolved`, 0, () => {
      const { ours, theirs } = withoutOpenData(compose(false), golden.unresolved);
      return treeMismatches(ours, theirs);
    });
    if (golden.resolved) {
      yield await check(`${name} resolved`, 0, () => {
        const { ours, theirs } = withoutOpenData(compose(true), golden.resolved!);
        return treeMismatches(ours, theirs);
      });
    }
  }
}

/** A data source that the original leaves open (`???`) is ours to fill: see docs/differences.md. */
function withoutOpenData(ours: Json, theirs: Json): { ours: Json; theirs: Json } {
  const { datasource, ...rest } = theirs;
  if ((datasource as Json | undefined)?.train !== "???") return { ours, theirs };
  const { datasource: _, ...ourRest } = ours;
  return { ours: ourRest, theirs: rest };
}
