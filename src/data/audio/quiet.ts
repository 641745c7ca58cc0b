/** Runs a synchronous decoder without its messages: it also returns its errors, and they are reported with the file's name. */
export function quietly<T>(decode: () => T): T {
  const print = console.error;
  console.error = () => {};
  try {
    return decode();
  } finally {
    console.error = print;
  }
}
