/** `npm run train -- <overrides>`: trains an experiment, or shows what the command line means, or tries several of them. */
import { type CommandLine, parseCommandLine, TRAINING_FLAGS } from "./config/command-line.ts";
import { printText } from "./log/print.ts";

/** Runs the command; returns the process's exit code. TensorFlow is loaded only to train. */
export async function main(argv: string[]): Promise<number> {
  const line = parseCommandLine(argv, TRAINING_FLAGS);
  if (line.flags.has("--help")) {
    const { helpText } = await import("./config/help.ts");
    await printText(helpText("train", line.options));
    return 0;
  }
  if (line.from !== undefined) await prependArguments(line, line.from);
  if (line.cfg || line.info) {
    const { configView } = await import("./config/views.ts");
    await printText(configView(line));
    return 0;
  }
  if (line.flags.has("--multirun")) {
    const { runMultirun } = await import("./xp/multirun.ts");
    return await runMultirun(line);
  }
  if (line.flags.has("--clear")) {
    const { clearExperiment } = await import("./xp/remove.ts");
    if (!(await clearExperiment(line.overrides, line.options, { yes: line.flags.has("--yes") }))) return 1;
  }
  const { trainExperiment } = await import("./train/experiment.ts");
  return await trainExperiment(line.overrides, line.options, argv);
}

/** `-f SIG`: the command line of that experiment, then what was given, which wins. */
async function prependArguments(line: CommandLine, sig: string): Promise<void> {
  const [{ findExperiment, resolveDoraDir }, { composeTrainConfig }] = await Promise.all([
    import("./xp/folder.ts"),
    import("./config/train-config.ts"),
  ]);
  const doraDir = resolveDoraDir(composeTrainConfig([]));
  line.overrides = [...findExperiment(doraDir, sig).argv, ...line.overrides];
}
