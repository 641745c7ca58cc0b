/** Programs measured in turn, A B A B, so that a machine whose speed changes does so for all of them; and only while nobody else works. */
import { UserError } from "../errors.ts";
import type { Measurement } from "./measurement.ts";
import { othersNow, TOLERATED_CORES, watchOthers } from "./processor.ts";
import { measureWith, type Program } from "./programs.ts";

/** How often a run that others have disturbed is repeated, and how long their end is waited for, in seconds. */
const ATTEMPTS = 3;
const PATIENCE = 60;

export interface TurnOptions {
  rounds: number;
  /** Measure whatever others do. */
  force: boolean;
  /** Told before each run. */
  announce: (text: string) => void;
}

export interface Turn extends Measurement {
  /** Cores that others used during the run, from the program's start to its end. */
  others: number;
}

export interface Machine {
  run: (program: Program) => Promise<Measurement>;
  /** Cores used by others at the moment. */
  othersNow: () => Promise<number>;
  watchOthers: () => () => number;
}

const thisMachine: Machine = { run: measureWith, othersNow, watchOthers };

/** The turns of each program, in the order of `programs`. @throws UserError when others do not leave the machine alone */
export async function measureInTurn(
  programs: Program[],
  options: TurnOptions,
  machine: Machine = thisMachine,
): Promise<Turn[][]> {
  const turns: Turn[][] = programs.map(() => []);
  for (let round = 0; round < options.rounds; round++) {
    for (const [index, program] of programs.entries()) {
      options.announce(`${program.name}, ${round + 1} of ${options.rounds}`);
      turns[index].push(await undisturbed(program, options, machine));
    }
  }
  return turns;
}

async function undisturbed(
  program: Program,
  { force, announce }: TurnOptions,
  machine: Machine,
): Promise<Turn> {
  let others = 0;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (!force) await waitForQuiet(machine, announce);
    const watch = machine.watchOthers();
    const measurement = await machine.run(program);
    others = watch();
    if (force || others <= TOLERATED_CORES) return { ...measurement, others };
    announce(`${program.name}: others used ${others.toFixed(2)} cores meanwhile; once more`);
  }
  throw new UserError(
    `${program.name}: in ${ATTEMPTS} runs others used the processor (${others.toFixed(2)} cores in the last), so there is no figure to quote. Stop them, or pass --force to see unusable ones`,
  );
}

/** @throws UserError when others go on for too long */
async function waitForQuiet({ othersNow }: Machine, announce: (text: string) => void): Promise<void> {
  let others = await othersNow();
  for (let waited = 1; others > TOLERATED_CORES; waited++) {
    if (waited >= PATIENCE)
      throw new UserError(
        `other processes use ${others.toFixed(1)} cores: figures measured now would be worthless. Stop them, or pass --force to see unusable ones`,
      );
    announce(`waiting for other processes, which use ${others.toFixed(1)} cores`);
    others = await othersNow();
  }
}
