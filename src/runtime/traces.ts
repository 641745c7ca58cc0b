/**
 * What jit has traced in this process. A trace takes from milliseconds to seconds, and TensorFlow plans each function anew at its
 * first call, so a run should trace each of its functions once: a second epoch traces nothing.
 */
export interface TraceRecord {
  /** The name of the jitted function. */
  name: string;
  /** Its arguments: shapes, dtypes and static values. */
  signature: string;
  seconds: number;
}

const records: TraceRecord[] = [];

/** For jit.ts. */
export function recordTrace(record: TraceRecord): void {
  records.push(record);
}

/** All traces of this process so far, the oldest first. */
export function tracesSoFar(): readonly TraceRecord[] {
  return records;
}

/** `3 functions traced in 0.8 s: encode, train_step (2)` */
export function tracesText(traces: readonly TraceRecord[]): string {
  const counts = new Map<string, number>();
  for (const { name } of traces) counts.set(name, (counts.get(name) ?? 0) + 1);
  const names = [...counts].map(([name, count]) => (count > 1 ? `${name} (${count})` : name));
  const seconds = traces.reduce((sum, trace) => sum + trace.seconds, 0);
  return `${traces.length} functions traced in ${seconds.toFixed(1)} s: ${names.join(", ")}`;
}
