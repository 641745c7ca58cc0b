/** Errors caused by what the user gave us: shown as one message, without a stack trace. */
export class UserError extends Error {
  override name = "UserError";
}
