// How a command ends: what the user sees of an error, and of a reader that went away.

/** Prints an error as the user should see it and returns the exit code. */
export function report(error) {
  if (error?.name === "UserError") {
    process.stderr.write(`error: ${error.message}\n`);
    return error.exitCode ?? 1;
  }
  process.stderr.write(`${error?.stack ?? error}\n`);
  process.stderr.write(
    "This is a defect of musicgen-tfjs: please report it with the lines above and the output of `npm run doctor`.\n",
  );
  return 1;
}

/** `npm run … | head` closes our output early: the rest of it goes nowhere, and the work (a training, say) goes on. */
export function ignoreClosedPipe() {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error) => {
      if (error.code !== "EPIPE") throw error;
    });
  }
}
