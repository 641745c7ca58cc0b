/** `--help`: how the command is used, the config groups with their options, our own keys, and every known key. */
import { CONFIG_FLAGS, describeFlags, INSPECTION_FLAGS, TRAINING_FLAGS } from "./command-line.ts";
import { keyText, MappingNode } from "./node.ts";
import { ConfigRepository } from "./repository.ts";
import { musicGenSchema } from "./schema.ts";
import type { Schema } from "./schema-types.ts";
import { CONFIG_DIR, DEFAULT_SOLVER, RUNTIME_BASE, type TrainConfigOptions } from "./train-config.ts";

/** The help of `npm run train` or `npm run config`. */
export function helpText(command: "train" | "config", options: TrainConfigOptions = {}): string {
  const repository = trainRepository(options);
  const ownFlags = command === "train" ? TRAINING_FLAGS : INSPECTION_FLAGS;
  return [
    `usage: npm run ${command} -- [options] [key=value ...]`,
    "",
    command === "train"
      ? `Trains what the config says (${DEFAULT_SOLVER} unless a solver is named). The same command line goes on where it stopped.`
      : "Prints the config that `npm run train` would have for the same command line.",
    "",
    "Options",
    describeFlags(ownFlags),
    describeFlags(CONFIG_FLAGS),
    "",
    "Overrides",
    "  group=option         choose an option of a group      ~group      leave a group out",
    "  key=value            change a value                   +key=value  add a key; ++key=value adds or changes",
    "  key=[1,2] key={a: 1} lists and mappings               ~key        delete a key",
    "",
    "Config groups (group=option)",
    ...groupLines(repository),
    "",
    "Keys of this project (not part of a run's signature)",
    ...keyLines(ownKeys(repository)),
    "",
    "Keys of a MusicGen run",
    ...keyLines((key) => !ownKeys(repository)(key)),
    "",
  ].join("\n");
}

/** The files that a command line of `train` chooses among. */
export function trainRepository(options: TrainConfigOptions): ConfigRepository {
  return new ConfigRepository([options.configDir ?? CONFIG_DIR, ...(options.searchPath ?? [])], "1.1");
}

/** Every known key with its schema, mappings first and then what is in them. */
export function* schemaKeys(
  schema: Schema<unknown> = musicGenSchema,
  prefix = "",
): Generator<[string, Schema<unknown>]> {
  for (const [name, field] of Object.entries(schema.fields ?? {})) {
    const key = prefix === "" ? name : `${prefix}.${name}`;
    yield [key, field];
    yield* schemaKeys(field, key);
  }
}

function groupLines(repository: ConfigRepository): string[] {
  return repository.groups().flatMap((group) => {
    const options = repository.options(group);
    return options.length === 0 ? [] : [`  ${group}: ${options.join(", ")}`];
  });
}

function ownKeys(repository: ConfigRepository): (key: string) => boolean {
  const config = repository.load(RUNTIME_BASE)?.config;
  const keys = config instanceof MappingNode ? config.keys().map(keyText) : [];
  return (key) => keys.includes(key.split(".")[0]!);
}

function keyLines(wanted: (key: string) => boolean): string[] {
  return [...schemaKeys()].flatMap(([key, { description, expects, fields }]) => {
    if (!wanted(key) || fields) return [];
    const allowed = description === undefined ? expects : `(${expects})`;
    const text =
      expects === "anything" ? (description ?? expects) : [description, allowed].filter(Boolean).join(" ");
    return [`  ${key.padEnd(44)} ${text}`];
  });
}
