/** The command lines of `train` and `config`: Hydra's flags and Dora's `-f` and `--clear`, between `key=value` overrides. */
import fs from "node:fs";
import path from "node:path";
import { UserError } from "../errors.ts";
import { nearest } from "./suggest.ts";
import type { TrainConfigOptions } from "./train-config.ts";

export interface CommandLine {
  overrides: string[];
  /** Where and by which name the config is looked for. */
  options: TrainConfigOptions;
  /** Print this part of the config instead of running. */
  cfg?: "job" | "hydra" | "all";
  /** Print this about the composition instead of running. */
  info?: "all" | "config" | "defaults" | "defaults-tree" | "searchpath";
  /** The part of the config to print, a dotted key. */
  package?: string;
  /** A signature whose command line is put before the overrides. */
  from?: string;
  /** Flags without a value that were given, by their long name. */
  flags: Set<Switch>;
}

export type Switch =
  | "--help"
  | "--resolve"
  | "--json"
  | "--check"
  | "--sig"
  | "--multirun"
  | "--clear"
  | "--yes";

interface Flag {
  short?: string;
  /** The name of the value in the usage; without one the flag is a switch. */
  value?: string;
  /** The values there are. */
  choices?: readonly string[];
  /** Taken when the next argument is no value. */
  fallback?: string;
  about: string;
}

const INFO = ["all", "config", "defaults", "defaults-tree", "searchpath"] as const;
const CFG = ["job", "hydra", "all"] as const;

/** Flags that say what config is meant and what to show of it. */
export const CONFIG_FLAGS: Record<string, Flag> = {
  "--help": { short: "-h", about: "groups, options and keys" },
  "--cfg": {
    short: "-c",
    value: "PART",
    choices: CFG,
    about: `print the config and stop: ${CFG.join(", ")}`,
  },
  "--resolve": { about: "with --cfg: show values instead of ${...}" },
  "--package": { short: "-p", value: "KEY", about: "with --cfg: only this part" },
  "--json": { about: "with --cfg: JSON instead of YAML" },
  "--info": {
    short: "-i",
    value: "WHAT",
    choices: INFO,
    fallback: "all",
    about: `print how the config is made and stop: ${INFO.join(", ")}`,
  },
  "--config-name": { short: "-cn", value: "NAME", about: "the primary config, instead of `config`" },
  "--config-path": { short: "-cp", value: "DIR", about: "the config tree, instead of the project's" },
  "--config-dir": { short: "-cd", value: "DIR", about: "also look for groups and options in DIR" },
};

/** What `config` takes besides. */
export const INSPECTION_FLAGS: Record<string, Flag> = {
  "--check": { about: "also check the values against the schema" },
  "--sig": { about: "print only the run's signature" },
};

/** What `train` takes besides. */
export const TRAINING_FLAGS: Record<string, Flag> = {
  "--multirun": { short: "-m", about: "try each combination of sweeps: optim.lr=1e-3,1e-4 seed=range(3)" },
  "--from": {
    short: "-f",
    value: "SIG",
    about: "begin with the command line of an experiment; later values win",
  },
  "--clear": { about: "delete the experiment's folder first" },
  "--yes": { short: "-y", about: "do not ask before deleting" },
};

/**
 * Reads a command line. `--key=value` with a key that is no flag is the override `key=value`.
 * Throws UserError for unknown flags and values, and for two things asked for at once.
 */
export function parseCommandLine(argv: string[], own: Record<string, Flag>): CommandLine {
  const flags = { ...CONFIG_FLAGS, ...own };
  const values = new Map<string, string[]>();
  const overrides: string[] = [];
  const rest = [...argv];
  for (let argument = rest.shift(); argument !== undefined; argument = rest.shift()) {
    const { name, value } = splitFlag(argument, flags);
    if (name === undefined) {
      overrides.push(argument.replace(/^--(?=[\w+~])/, ""));
      continue;
    }
    const given = value ?? flagValue(name, flags[name]!, rest);
    const choices = flags[name]!.choices;
    if (choices && !choices.includes(given))
      throw new UserError(`${name} ${given}: must be one of ${choices.join(", ")}`);
    values.set(name, [...(values.get(name) ?? []), given]);
  }
  const last = (name: string) => values.get(name)?.at(-1);
  const line: CommandLine = {
    overrides,
    options: {
      configName: last("--config-name"),
      configDir: last("--config-path") && directory(last("--config-path")!, "--config-path"),
      searchPath: (values.get("--config-dir") ?? []).map((dir) => directory(dir, "--config-dir")),
    },
    cfg: last("--cfg") as CommandLine["cfg"],
    info: last("--info") as CommandLine["info"],
    package: last("--package"),
    from: last("--from"),
    flags: new Set([...values.keys()].filter((name) => flags[name]!.value === undefined) as Switch[]),
  };
  const asked = ["--cfg", "--info", "--multirun"].filter((name) => values.has(name));
  if (own === TRAINING_FLAGS && !values.has("--cfg")) {
    const idle = ["--resolve", "--json", "--package"].find((name) => values.has(name));
    if (idle) throw new UserError(`${idle} needs --cfg: it says how the config is printed`);
  }
  if (asked.length > 1) throw new UserError(`${asked.join(" and ")} exclude each other`);
  return line;
}

/** The lines of a usage text about `flags`. */
export function describeFlags(flags: Record<string, Flag>): string {
  return Object.entries(flags)
    .map(([name, { short, value, about }]) => {
      const names = [short, name].filter(Boolean).join(", ");
      return `  ${`${names}${value ? ` ${value}` : ""}`.padEnd(34)} ${about}`;
    })
    .join("\n");
}

function splitFlag(argument: string, flags: Record<string, Flag>): { name?: string; value?: string } {
  const equals = argument.indexOf("=");
  const word = equals < 0 ? argument : argument.slice(0, equals);
  const name = Object.hasOwn(flags, word)
    ? word
    : Object.keys(flags).find((long) => flags[long]!.short === word && word !== "");
  if (name === undefined) {
    if (equals < 0 && argument.startsWith("-")) {
      const similar = nearest(argument, Object.keys(flags));
      throw new UserError(
        `unknown option '${argument}'${similar ? `; did you mean ${similar}?` : "; see --help"}`,
      );
    }
    return {};
  }
  if (equals < 0) return { name };
  if (flags[name]!.value === undefined) throw new UserError(`${name} takes no value`);
  return { name, value: argument.slice(equals + 1) };
}

function flagValue(name: string, flag: Flag, rest: string[]): string {
  if (flag.value === undefined) return "";
  const next = rest[0];
  const isValue = next !== undefined && !next.startsWith("-");
  if (flag.fallback !== undefined) {
    return isValue && flag.choices?.includes(next) ? rest.shift()! : flag.fallback;
  }
  if (!isValue) throw new UserError(`${name} needs a value: ${flag.choices?.join(", ") ?? flag.value}`);
  return rest.shift()!;
}

function directory(name: string, flag: string): string {
  const full = path.resolve(name);
  if (!fs.statSync(full, { throwIfNoEntry: false })?.isDirectory())
    throw new UserError(`${flag}: there is no directory ${full}`);
  return full;
}
