/** What a command prints as its result. */

/** Runs `command`; texts that it prints with `printText` are kept back. The test runner's own output goes through. */
export async function printed<Result>(
  command: () => Promise<Result>,
): Promise<{ result: Result; text: string }> {
  const write = process.stdout.write;
  let text = "";
  process.stdout.write = ((chunk: unknown, ...rest: unknown[]) => {
    const done = rest.at(-1);
    if (typeof chunk !== "string" || typeof done !== "function")
      return Reflect.apply(write, process.stdout, [chunk, ...rest]);
    text += chunk;
    done();
    return true;
  }) as typeof write;
  try {
    return { result: await command(), text };
  } finally {
    process.stdout.write = write;
  }
}
