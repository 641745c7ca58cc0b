/** An evaluation as a page: the table, then every clip with its description, its marks, a player and a picture. */

import { QUALITIES, QUALITY_NAMES } from "../listening/wishes.ts";
import { escapeHtml } from "../report/html.ts";
import { type EvaluatedClip, HEADER, tableRows } from "./results.ts";

const NOTES = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];

/** HTML that refers to `clips/<id>.wav` and `clips/<id>.png` beside it. `title`: the model and how it generated. */
export function resultPage(title: string, clips: readonly EvaluatedClip[]): string {
  const row = (cells: string[], tag: "th" | "td") =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join("")}</tr>`;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
<h1>${escapeHtml(title)}</h1>
<p>How often the generated audio does what its description asks, by signal analysis of ${clips.length} held-out descriptions; beside it chance
(the same clips with each other's descriptions) and what the codec leaves of real clips.</p>
<table>${row(HEADER, "th")}${tableRows(clips)
    .map((cells) => row(cells, "td"))
    .join("")}</table>
<div class="clips">${clips.map(card).join("\n")}</div>
</html>
`;
}

function card({ id, description, generated }: EvaluatedClip): string {
  const marks = QUALITY_NAMES.flatMap((name) => {
    const found = generated[name];
    if (!found) return [];
    const say = (value: string | number) =>
      name === "pitchClass"
        ? NOTES[Number(value)]
        : typeof value === "number"
          ? `${Math.round(value)} bpm`
          : value;
    const text = found.right ? say(found.wanted) : `${say(found.heard)} instead of ${say(found.wanted)}`;
    return `<li class="${found.right ? "right" : "wrong"}" title="${escapeHtml(QUALITIES[name].title)}">${found.right ? "✓" : "✗"} ${escapeHtml(text)}</li>`;
  });
  return `<article><p>${escapeHtml(description)}</p><ul>${marks.join("")}</ul><img loading="lazy" alt="spectrogram" src="clips/${id}.png"><audio controls preload="none" src="clips/${id}.wav"></audio></article>`;
}

const STYLE = `
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222; background: #fff; }
table { border-collapse: collapse; margin-bottom: 2rem; } td, th { padding: .3rem 1rem .3rem 0; text-align: left; border-bottom: 1px solid #ddd; }
.clips { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: 1rem; }
article { border: 1px solid #ddd; border-radius: 6px; padding: .8rem; } article p { margin: 0 0 .4rem; } img { width: 100%; height: 8rem; object-fit: fill; } audio { width: 100%; }
ul { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: 0 0 .5rem; padding: 0; } .right { color: #14713c; } .wrong { color: #b3261e; }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818; } td, th, article { border-color: #444; } .right { color: #6c9; } .wrong { color: #f88; } }
`;
