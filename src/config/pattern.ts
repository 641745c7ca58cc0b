/** Shell-style patterns over whole names, as Python's fnmatch reads them: `*` crosses dots and slashes. */

/** `*` any text, `?` one character, `[abc]`, `[!abc]`; case-sensitive. */
export function matchesPattern(name: string, pattern: string): boolean {
  return compiled(pattern).test(name);
}

const cache = new Map<string, RegExp>();

function compiled(pattern: string): RegExp {
  let regex = cache.get(pattern);
  if (!regex) {
    regex = new RegExp(`^${translate(pattern)}$`, "su");
    cache.set(pattern, regex);
  }
  return regex;
}

function translate(pattern: string): string {
  let out = "";
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i]!;
    if (c === "*") out += ".*";
    else if (c === "?") out += ".";
    else if (c === "[") {
      // A "]" right after the opening (or its "!") belongs to the set.
      const first = pattern[i + 1] === "!" ? i + 2 : i + 1;
      const end = pattern.indexOf("]", first + 1);
      if (end < 0) out += "\\[";
      else {
        const set = pattern.slice(first, end).replace(/[\\\]^[]/g, "\\$&");
        out += pattern[i + 1] === "!" ? `[^${set}]` : `[${set}]`;
        i = end;
      }
    } else out += c.replace(/[\\^$.|+(){}\]/]/g, "\\$&");
  }
  return out;
}
