/** The files of a config tree: loading, `# @package` headers, groups and options, over one or more directories. */
import fs from "node:fs";
import path from "node:path";
import { UserError } from "../errors.ts";
import { type DefaultsItem, parseDefaultsList } from "./defaults-item.ts";
import { type Container, cloneNode, ListNode, MappingNode } from "./node.ts";
import { resolveNode } from "./resolve.ts";
import type { VersionBase } from "./version-base.ts";
import { loadYaml } from "./yaml.ts";

/** One loaded file. Must not be changed: it is shared by all that load it. */
export interface LoadedConfig {
  file: string;
  /** The content without `defaults`. A list can only stand below a package. */
  config: Container;
  /** The items of its defaults list, new ones at each call; undefined when the file has none. */
  defaults: (() => DefaultsItem[]) | undefined;
  /** `# @package`, if the file has that header. */
  package: string | undefined;
}

/** Larger files are not even read. */
const MAX_FILE_BYTES = 10_000_000;
/** Headers are looked for in this many characters at the start of a file. */
const HEADER_CHARACTERS = 512;

export class ConfigRepository {
  /** A file without content. */
  readonly empty: LoadedConfig = {
    file: "command line",
    config: new MappingNode(),
    defaults: undefined,
    package: undefined,
  };
  readonly directories: string[];
  readonly version: VersionBase;
  readonly #loaded = new Map<string, LoadedConfig | undefined>();
  readonly #groups = new Map<string, boolean>();

  /** `directories`: searched in order, the first that holds a file wins. */
  constructor(directories: string[], version: VersionBase) {
    this.directories = directories.map((directory) => path.resolve(directory));
    this.version = version;
  }

  /** Loads `group/name` (with or without `.yaml`), or undefined when no directory holds it. */
  load(configPath: string): LoadedConfig | undefined {
    const name = configPath.endsWith(".yaml") ? configPath : `${configPath}.yaml`;
    if (!this.#loaded.has(name)) this.#loaded.set(name, this.#read(name));
    return this.#loaded.get(name);
  }

  /** Is there a directory of that name? */
  groupExists(group: string): boolean {
    let exists = this.#groups.get(group);
    if (exists === undefined) {
      exists = group !== "" && this.#directoriesOf(group).length > 0;
      this.#groups.set(group, exists);
    }
    return exists;
  }

  /** The options of a group (its files), sorted. */
  options(group: string): string[] {
    const names = new Set<string>();
    for (const directory of this.#directoriesOf(group)) {
      for (const entry of fs.readdirSync(directory, { withFileTypes: true })) {
        if (entry.name.endsWith(".yaml") && !entry.isDirectory())
          names.add(entry.name.slice(0, -".yaml".length));
      }
    }
    return [...names].sort();
  }

  /** Every group at any depth: `solver`, `solver/musicgen`, … */
  groups(): string[] {
    const found = new Set<string>();
    const visit = (group: string) => {
      for (const directory of this.#directoriesOf(group)) {
        for (const entry of fs.readdirSync(directory, { withFileTypes: true })) {
          if (!entry.isDirectory() || entry.name === "__pycache__") continue;
          const inner = group === "" ? entry.name : `${group}/${entry.name}`;
          found.add(inner);
          visit(inner);
        }
      }
    };
    visit("");
    return [...found].sort();
  }

  #directoriesOf(group: string): string[] {
    return this.directories
      .map((directory) => path.join(directory, group))
      .filter((directory) => fs.statSync(directory, { throwIfNoEntry: false })?.isDirectory());
  }

  #read(name: string): LoadedConfig | undefined {
    for (const directory of this.directories) {
      const file = path.join(directory, name);
      let text: string;
      try {
        const { size } = fs.statSync(file);
        if (size > MAX_FILE_BYTES)
          throw new UserError(`${file} has ${size} bytes: a config file may have at most ${MAX_FILE_BYTES}`);
        text = fs.readFileSync(file, "utf8");
      } catch (error) {
        if (error instanceof UserError) throw error;
        const code = (error as NodeJS.ErrnoException).code;
        if (code === "ENOENT" || code === "ENOTDIR" || code === "EISDIR" || code === "EINVAL") continue;
        throw new UserError(`cannot read ${file}: ${(error as Error).message}`);
      }
      return this.#parse(text, file, name);
    }
    return undefined;
  }

  #parse(text: string, file: string, name: string): LoadedConfig {
    const shown = displayPath(file);
    const packageHeader = readHeader(text.slice(0, HEADER_CHARACTERS), shown);
    const content: Container = loadYaml(text, shown);
    return {
      file: shown,
      config: content,
      defaults: takeDefaults(content, name, this.version),
      package: packageHeader,
    };
  }
}

/** Removes `defaults` from the content. It may be an interpolation of a list elsewhere in the file. */
function takeDefaults(content: Container, name: string, version: VersionBase): LoadedConfig["defaults"] {
  const written = content instanceof MappingNode ? content.get("defaults") : undefined;
  if (written === undefined) return undefined;
  const value = resolveNode(written);
  const list = value instanceof ListNode ? cloneNode(value) : written;
  (content as MappingNode).delete("defaults");
  return () => parseDefaultsList(list, name, version);
}

/**
 * The `# @package` header: `# @key value` lines at the very start of the file, blank lines allowed; the first other line
 * ends them. The last of several wins.
 */
function readHeader(start: string, file: string): string | undefined {
  let packageName: string | undefined;
  for (const line of start.split(/\r\n|[\n\r]/)) {
    const text = line.trim();
    if (text === "") continue;
    const header = /^#\s*(@.*)$/.exec(text);
    if (!header) break;
    const words = header[1]!.trim().split(/\s+/);
    if (words.length !== 2) throw new UserError(`${file}: a header must read '# @key value', got '${text}'`);
    if (words[0] === "@package") packageName = words[1];
  }
  return packageName;
}

function displayPath(file: string): string {
  const relative = path.relative(process.cwd(), file);
  return relative.startsWith("..") ? file : relative;
}
