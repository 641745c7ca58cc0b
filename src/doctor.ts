/**
 * `npm run doctor`: what this machine and this installation are, and whether they compute correctly.
 *
 * Prints one line per fact and an OK or FAIL line per check; `--json` prints the same as one object. The exit code is 1 if a check failed.
 */
import { describeMachine } from "./doctor/machine.ts";
import { type Check, selfTest } from "./doctor/self_test.ts";
import { UserError } from "./errors.ts";

export async function main(argv: string[]): Promise<number> {
  const unknown = argv.find((argument) => argument !== "--json");
  if (unknown !== undefined) {
    throw new UserError(`doctor does not know '${unknown}'. Usage: npm run doctor -- [--json]`);
  }
  const json = argv.includes("--json");

  const machine = describeMachine();
  if (!json) for (const [name, value] of Object.entries(machine)) printFact(name, value);

  const checks: Check[] = [];
  for await (const check of selfTest()) {
    checks.push(check);
    if (!json) console.log(`${check.ok ? "OK  " : "FAIL"}  ${check.name}: ${check.detail}`);
  }

  const ok = checks.every((check) => check.ok);
  if (json) console.log(JSON.stringify({ ok, machine, checks }, null, 2));
  else
    console.log(
      ok
        ? "All is well."
        : "Something is wrong: see the FAIL lines. To install anew: npm run setup -- --force",
    );
  return ok ? 0 : 1;
}

function printFact(name: string, value: string | string[]): void {
  const lines = typeof value === "string" ? [value] : value;
  lines.forEach((line, index) => {
    console.log(`${(index === 0 ? name : "").padEnd(14)}${line}`);
  });
}
