/** Errors caused by what the user gave us: shown as one message, without a stack trace. */
export class UserError extends Error {
  override name = "UserError";
}

/** The weights are no longer finite: what is in memory must not replace a checkpoint. */
export class DivergedError extends UserError {}
