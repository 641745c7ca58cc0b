/** `npm run config -- <overrides>`: prints the config that `train` would have, or how it is made. Hydra's flags. */
import { INSPECTION_FLAGS, parseCommandLine } from "./config/command-line.ts";
import { UserError } from "./errors.ts";
import { printText } from "./log/print.ts";

/** Runs the command; returns the process's exit code. */
export async function main(argv: string[]): Promise<number> {
  const line = parseCommandLine(argv, INSPECTION_FLAGS);
  if (line.flags.has("--help")) {
    const { helpText } = await import("./config/help.ts");
    await printText(helpText("config", line.options));
    return 0;
  }
  if (line.flags.has("--sig")) {
    if (line.cfg || line.info)
      throw new UserError("--sig prints the signature alone: leave --cfg and --info out");
    const { trainSignature } = await import("./xp/signature.ts");
    await printText(`${trainSignature(line.overrides, line.options).sig}\n`);
    return 0;
  }
  if (line.flags.has("--check")) {
    const { asTrainConfig, composeTrainConfig } = await import("./config/index.ts");
    asTrainConfig(composeTrainConfig(line.overrides, line.options));
  }
  const { configView } = await import("./config/views.ts");
  await printText(configView(line.info ? line : { ...line, cfg: line.cfg ?? "job" }));
  return 0;
}
