/** What each opcode of a pickle does. */
import { UserError } from "../../errors.ts";
import type { Machine } from "./pickle.ts";
import { type Dict, emptyDict, isDict, setKey } from "./pickle_values.ts";

const MAX_INTEGER_BYTES = 64;

function protocol(machine: Machine): void {
  const version = machine.unsigned(1);
  if (version > 5) throw new UserError(`a pickle has protocol ${version}, 5 is the highest known`);
}

function decimal(text: string): number | bigint {
  const digits = text.replace(/L$/, "");
  if (!/^[+-]?\d{1,40}$/.test(digits)) throw new UserError("a pickle has a number that is none");
  return narrow(BigInt(digits));
}

function float(text: string): number {
  const special = /^([+-]?)(?:(inf)|nan)$/.exec(text);
  if (special) return special[2] ? Number(`${special[1]}Infinity`) : Number.NaN;
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (Number.isNaN(value)) throw new UserError("a pickle has a number that is none");
  return value;
}

/** Two's complement, little-endian. */
function long(bytes: Buffer): number | bigint {
  if (bytes.length > MAX_INTEGER_BYTES)
    throw new UserError(`a pickle has an integer of ${bytes.length} bytes`);
  if (bytes.length === 0) return 0;
  const value = BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
  return narrow(BigInt.asIntN(8 * bytes.length, value));
}

function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function dictOf(pairs: unknown[]): Dict {
  if (pairs.length % 2 !== 0) throw new UserError("a dict has a key without a value");
  const dict = emptyDict();
  for (let i = 0; i < pairs.length; i += 2) setKey(dict, pairs[i], pairs[i + 1]);
  return dict;
}

/** A copy: the pickle's own bytes are let go of. */
function bytesOf(bytes: Buffer): Uint8Array {
  return Uint8Array.from(bytes);
}

/** Opcodes by their byte; those that are absent are refused. Names as in Python's pickletools. */
export const OPCODES: Record<number, (m: Machine) => void> = {
  128: protocol, // PROTO
  149: (m) => void m.unsigned(8), // FRAME
  40: (m) => m.mark(), // MARK
  48: (m) => void m.pop(), // POP
  49: (m) => void m.popMark(), // POP_MARK
  50: (m) => m.push(m.top()), // DUP

  78: (m) => m.push(null), // NONE
  136: (m) => m.push(true), // NEWTRUE
  137: (m) => m.push(false), // NEWFALSE
  73: (m) => {
    const text = m.line(); // INT; protocol 0 writes booleans so
    m.push(text === "01" ? true : text === "00" ? false : decimal(text));
  },
  76: (m) => m.push(decimal(m.line())), // LONG
  75: (m) => m.push(m.unsigned(1)), // BININT1
  77: (m) => m.push(m.unsigned(2)), // BININT2
  74: (m) => m.push(m.take(4).readInt32LE(0)), // BININT
  138: (m) => m.push(long(m.sized(1))), // LONG1
  139: (m) => m.push(long(m.sized(4))), // LONG4
  70: (m) => m.push(float(m.line())), // FLOAT
  71: (m) => m.push(m.take(8).readDoubleBE(0)), // BINFLOAT

  140: (m) => m.push(m.text(1)), // SHORT_BINUNICODE
  88: (m) => m.push(m.text(4)), // BINUNICODE
  141: (m) => m.push(m.text(8)), // BINUNICODE8
  85: (m) => m.push(m.sized(1).toString("latin1")), // SHORT_BINSTRING
  84: (m) => m.push(m.sized(4).toString("latin1")), // BINSTRING
  67: (m) => m.make(bytesOf(m.sized(1))), // SHORT_BINBYTES
  66: (m) => m.make(bytesOf(m.sized(4))), // BINBYTES
  142: (m) => m.make(bytesOf(m.sized(8))), // BINBYTES8
  150: (m) => m.make(bytesOf(m.sized(8))), // BYTEARRAY8

  93: (m) => m.make([]), // EMPTY_LIST
  97: (m) => {
    const value = m.pop(); // APPEND
    m.append([value]);
  },
  101: (m) => m.append(m.popMark()), // APPENDS
  108: (m) => m.make(m.popMark()), // LIST
  41: (m) => m.make([]), // EMPTY_TUPLE
  116: (m) => m.make(m.popMark()), // TUPLE
  133: (m) => m.make(m.popMany(1)), // TUPLE1
  134: (m) => m.make(m.popMany(2)), // TUPLE2
  135: (m) => m.make(m.popMany(3)), // TUPLE3
  143: (m) => m.make([]), // EMPTY_SET
  144: (m) => m.append(m.popMark()), // ADDITEMS
  145: (m) => m.make(m.popMark()), // FROZENSET
  125: (m) => m.make(emptyDict()), // EMPTY_DICT
  100: (m) => m.make(dictOf(m.popMark())), // DICT
  115: (m) => {
    const pair = m.popMany(2); // SETITEM
    m.setItems(pair);
  },
  117: (m) => m.setItems(m.popMark()), // SETITEMS

  113: (m) => m.remember(m.unsigned(1)), // BINPUT
  114: (m) => m.remember(m.unsigned(4)), // LONG_BINPUT
  112: (m) => m.remember(Number(decimal(m.line()))), // PUT
  148: (m) => m.memoize(), // MEMOIZE
  104: (m) => m.recall(m.unsigned(1)), // BINGET
  106: (m) => m.recall(m.unsigned(4)), // LONG_BINGET
  103: (m) => m.recall(Number(decimal(m.line()))), // GET

  99: (m) => m.push(m.global(m.line(), m.line())), // GLOBAL
  147: (m) => {
    const [module, name] = m.popMany(2); // STACK_GLOBAL
    m.push(m.global(module, name));
  },
  82: (m) => {
    const [callee, args] = m.popMany(2); // REDUCE
    m.call(callee, args);
  },
  129: (m) => {
    const [callee, args] = m.popMany(2); // NEWOBJ
    m.call(callee, args);
  },
  146: (m) => {
    const [callee, args, keywords] = m.popMany(3); // NEWOBJ_EX
    if (!isDict(keywords) || Object.keys(keywords).length > 0)
      throw new UserError("a pickle calls with keywords");
    m.call(callee, args);
  },
  105: (m) => {
    const callee = m.global(m.line(), m.line()); // INST
    m.call(callee, m.popMark());
  },
  111: (m) => {
    const [callee, ...args] = m.popMark(); // OBJ
    m.call(callee, args);
  },
  98: (m) => m.build(), // BUILD
  81: (m) => m.persistent(m.pop()), // BINPERSID
};
