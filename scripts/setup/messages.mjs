// Set-up's errors: one line that says the cause and the remedy.

/** An error that the user can do something about; printed without a stack. */
export class SetupError extends Error {
  name = "UserError";
  constructor(message, { exitCode = 1 } = {}) {
    super(message);
    this.exitCode = exitCode;
  }
}

const causes = [
  {
    pattern: /ENOSPC|No space left on device|Errno 28\b|EDQUOT|Disk quota exceeded/i,
    line: () =>
      "the disk is full. Free some space, or put the cache elsewhere with MUSICGEN_CACHE_DIR=FOLDER, and run this again: finished parts are kept",
  },
  {
    pattern: /EROFS|Read-only file system/i,
    line: () =>
      "the folder is on a read-only file system. Use a writable checkout, or set MUSICGEN_CACHE_DIR=FOLDER for the cache",
  },
  {
    pattern: /EACCES|EPERM|Permission denied/i,
    line: () =>
      "no permission to write there. Make the folder yours (chown), or set MUSICGEN_CACHE_DIR=FOLDER for the cache",
  },
  {
    pattern:
      /CERTIFICATE_VERIFY_FAILED|SELF_SIGNED_CERT|unable to get local issuer|UNABLE_TO_GET_ISSUER|UNABLE_TO_VERIFY/i,
    line: () =>
      "the server's certificate is not trusted here (a proxy of your network?). Point PIP_CERT and npm's `cafile` to its certificate file",
  },
  {
    pattern:
      /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ERR_SOCKET_TIMEOUT|ENETUNREACH|EHOSTUNREACH|NewConnectionError|NameResolutionError|ProxyError|ConnectTimeoutError|ReadTimeoutError|Read timed out|Connection refused|Connection broken|IncompleteRead|name resolution|Network is unreachable|Connection aborted|Max retries exceeded/i,
    line: (what) =>
      `no network, or the package index that ${what} uses is not reachable. Check the connection (HTTPS_PROXY, ${what} config list) and run this again: finished parts are kept`,
  },
  {
    pattern: /EINTEGRITY|THESE PACKAGES DO NOT MATCH THE HASHES|BadZipFile|BadZipfile|Bad CRC|zlib\.error/i,
    line: () =>
      "a downloaded file is damaged. Run this again to fetch it anew; if it stays so, a proxy or mirror alters files",
  },
  {
    pattern: /npm (error|ERR!) code EUSAGE/,
    line: () =>
      "package.json and package-lock.json do not belong together. Restore both (git checkout package.json package-lock.json)",
  },
  {
    pattern: /No matching distribution found|Could not find a version|E404|404 Not Found/i,
    line: (what) =>
      `${what} does not offer this version. Use an index or mirror that carries it, or none (see: ${what} config list)`,
  },
  {
    pattern: /SIGKILL|Killed|MemoryError|out of memory|Cannot allocate memory|ENOMEM/i,
    line: () => "out of memory. Close other programs and run this again",
  },
];

/** The cause and the remedy that `text` (output of a tool, or a system error) speaks of; undefined if unknown. */
export function explain(text, what) {
  return causes.find(({ pattern }) => pattern.test(text))?.line(what);
}

/** The error for a child process that failed: `step` is what was tried, `what` the tool that did it. */
export function failureOf(step, what, { output, code, signal, log }) {
  const cause =
    explain(signal ? `${output}\n${signal}` : output, what) ??
    lastLine(output) ??
    `${what} ended with code ${code}`;
  return new SetupError(`${step} failed: ${cause.replace(/\.$/, "")}.${log ? ` Details: ${log}` : ""}`);
}

/** Errors of our own file operations (disk full, no permission) as the same kind of line. */
export function asSetupError(error, step) {
  if (error?.name === "UserError" || !error?.code) return error;
  const cause = explain(`${error.code} ${error.message}`, "the file system");
  if (!cause) return error;
  return new SetupError(`${step} failed${error.path ? ` at ${error.path}` : ""}: ${cause}.`);
}

function lastLine(output) {
  const lines = output
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line && !/^npm (error|ERR!) A complete log/.test(line));
  return lines.reverse().find((line) => /error/i.test(line)) ?? lines[0];
}
