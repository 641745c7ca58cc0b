/** What a run's log tells: how metrics went within epochs, and what was wrong. */

/** A progress line: the mean of the metrics since the one before. */
export interface ProgressPoint {
  /** train, valid, … */
  stage: string;
  /** Epochs since the begin; 2.5 is the middle of the third. */
  epochs: number;
  metrics: Record<string, number>;
}

/** A warning or an error, with the lines that follow it. Equal ones are counted. */
export interface Issue {
  level: "WARNING" | "ERROR" | "CRITICAL";
  message: string;
  count: number;
  /** Of the last one, as in the log. */
  time: string;
}

export interface SolverLog {
  progress: ProgressPoint[];
  issues: Issue[];
}

const LINE = /^\[([^\]]+)\]\[[^\]]+\]\[(\w+)\] - (.*)$/;
const PROGRESS = /^(\w+) \| Epoch (\d+) \| (\d+)\/(\d+) \| (.*)$/;
/** A stack may be long; its begin says it. */
const MAX_FOLLOWING = 30;

export function parseSolverLog(text: string): SolverLog {
  const progress = new Map<string, ProgressPoint[]>();
  const messages: { level: string; time: string; lines: string[] }[] = [];
  for (const line of text.split("\n")) {
    const [, time, level, message] = LINE.exec(line) ?? [];
    if (message === undefined) {
      const last = messages.at(-1);
      if (line.trim() && last && last.lines.length < MAX_FOLLOWING) last.lines.push(line);
      continue;
    }
    messages.push({ level, time, lines: [message] });
    const point = progressPoint(message);
    if (!point) continue;
    const points = progress.get(point.stage) ?? [];
    // A run that was stopped goes on from its checkpoint: what came after that is replaced.
    while (points.length > 0 && points.at(-1)!.epochs >= point.epochs) points.pop();
    points.push(point);
    progress.set(point.stage, points);
  }
  return { progress: [...progress.values()].flat(), issues: issuesOf(messages) };
}

function progressPoint(message: string): ProgressPoint | null {
  const [, stage, epoch, index, total, rest] = PROGRESS.exec(message) ?? [];
  if (rest === undefined) return null;
  const [, ...pairs] = rest.split(" | "); // the first is the speed
  const metrics = pairs.map((pair): [string, number] => {
    const space = pair.lastIndexOf(" ");
    return [pair.slice(0, space), Number(pair.slice(space + 1))];
  });
  return {
    stage: stage.toLowerCase(),
    epochs: Number(epoch) - 1 + (Number(index) + 1) / Number(total),
    metrics: Object.fromEntries(metrics.filter(([, value]) => Number.isFinite(value))),
  };
}

function issuesOf(messages: { level: string; time: string; lines: string[] }[]): Issue[] {
  const issues = new Map<string, Issue>();
  for (const { level, time, lines } of messages) {
    if (level !== "WARNING" && level !== "ERROR" && level !== "CRITICAL") continue;
    const message = lines.join("\n");
    const count = (issues.get(message)?.count ?? 0) + 1;
    issues.delete(message); // the latest comes last
    issues.set(message, { level, message, count, time });
  }
  return [...issues.values()];
}
