/** Composing a training run's config: once everything is loaded, and as the command that prints it. */
import { spawnSync } from "node:child_process";
import { composeTrainConfig, PROJECT_ROOT } from "../../config/index.ts";
import { type Measurement, peakBytes, timed } from "../measurement.ts";
import type { Request } from "../request.ts";
import { CONFIG_OVERRIDES } from "../sizes.ts";

export async function measureConfig(request: Request): Promise<Measurement> {
  let yaml = "";
  const compose = () => {
    yaml = composeTrainConfig(CONFIG_OVERRIDES).toYaml({ resolve: false });
  };
  const command = () => {
    const { status } = spawnSync("npm", ["run", "--silent", "config", "--", ...CONFIG_OVERRIDES], {
      cwd: PROJECT_ROOT,
      stdio: ["ignore", "ignore", "inherit"],
    });
    if (status !== 0) throw new Error(`npm run config failed with exit code ${status}`);
  };
  const series = { compose: await timed(compose, request), command: await timed(command, request) };
  return {
    series,
    peakBytes: peakBytes(),
    facts: { lines: yaml.trimEnd().split("\n").length },
    versions: { node: process.versions.node },
  };
}
