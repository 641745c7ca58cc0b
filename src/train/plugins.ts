/** Modules of the user's own that a run loads first (`plugins`), mostly to register solvers. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { PROJECT_ROOT } from "../config/index.ts";
import { UserError } from "../errors.ts";
import { importUserModule } from "../modules.ts";

/** What a plugin's `register` gets: this program's solvers and registry, without an import path to know. */
export type PluginApi = typeof import("../solvers/index.ts");

/**
 * Imports each module and calls the function `register` that it exports, if any, with `api`.
 * @throws UserError that names the plugin when it is not there or fails
 */
export async function loadPlugins(paths: readonly string[], api: PluginApi): Promise<void> {
  for (const path of paths) {
    const file = resolve(PROJECT_ROOT, path);
    if (!existsSync(file)) throw new UserError(`plugins: ${file} does not exist`);
    try {
      const { register } = await importUserModule<{
        register: (api: PluginApi) => void | Promise<void>;
      }>(file);
      await register?.(api);
    } catch (error) {
      const { code, stack } = error as NodeJS.ErrnoException;
      // a .ts file without a package.json that says "module" is taken for CommonJS
      const reason =
        code === "ERR_REQUIRE_CYCLE_MODULE"
          ? 'it is taken for CommonJS; call it .mts, or put a package.json with "type": "module" beside it'
          : (stack ?? String(error));
      throw new UserError(`plugins: ${file} failed: ${reason}`, { cause: error });
    }
  }
}
