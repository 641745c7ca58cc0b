/** The resolvers that conformance cases with `"resolvers": "test"` expect to be registered. */
import { type ConfigNode, isContainer, isNode, ListNode, MappingNode, ValueNode } from "../config/node.ts";
import { type Value, valueText } from "../config/resolve.ts";
import { registerResolver, unregisterResolver } from "../config/resolvers.ts";

/** Runs `ask` with the test resolvers registered. Counters begin anew at each call. */
export function withTestResolvers<T>(ask: () => T): T {
  const names: string[] = [];
  const register: typeof registerResolver = (name, resolve, options) => {
    registerResolver(name, resolve, options);
    names.push(name);
  };
  try {
    registerAll(register);
    return ask();
  } finally {
    for (const name of names) unregisterResolver(name);
  }
}

function registerAll(register: typeof registerResolver): void {
  let counter = 0n;
  register("echo", (args) => args);
  register(
    "id",
    exactly(1, ([a]) => a),
  );
  register("add", (args) => args.map(requireNumber).reduce(plus, 0n));
  register(
    "mul",
    exactly(2, ([a, b]) => times(requireNumber(a), requireNumber(b))),
  );
  register("cat", (args) => args.map(valueText).join(""));
  register(
    "up",
    exactly(1, ([s]) => requireString(s).toUpperCase()),
  );
  register(
    "typ",
    exactly(1, ([x]) => typeName(x)),
  );
  register("nargs", (args) => BigInt(args.length));
  register(
    "ns.sub.f",
    between(0, 1, ([a]) => `ns:${valueText(a === undefined ? "dflt" : a)}`),
  );
  register(
    "opt",
    between(1, 2, ([a, b]) => `${valueText(a)}|${valueText(b === undefined ? "B" : b)}`),
  );
  register("boom", () => {
    throw new Error("boom!");
  });
  register(
    "mkdict",
    () =>
      new Map<string, Value>([
        ["p", 1n],
        ["q", new Map([["r", "${x}"]])],
      ]),
  );
  register("mklist", () => [1n, "${x}"]);
  register("parentkeys", (_, { parent }) =>
    parent instanceof MappingNode ? (parent.keys() as Value[]) : "list",
  );
  register("rootkeys", (_, { root }) => (root instanceof MappingNode ? (root.keys() as Value[]) : "list"));
  register("nodekey", (_, { node }) => node.path);
  register("count", () => counter++);
  register("cached", () => counter++, { useCache: true });
}

function exactly(count: number, resolve: (args: Value[]) => Value): (args: Value[]) => Value {
  return between(count, count, resolve);
}

function between(
  minimum: number,
  maximum: number,
  resolve: (args: Value[]) => Value,
): (args: Value[]) => Value {
  return (args) => {
    if (args.length < minimum || args.length > maximum)
      throw new TypeError(`takes ${minimum} to ${maximum} arguments`);
    return resolve(args);
  };
}

function requireNumber(value: Value): bigint | number {
  if (typeof value === "bigint" || typeof value === "number") return value;
  if (typeof value === "boolean") return value ? 1n : 0n;
  throw new TypeError("not a number");
}

function requireString(value: Value): string {
  if (typeof value !== "string") throw new TypeError("not a string");
  return value;
}

function plus(a: bigint | number, b: bigint | number): bigint | number {
  return typeof a === "bigint" && typeof b === "bigint" ? a + b : Number(a) + Number(b);
}

function times(a: bigint | number, b: bigint | number): bigint | number {
  return typeof a === "bigint" && typeof b === "bigint" ? a * b : Number(a) * Number(b);
}

function typeName(value: Value | ConfigNode): string {
  if (value instanceof ValueNode) return typeName(value.value);
  if (isNode(value) && isContainer(value)) return value instanceof ListNode ? "ListConfig" : "DictConfig";
  if (value === null) return "NoneType";
  if (Array.isArray(value)) return "list";
  if (value instanceof Map) return "dict";
  return (
    { bigint: "int", number: "float", string: "str", boolean: "bool" }[typeof value as "string"] ?? "bytes"
  );
}
