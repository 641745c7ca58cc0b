/** The resolvers that conformance cases with `"resolvers": "test"` expect to be registered. */
import {
  type ConfigNode,
  isContainer,
  isNode,
  ListNode,
  MappingNode,
  ValueNode,
} from "../../src/config/node.ts";
import { type Value, valueText } from "../../src/config/resolve.ts";
import { registerResolver } from "../../src/config/resolvers.ts";

let registered = false;

export function registerTestResolvers(): void {
  if (registered) return;
  registered = true;
  let counter = 0n;
  registerResolver("echo", (args) => args);
  registerResolver(
    "id",
    exactly(1, ([a]) => a),
  );
  registerResolver("add", (args) => args.map(requireNumber).reduce(plus, 0n));
  registerResolver(
    "mul",
    exactly(2, ([a, b]) => times(requireNumber(a), requireNumber(b))),
  );
  registerResolver("cat", (args) => args.map(valueText).join(""));
  registerResolver(
    "up",
    exactly(1, ([s]) => requireString(s).toUpperCase()),
  );
  registerResolver(
    "typ",
    exactly(1, ([x]) => typeName(x)),
  );
  registerResolver("nargs", (args) => BigInt(args.length));
  registerResolver(
    "ns.sub.f",
    between(0, 1, ([a]) => `ns:${valueText(a === undefined ? "dflt" : a)}`),
  );
  registerResolver(
    "opt",
    between(1, 2, ([a, b]) => `${valueText(a)}|${valueText(b === undefined ? "B" : b)}`),
  );
  registerResolver("boom", () => {
    throw new Error("boom!");
  });
  registerResolver(
    "mkdict",
    () =>
      new Map<string, Value>([
        ["p", 1n],
        ["q", new Map([["r", "${x}"]])],
      ]),
  );
  registerResolver("mklist", () => [1n, "${x}"]);
  registerResolver("parentkeys", (_, { parent }) =>
    parent instanceof MappingNode ? (parent.keys() as Value[]) : "list",
  );
  registerResolver("rootkeys", (_, { root }) =>
    root instanceof MappingNode ? (root.keys() as Value[]) : "list",
  );
  registerResolver("nodekey", (_, { node }) => node.path);
  registerResolver("count", () => counter++);
  registerResolver("cached", () => counter++, { useCache: true });
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
