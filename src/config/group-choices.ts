/** The options of config groups: what the command line and `override` items ask for, and what has been chosen so far. */
import { UserError } from "../errors.ts";
import { type Choice, DefaultsItem } from "./defaults-item.ts";
import { describeSource } from "./node.ts";
import { type Override, overrideTarget, overrideValue } from "./override-grammar.ts";
import { Sweep } from "./override-value.ts";
import type { ConfigRepository } from "./repository.ts";
import { nearest } from "./suggest.ts";

interface RecordedChoice {
  choice: Choice;
  used: boolean;
  /** The override on the command line, or the file with the `override` item. */
  from: { override: Override } | { file: string };
}

export class GroupChoices {
  readonly repository: ConfigRepository;
  readonly recorded = new Map<string, RecordedChoice>();
  readonly deletions = new Map<string, { option: string | null; used: boolean }>();
  readonly appended: DefaultsItem[] = [];
  readonly valueOverrides: Override[] = [];
  readonly known = new Map<string, string | null>();
  readonly knownByGroup = new Map<string, Set<string>>();

  constructor(repository: ConfigRepository, overrides: Override[]) {
    this.repository = repository;
    for (const override of overrides) this.#sort(override);
  }

  #sort(override: Override): void {
    const value = overrideValue(override);
    if (override.parsed instanceof Sweep) {
      throw new UserError(
        `'${override.input}' asks for several values: use key=[a,b] for a list, key='a,b' for a text, or --multirun to try each`,
      );
    }
    if (value instanceof Map || !this.repository.groupExists(override.key)) {
      this.valueOverrides.push(override);
      return;
    }
    const key = overrideTarget(override);
    if (override.type === "FORCE_ADD")
      throw new UserError(`'${override.input}': '++' cannot choose an option of a group; use '+'`);
    if (override.type === "DEL") {
      if (value !== null && typeof value !== "string")
        throw new UserError(`'${override.input}': an option must be a string`);
      this.deletions.set(key, { option: value || null, used: false });
      return;
    }
    if (typeof value !== "string" && !Array.isArray(value)) {
      throw new UserError(
        `'${override.input}': an option of group '${override.key}' must be a string or a list of strings (quote it: '...')`,
      );
    }
    if (Array.isArray(value) && !value.every((item) => typeof item === "string")) {
      throw new UserError(`'${override.input}': the options of a list must be strings`);
    }
    const choice = value as string | string[];
    if (override.type === "ADD") {
      this.appended.push(
        new DefaultsItem("group", override.key, {
          choice,
          package: override.package,
          appended: true,
          source: { override: override.input },
        }),
      );
    } else this.recorded.set(key, { choice, used: false, from: { override } });
  }

  /** Records an `override` item of a file; the first for a key wins. */
  record(item: DefaultsItem, file: string): void {
    const key = item.overrideKey(this.repository.version);
    // Hydra's own groups (logging, launchers) are not part of a tree: choices among them have no effect here.
    if (key.startsWith("hydra/")) return;
    if (!this.recorded.has(key)) this.recorded.set(key, { choice: item.choice, used: false, from: { file } });
  }

  /** Replaces the item's option by the recorded one, if there is one. */
  apply(item: DefaultsItem): boolean {
    if (item.kind !== "group") return false;
    const recorded = this.recorded.get(item.overrideKey(this.repository.version));
    if (!recorded) return false;
    item.choice = recorded.choice;
    if ("override" in recorded.from) item.source = { override: recorded.from.override.input };
    recorded.used = true;
    return true;
  }

  isDeleted(item: DefaultsItem): boolean {
    if (item.kind !== "group") return false;
    const deletion = this.deletions.get(item.overrideKey(this.repository.version));
    if (!deletion || (deletion.option !== null && deletion.option !== item.name)) return false;
    deletion.used = true;
    return true;
  }

  know(item: DefaultsItem): void {
    if (item.kind !== "group") return;
    const key = item.overrideKey(this.repository.version);
    const before = this.known.get(key);
    if (this.known.has(key) && before !== item.name) {
      throw new UserError(
        `${describeSource(item.source) || "defaults list"}: group '${key}' is chosen twice, as '${before}' and '${item.name}'; ` +
          `to replace the option say 'override ${key}: ${item.name}' in a file, or ${key}=${item.name}`,
      );
    }
    this.known.set(key, item.name);
    const keys = this.knownByGroup.get(item.group) ?? new Set();
    this.knownByGroup.set(item.group, keys.add(key));
  }

  /** Every choice and deletion must have found its group in the defaults list. */
  check(): void {
    for (const [key, recorded] of this.recorded) {
      if (recorded.used) continue;
      const candidates = [...(this.knownByGroup.get(key.split("@")[0]!) ?? [])];
      const similar = candidates.length > 0 ? candidates.join(" or ") : nearest(key, this.known.keys());
      const hint = similar ? `; did you mean ${similar}?` : "";
      if ("file" in recorded.from) {
        throw new UserError(
          `${recorded.from.file}: 'override ${key}': the group is not in the defaults list${hint}`,
        );
      }
      const { input } = recorded.from.override;
      throw new UserError(
        `'${input}': group '${key}' is not in the defaults list${hint}; to add it use +${input}`,
      );
    }
    for (const [key, deletion] of this.deletions) {
      if (deletion.used) continue;
      const shown = deletion.option === null ? key : `${key}=${deletion.option}`;
      throw new UserError(`'~${shown}': there is no such choice in the defaults list`);
    }
  }
}
