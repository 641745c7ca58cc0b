/** A run's report as one HTML page that needs nothing else: style, script, sounds and pictures are in it. */
import { readFileSync } from "node:fs";
import { ageText } from "../xp/status.ts";
import { PLOT } from "./chart.ts";
import { bestEpoch, codebookSection, epochTable, metricCharts } from "./curves.ts";
import { escapeHtml, numberText, secondsText } from "./html.ts";
import type { RunData } from "./run_data.ts";

const STATES: Record<RunData["state"], string> = {
  NEW: "not started",
  RUN: "training",
  PAU: "stopped before its last epoch",
  DON: "done",
  FAI: "failed",
  ERR: "cannot be read",
};
/** The latest ones; the log has all. */
const MAX_ISSUES = 100;

export interface PageOptions {
  /** The cards of the samples, and what is to be said about those that are missing. */
  samples: string;
  samplesNote: string;
  written: Date;
}

/** @returns the whole page */
export function reportPage(run: RunData, { samples, samplesNote, written }: PageOptions): string {
  const charts = metricCharts(run);
  const codebooks = codebookSection(run);
  const sections = [
    section("Curves", charts && `${LOG_SCALE}<div class="charts">${charts}</div>`),
    section("Codebooks", codebooks),
    section("Samples", samples && `<p class="note">${escapeHtml(samplesNote)}</p>${samples}`),
    section("Epochs", run.history.length > 0 ? epochTable(run.history) : ""),
    section("Warnings and errors", issues(run)),
    section("Stack of a run that hung", run.deadlock === null ? "" : preformatted(run.deadlock)),
    section("Config", config(run)),
  ];
  const policy =
    "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'";
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<title>${escapeHtml(`${run.sig}: ${run.name || "defaults"}`)}</title>
<style>
${asset("page.css")}</style>
</head>
<body>
${header(run, written)}
<main>
${sections.join("\n")}
</main>
<div id="tip" hidden></div>
<script>
const PLOT = ${JSON.stringify(PLOT)};
${asset("page.js")}</script>
</body>
</html>
`;
}

const LOG_SCALE = `<p class="tools"><label><input type="checkbox" id="log-scale"> logarithmic</label> <span class="note">Thin lines: means between two lines of the log. Dashed: the epoch with the lowest validation cross entropy.</span></p>`;

function header(run: RunData, written: Date): string {
  const last = run.runs.at(-1);
  const facts: [string, string][] = [
    ["state", escapeHtml(stateText(run, written))],
    ["command", code(last ? last.command.join(" ") : `npm run train -- ${run.argv.join(" ")}`)],
    [
      "commit",
      last
        ? code(last.commit ?? "not a git clone") + (last.dirty ? " with changes (in .git_diff.patch)" : "")
        : "unknown",
    ],
    ["started", last ? startsText(run) : "unknown"],
    ["folder", code(run.dir)],
  ];
  const rows = facts.map(([name, value]) => `<dt>${name}</dt><dd>${value}</dd>`);
  return `<header>
<button id="theme" type="button" title="dark or light">◐</button>
<h1>${escapeHtml(run.name || "defaults")} <code class="signature">${escapeHtml(run.sig)}</code></h1>
<div class="tiles">${tiles(run)
    .map(
      ([value, name]) =>
        `<div class="tile"><b>${escapeHtml(value)}</b><span>${escapeHtml(name)}</span></div>`,
    )
    .join("")}</div>
<dl>${rows.join("\n")}</dl>
<p class="note">Written ${escapeHtml(written.toISOString().replace("T", " ").slice(0, 19))} UTC.</p>
</header>`;
}

/** What one looks for first. */
function tiles({ history, plannedEpochs, log, samples }: RunData): [string, string][] {
  const last = history.at(-1);
  const best = bestEpoch(history);
  const seconds = history.map((epoch) =>
    Object.values(epoch).reduce((sum, { duration }) => sum + (duration ?? 0), 0),
  );
  const total = seconds.reduce((a, b) => a + b, 0);
  const newest = log.progress.findLast(({ stage }) => stage === "train");
  const isBetween = newest !== undefined && newest.epochs > history.length;
  return [
    [
      `${history.length}${plannedEpochs ? ` of ${plannedEpochs}` : ""}`,
      isBetween ? `epochs; ${Math.round(100 * (newest.epochs % 1 || 1))} % of the next is trained` : "epochs",
    ],
    ...(best === null
      ? []
      : [
          [numberText(history[best - 1].valid.ce), `best validation cross entropy, epoch ${best}`] as [
            string,
            string,
          ],
        ]),
    ...(last?.valid?.ppl === undefined
      ? []
      : [[numberText(last.valid.ppl), "validation perplexity now"] as [string, string]]),
    ...(last?.train?.ce === undefined
      ? []
      : [[numberText(last.train.ce), "training cross entropy now"] as [string, string]]),
    ...(history.length === 0
      ? []
      : [
          [secondsText(total / history.length), `per epoch, ${secondsText(total)} in all`] as [
            string,
            string,
          ],
        ]),
    ...(samples.byId.size === 0
      ? []
      : [
          [String(samples.byId.size), `samples in ${counted(samples.byEpoch.size, "epoch")}`] as [
            string,
            string,
          ],
        ]),
  ];
}

function stateText({ state, history, plannedEpochs, log, runs }: RunData, now: Date): string {
  const problems = log.issues.filter(({ level }) => level !== "WARNING").length;
  const started = runs.at(-1)?.started;
  const since = state === "RUN" && started ? ` for ${ageText(Date.parse(started), now.getTime())}` : "";
  const epochs = state === "DON" ? "" : `, ${history.length} of ${plannedEpochs ?? "?"} epochs`;
  return `${STATES[state]}${since}${epochs}${problems > 0 ? `; ${counted(problems, "error")} in the log` : ""}`;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

function startsText({ runs }: RunData): string {
  const date = (text: string) => escapeHtml(text.replace("T", " ").slice(0, 19));
  const last = runs.at(-1)!;
  const more = runs.length > 1 ? `, the last of ${runs.length} starts since ${date(runs[0].started)}` : "";
  return `${date(last.started)} UTC with Node ${escapeHtml(last.node)}${more}`;
}

function issues({ log, dir }: RunData): string {
  const shown = log.issues.slice(-MAX_ISSUES).reverse();
  const rows = shown.map(
    ({ level, message, count, time }) =>
      `<li class="${level.toLowerCase()}"><span class="when">${escapeHtml(time)}</span> <b>${level}</b>${count > 1 ? ` <span class="count">${count} times</span>` : ""}<pre>${escapeHtml(message)}</pre></li>`,
  );
  const left = log.issues.length - shown.length;
  const note = left > 0 ? `<p class="note">${left} more in ${escapeHtml(dir)}/solver.log.0</p>` : "";
  return rows.length > 0 ? `<ul class="issues">${rows.join("")}</ul>${note}` : "";
}

function config({ argv, config }: RunData): string {
  const overrides = argv.map((argument) => `<li>${code(argument)}</li>`).join("");
  const whole =
    config === null
      ? "<p>The whole config can neither be read from a checkpoint nor composed with this version.</p>"
      : `<details><summary>the whole config</summary>${preformatted(config)}</details>`;
  return `${overrides ? `<ul class="overrides">${overrides}</ul>` : "<p>No overrides: the defaults.</p>"}${whole}`;
}

/** Nothing for a section without content. */
function section(title: string, content: string): string {
  return content === "" ? "" : `<section><h2>${title}</h2>\n${content}\n</section>`;
}

function preformatted(text: string): string {
  return `<pre>${escapeHtml(text)}</pre>`;
}

function code(text: string): string {
  return `<code>${escapeHtml(text)}</code>`;
}

function asset(name: string): string {
  return readFileSync(new URL(name, import.meta.url), "utf8");
}
