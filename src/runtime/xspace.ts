/**
 * Decodes what TensorFlow's profiler returns: a serialized XSpace (xplane.proto of TSL), of which only what a timeline
 * needs is kept. A plane is a device or the host, a line one of its threads or streams, an event a span of time on it.
 */
import { BinaryReader } from "@bufbuild/protobuf/wire";

/** Values by name; bytes are serialized messages. 64-bit numbers are rounded, which is enough to tell ids apart. */
export type Stats = Record<string, string | number | Uint8Array>;

export interface XEvent {
  name: string;
  /** The long form, where there is one: an op is "node name:op type", and its `name` the type alone. */
  fullName: string;
  /** Microseconds: since the profile began, or since the epoch if the profiler could not tell. */
  start: number;
  /** Microseconds. */
  duration: number;
  stats: Stats;
}

export interface XLine {
  name: string;
  events: XEvent[];
}

export interface XPlane {
  name: string;
  stats: Stats;
  lines: XLine[];
  /** Of XLA: serialized HloProtos, in the plane "/host:metadata". */
  programs: Uint8Array[];
}

export interface XSpace {
  planes: XPlane[];
  /** Errors and warnings of the profiler. */
  notices: string[];
}

export function decodeXSpace(bytes: Uint8Array): XSpace {
  const notices = [...messages(bytes, 2), ...messages(bytes, 3)].map((notice) =>
    new TextDecoder().decode(notice),
  );
  return { planes: messages(bytes, 1).map(decodePlane), notices };
}

interface EventMetadata {
  name: string;
  fullName: string;
  stats: Stats;
}

/** A plane's event metadata, and the names of its statistics, by their ids. */
interface Names {
  events: Map<number, EventMetadata>;
  stats: Map<number, string>;
}

function decodePlane(bytes: Uint8Array): XPlane {
  const names: Names = { events: new Map(), stats: new Map() };
  for (const entry of messages(bytes, 5)) {
    const [metadata] = messages(entry, 2);
    if (metadata) names.stats.set(number(entry, 1), text(metadata, 2));
  }
  for (const entry of messages(bytes, 4)) {
    const [metadata] = messages(entry, 2);
    if (!metadata) continue;
    const fullName = text(metadata, 2);
    const stats = decodeStats(messages(metadata, 5), names.stats);
    names.events.set(number(entry, 1), { name: text(metadata, 4) || fullName, fullName, stats });
  }
  const lines = messages(bytes, 3).map((line) => decodeLine(line, names.events, names.stats));
  const programs = [...names.events.values()].flatMap(({ stats }) =>
    Object.values(stats).filter((value) => value instanceof Uint8Array),
  );
  return { name: text(bytes, 2), stats: decodeStats(messages(bytes, 6), names.stats), lines, programs };
}

function decodeLine(bytes: Uint8Array, metadata: Names["events"], names: Names["stats"]): XLine {
  const began = number(bytes, 3) / 1e3;
  const events = messages(bytes, 4).map((event) => decodeEvent(event, began, metadata, names));
  return { name: text(bytes, 11) || text(bytes, 2), events };
}

function decodeEvent(
  bytes: Uint8Array,
  began: number,
  metadata: Names["events"],
  names: Names["stats"],
): XEvent {
  let kind: EventMetadata = { name: "", fullName: "", stats: {} };
  let start = began;
  let duration = 0;
  const own: Uint8Array[] = [];
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === 1) kind = metadata.get(Number(reader.int64())) ?? kind;
    else if (field === 2) start += Number(reader.int64()) / 1e6;
    else if (field === 3) duration = Number(reader.int64()) / 1e6;
    else if (field === 4) own.push(reader.bytes());
    else reader.skip(type, field);
  }
  return { ...kind, start, duration, stats: { ...kind.stats, ...decodeStats(own, names) } };
}

function decodeStats(stats: Uint8Array[], names: Names["stats"]): Stats {
  return Object.fromEntries(stats.map((stat) => decodeStat(stat, names)).filter(([name]) => name !== ""));
}

function decodeStat(bytes: Uint8Array, names: Names["stats"]): [string, Stats[string]] {
  let name = "";
  let value: Stats[string] = "";
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === 1) name = names.get(Number(reader.int64())) ?? "";
    else if (field === 2) value = reader.double();
    else if (field === 3) value = Number(reader.uint64());
    else if (field === 4) value = Number(reader.int64());
    else if (field === 5) value = reader.string();
    else if (field === 6) value = reader.bytes();
    else if (field === 7) value = names.get(Number(reader.uint64())) ?? "";
    else reader.skip(type, field);
  }
  return [name, value];
}

/** The values of a repeated message or bytes field. */
export function messages(bytes: Uint8Array, wanted: number): Uint8Array[] {
  const found: Uint8Array[] = [];
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === wanted && type === 2) found.push(reader.bytes());
    else reader.skip(type, field);
  }
  return found;
}

export function text(bytes: Uint8Array, field: number): string {
  const [found] = messages(bytes, field);
  return found ? new TextDecoder().decode(found) : "";
}

/** An integer field, 0 where it is absent. */
function number(bytes: Uint8Array, wanted: number): number {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === wanted && type === 0) return Number(reader.int64());
    reader.skip(type, field);
  }
  return 0;
}
