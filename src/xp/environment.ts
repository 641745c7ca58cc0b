/**
 * Where a team keeps things: its YAML file (`config/teams/<team>.yaml`, one section per cluster) and the variables that
 * choose it or win over it.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { configFromYaml } from "../config/config.ts";
import { CONFIG_DIR, provideUserVariable } from "../config/train-config.ts";
import { UserError } from "../errors.ts";

export interface Environment {
  team: string;
  cluster: string;
  /** The file that was read. */
  file: string;
  /** The folder of all experiments. */
  doraDir: string;
  /** What `//reference/` stands for. */
  referenceDir: string;
  partitions: Record<string, string>;
  slurmExclude?: string;
  /** Regular expressions and replacements for the paths of data, applied in order. */
  datasetMappers: [RegExp, string][];
}

/**
 * Reads the team's file. AUDIOCRAFT_TEAM (default `default`) or AUDIOCRAFT_CONFIG name it, AUDIOCRAFT_CLUSTER names its
 * section, AUDIOCRAFT_DORA_DIR and AUDIOCRAFT_REFERENCE_DIR win over what it says.
 */
export function loadEnvironment(env: NodeJS.ProcessEnv = process.env, configDir = CONFIG_DIR): Environment {
  provideUserVariable();
  const team = env.AUDIOCRAFT_TEAM || "default";
  const file = env.AUDIOCRAFT_CONFIG || path.join(configDir, "teams", `${team}.yaml`);
  if (!fs.existsSync(file)) {
    const asked = env.AUDIOCRAFT_CONFIG ? "AUDIOCRAFT_CONFIG" : `AUDIOCRAFT_TEAM=${team}`;
    throw new UserError(`${asked}: there is no file ${file}`);
  }
  const config = configFromYaml(fs.readFileSync(file, "utf8"), file);
  const cluster = env.AUDIOCRAFT_CLUSTER || detectCluster();
  if (!config.has(cluster)) {
    const known = Object.keys(config.toObject({ resolve: false })).join(", ");
    throw new UserError(`${file} has no section '${cluster}' (AUDIOCRAFT_CLUSTER names one of: ${known})`);
  }
  const section = config.get(cluster) as Record<string, unknown>;
  const text = (key: string): string => {
    if (typeof section[key] === "string") return section[key];
    throw new UserError(`${file}: '${cluster}.${key}' must be a path`);
  };
  return {
    team,
    cluster,
    file,
    doraDir: path.resolve(env.AUDIOCRAFT_DORA_DIR || text("dora_dir")),
    referenceDir: path.resolve(env.AUDIOCRAFT_REFERENCE_DIR || text("reference_dir")),
    partitions: (section.partitions ?? {}) as Record<string, string>,
    slurmExclude: section.slurm_exclude as string | undefined,
    datasetMappers: Object.entries(section.dataset_mappers ?? {}).map(([pattern, replacement]) =>
      mapper(pattern, String(replacement), file),
    ),
  };
}

/** A path of data as it is on this cluster: each mapper replaces all that its expression matches. */
export function mapDatasetPath(
  dataPath: string,
  environment: { datasetMappers: readonly (readonly [RegExp, string])[] },
): string {
  return environment.datasetMappers.reduce((text, [pattern, by]) => text.replace(pattern, by), dataPath);
}

/** The cluster, from the kernel's and the host's name, as AudioCraft tells them apart. */
export function detectCluster(
  release: string = os.release(),
  host: string = os.hostname(),
  platform: string = process.platform,
): string {
  if (release.endsWith("-aws") || host.includes(".ec2")) return "aws";
  if (host.endsWith(".fair")) return "fair";
  if (host.endsWith(".facebook.com")) return "rsc";
  return platform === "darwin" ? "darwin" : "default";
}

/** Python's replacement texts: `\1` and `\g<1>` are groups, a dollar is a dollar. */
function mapper(pattern: string, replacement: string, file: string): [RegExp, string] {
  try {
    const by = replacement
      .replaceAll("$", "$$$$")
      .replace(/\\(?:g<(\d+)>|(\d+))/g, (_, a, b) => `$${a ?? b}`);
    return [new RegExp(pattern, "gu"), by];
  } catch (error) {
    throw new UserError(`${file}: dataset_mappers: ${(error as Error).message}`);
  }
}
