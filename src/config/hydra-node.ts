/** The `hydra:` node: its keys are checked, so that a typing error is found, then dropped: nothing here depends on them. */
import { nodeOf } from "./merge.ts";
import type { ConfigNode } from "./node.ts";

/** Keys of Hydra 1.3's own config. null stands for a part whose content is free. */
const KEYS = {
  mode: null,
  searchpath: [],
  run: { dir: null },
  sweep: { dir: null, subdir: null },
  hydra_logging: null,
  job_logging: null,
  sweeper: null,
  launcher: null,
  callbacks: null,
  help: { app_name: null, header: null, footer: null, template: null },
  hydra_help: { hydra_help: null, template: null },
  output_subdir: null,
  overrides: { hydra: [], task: [] },
  job: {
    name: null,
    chdir: null,
    override_dirname: null,
    id: null,
    num: null,
    config_name: null,
    env_set: null,
    env_copy: [],
    config: { override_dirname: { kv_sep: null, item_sep: null, exclude_keys: [] } },
  },
  runtime: {
    version: null,
    version_base: null,
    cwd: null,
    config_sources: [],
    output_dir: null,
    choices: null,
  },
  verbose: null,
};

export function hydraNode(): ConfigNode {
  return nodeOf(KEYS);
}
