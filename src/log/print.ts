/** What a command prints as its result, on stdout. */

/** Resolves when a pipe has taken the whole text: the launcher ends the process as soon as the command returns. */
export function printText(text: string): Promise<void> {
  return new Promise((done) => process.stdout.write(text, () => done()));
}
