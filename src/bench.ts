/** `npm run bench -- <what>`: how fast parts of this program are on this machine, measured so that the figures can be compared. */
import { parseOptions, USAGE } from "./bench/arguments.ts";
import { endure } from "./bench/data_endurance.ts";
import { runBenchmarks } from "./bench/run.ts";
import { BENCHMARKS, benchmarkNamed } from "./bench/suite.ts";
import { UserError } from "./errors.ts";

/** Runs the command; returns the exit code: 1 when the figures are not to be used. */
export async function main(argv: string[]): Promise<number> {
  const [what, ...rest] = argv;
  if (what === undefined || argv.includes("--help")) {
    console.log(USAGE);
    return 0;
  }
  const name = benchmarkNamed(what);
  if (name === null && !["all", "growth", "report"].includes(what))
    throw new UserError(`there is no benchmark '${what}'. ${USAGE}`);
  const options = parseOptions(rest);
  if (what === "growth") return await (await import("./bench/growth.ts")).runGrowth(options, argv);
  if (what === "report") return (await import("./bench/performance_page.ts")).updatePerformancePage();
  if (name === "data" && options.endurance > 0)
    return await endure({ ...options, format: options.formats[0] });
  if (what === "all") options.chosenSizes ??= ["bench", "small"];
  return await runBenchmarks(name ? [name] : Object.keys(BENCHMARKS), options, argv);
}
