/** The curves of a run: one small chart per metric, with a line per stage; and those of the codebooks. */
import type { EpochMetrics } from "../xp/folder.ts";
import { type Chart, chartFigure, type Series } from "./chart.ts";
import { escapeHtml, numberText } from "./html.ts";
import type { RunData } from "./run_data.ts";

/** Stages, and their colours in the style. Others have the last one. */
const STAGES = ["train", "valid", "evaluate", "generate"];
/** Metrics that everybody looks at, first. Time is last. */
const FIRST = ["ce", "ppl", "lr", "grad_norm"];
const LAST = ["rtf", "duration"];
const CODEBOOK = /^(.+)_q(\d+)$/;
const CODEBOOK_COLOURS = 8;

const TITLES: Record<string, string> = {
  ce: "cross entropy",
  ppl: "perplexity",
  lr: "learning rate",
  grad_norm: "gradient norm",
  rtf: "real-time factor",
  duration: "seconds per stage",
};

/** The epoch whose validation cross entropy is the lowest, counted from 1; null without any. */
export function bestEpoch(history: EpochMetrics[]): number | null {
  const values = history.map((epoch) => epoch.valid?.ce ?? Number.POSITIVE_INFINITY);
  const best = Math.min(...values);
  return Number.isFinite(best) ? values.lastIndexOf(best) + 1 : null;
}

/** Charts of all metrics that are not of a codebook; "" for a run that has not logged any. */
export function metricCharts({ history, log }: Pick<RunData, "history" | "log">): string {
  const names = [...metricNames(history), ...log.progress.flatMap(({ metrics }) => Object.keys(metrics))];
  const shown = [...new Set(names)].filter((name) => !CODEBOOK.test(name)).sort(byImportance);
  return charts(
    shown.map((name) => ({
      ...bounds(history),
      title: TITLES[name] ?? name,
      series: stagesOf(
        history,
        log.progress.map(({ stage }) => stage),
      ).flatMap((stage): Series[] => {
        const within = log.progress.filter((point) => point.stage === stage && name in point.metrics);
        const faint = within.map(({ epochs, metrics }) => [epochs, metrics[name]] as const);
        const colour = stageColour(stage);
        return [
          { name: stage, colour, points: epochValues(history, stage, name) },
          ...(stage === "train"
            ? [{ name: `${stage}, in between`, colour, points: faint, faint: true }]
            : []),
        ];
      }),
    })),
  );
}

/** Cross entropy of each codebook by epoch, per stage, and a table of the last epoch; "" when there is none. */
export function codebookSection({ history }: Pick<RunData, "history">): string {
  const stages = stagesOf(history, []);
  const numbers = codebooksOf(history);
  if (numbers.length === 0) return "";
  const figures = charts(
    stages.map((stage) => ({
      ...bounds(history),
      title: `cross entropy, ${stage}`,
      series: numbers.map((q) => ({
        name: `codebook ${q}`,
        colour: `q${((q - 1) % CODEBOOK_COLOURS) + 1}`,
        points: epochValues(history, stage, `ce_q${q}`),
      })),
    })),
  );
  const withCodebooks = stages.filter((stage) => history.some((epoch) => epoch[stage]?.ce_q1 !== undefined));
  const columns = withCodebooks.flatMap((stage) => ["ce", "ppl"].map((metric) => [stage, metric]));
  const rows = numbers.map((q) => {
    const cells = columns.map(([stage, metric]) => {
      const value = history.findLast((epoch) => epoch[stage])?.[stage][`${metric}_q${q}`];
      return `<td>${cellText(value)}</td>`;
    });
    return `<tr><th>codebook ${q}</th>${cells.join("")}</tr>`;
  });
  const heads = columns.map(([stage, metric]) => `<th>${escapeHtml(`${stage} ${metric}`)}</th>`);
  return `<div class="charts">${figures}</div>
<div class="scroll"><table><caption>Last epoch</caption><thead><tr><th></th>${heads.join("")}</tr></thead><tbody>${rows.join("")}</tbody></table></div>`;
}

/** All metrics but those of codebooks, a row per epoch, the newest first. */
export function epochTable(history: EpochMetrics[]): string {
  const best = bestEpoch(history);
  const columns = stagesOf(history, []).flatMap((stage) => {
    const names = [...new Set(history.flatMap((epoch) => Object.keys(epoch[stage] ?? {})))];
    return names
      .filter((name) => !CODEBOOK.test(name))
      .sort(byImportance)
      .map((name) => [stage, name]);
  });
  const heads = columns.map(([stage, name]) => `<th>${escapeHtml(stage)}<br>${escapeHtml(name)}</th>`);
  const rows = history.map((epoch, index) => {
    const cells = columns.map(([stage, name]) => {
      const value = epoch[stage]?.[name];
      return `<td>${cellText(value)}</td>`;
    });
    const isBest = index + 1 === best;
    return `<tr${isBest ? ' class="best"' : ""}><th>${index + 1}${isBest ? " ★" : ""}</th>${cells.join("")}</tr>`;
  });
  return `<div class="scroll tall"><table><thead><tr><th>epoch</th>${heads.join("")}</tr></thead><tbody>${rows.reverse().join("")}</tbody></table></div>`;
}

/** Nothing where a stage was not run, or its value is no number (JSON has null for those). */
function cellText(value: number | null | undefined): string {
  return typeof value === "number" ? numberText(value) : "";
}

/** The axis ends at the last epoch that has begun, so that a long run's begin can be seen. */
function bounds(history: EpochMetrics[]): Pick<Chart, "epochs" | "mark"> {
  return { epochs: history.length, mark: bestEpoch(history) };
}

function charts(list: Chart[]): string {
  return list.map((chart) => chartFigure(chart) ?? "").join("\n");
}

function epochValues(history: EpochMetrics[], stage: string, name: string): [number, number][] {
  return history.flatMap((epoch, index): [number, number][] => {
    const value = epoch[stage]?.[name];
    return typeof value === "number" ? [[index + 1, value]] : [];
  });
}

function metricNames(history: EpochMetrics[]): string[] {
  return history.flatMap((epoch) => Object.values(epoch).flatMap((metrics) => Object.keys(metrics)));
}

function stagesOf(history: EpochMetrics[], more: string[]): string[] {
  const found = [...new Set([...history.flatMap((epoch) => Object.keys(epoch)), ...more])];
  const place = (stage: string) => (STAGES.indexOf(stage) + STAGES.length + 1) % (STAGES.length + 1);
  return found.sort((a, b) => place(a) - place(b));
}

function stageColour(stage: string): string {
  return `c${STAGES.includes(stage) ? STAGES.indexOf(stage) + 1 : STAGES.length + 1}`;
}

function codebooksOf(history: EpochMetrics[]): number[] {
  const numbers = metricNames(history).flatMap((name) => {
    const [, metric, q] = CODEBOOK.exec(name) ?? [];
    return metric === "ce" ? [Number(q)] : [];
  });
  return [...new Set(numbers)].sort((a, b) => a - b);
}

function byImportance(a: string, b: string): number {
  const place = (name: string) => {
    if (FIRST.includes(name)) return FIRST.indexOf(name);
    return FIRST.length + (LAST.includes(name) ? 1 + LAST.indexOf(name) : 0);
  };
  return place(a) - place(b) || (a < b ? -1 : 1);
}
