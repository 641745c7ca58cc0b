/** `npm run config -- <overrides>`: prints the composed config. `--resolve` follows interpolations, `--json` prints JSON. */
import { pathToFileURL } from "node:url";
import { asMusicGenConfig, composeTrainConfig } from "./config/index.ts";
import { UserError } from "./errors.ts";
import { trainSignature } from "./xp/signature.ts";

const USAGE = `usage: npm run config -- [options] [key=value ...]
  --resolve          show values instead of \${...}
  --json             JSON instead of YAML
  --check            also check the values against the schema
  --sig              print only the run's signature
  --config-dir DIR   look for groups and options in DIR as well`;

interface CommandLine {
  flags: Set<string>;
  searchPath: string[];
  overrides: string[];
}

/** Runs the command; returns the process's exit code. */
export async function main(argv: string[]): Promise<number> {
  try {
    const { flags, searchPath, overrides } = parseArguments(argv);
    if (flags.has("--help")) {
      console.log(USAGE);
      return 0;
    }
    if (flags.has("--sig")) {
      console.log(trainSignature(overrides, { searchPath }).sig);
      return 0;
    }
    const config = composeTrainConfig(overrides, { searchPath });
    if (flags.has("--check")) asMusicGenConfig(config);
    const resolve = flags.has("--resolve");
    process.stdout.write(
      flags.has("--json") ? `${config.toJson({ resolve })}\n` : config.toYaml({ resolve }),
    );
    return 0;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    console.error(error.message);
    return 1;
  }
}

function parseArguments(argv: string[]): CommandLine {
  const line: CommandLine = { flags: new Set(), searchPath: [], overrides: [] };
  const rest = [...argv];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === "--config-dir") {
      const directory = rest.shift();
      if (directory === undefined) throw new UserError(`--config-dir needs a directory\n${USAGE}`);
      line.searchPath.push(directory);
    } else if (["--resolve", "--json", "--check", "--sig", "--help"].includes(arg)) line.flags.add(arg);
    else if (arg.startsWith("-")) throw new UserError(`unknown option '${arg}'\n${USAGE}`);
    else line.overrides.push(arg);
  }
  return line;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.exitCode = await main(process.argv.slice(2));
}
