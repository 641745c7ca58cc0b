/** The samples of a run by what they were made for: a card for each, with its reference and prompt, and one clip per epoch. */
import type { Sample } from "../solvers/samples.ts";
import { escapeHtml } from "./html.ts";
import type { ClipStore } from "./media.ts";
import type { RunData } from "./run_data.ts";

/** Samples of one id: the same text, prompt and position, by epoch. */
interface Line {
  id: string;
  samples: Sample[];
}

/** Everything made for the same conditions and reference. */
interface Card {
  conditioning: Sample["conditioning"];
  lines: Line[];
}

/** Embeds what fits, the most telling first, and gives the section's HTML; "" for a run without samples. */
export async function sampleCards(
  { samples }: Pick<RunData, "samples">,
  clips: ClipStore,
  onProgress: (done: number, total: number) => void = () => {},
): Promise<string> {
  const cards = cardsOf([...samples.byId].map(([id, epochs]) => ({ id, samples: [...epochs.values()] })));
  const lines = cards.flatMap((card) => card.lines);
  const paths = [...inOrderOfInterest(lines)];
  for (const [index, path] of paths.entries()) {
    onProgress(index, paths.length);
    await clips.add(path);
  }
  return cards.map((card) => cardHtml(card, clips)).join("\n");
}

/**
 * The newest sample of every line, then prompts and references, then the first samples, to see what was learned, and then the
 * rest, epoch by epoch from the newest.
 */
function inOrderOfInterest(lines: Line[]): Iterable<string> {
  const newest = lines.map(({ samples }) => samples.at(-1)!);
  const sources = newest.flatMap(({ prompt, reference }) => [prompt?.path, reference?.path]);
  const first = lines.map(({ samples }) => samples[0]);
  const rest = lines.flatMap(({ samples }) => samples).sort((a, b) => b.epoch - a.epoch);
  const paths = [
    ...newest.map(({ path }) => path),
    ...sources,
    ...[...first, ...rest].map(({ path }) => path),
  ];
  return new Set(paths.filter((path) => path !== undefined));
}

function cardsOf(lines: Line[]): Card[] {
  const cards = new Map<string, Card>();
  for (const line of lines) {
    const { conditioning, reference, id } = line.samples.at(-1)!;
    const told = Object.values(conditioning).some((value) => value !== null);
    const key = told || reference ? JSON.stringify([conditioning, reference?.id]) : id;
    if (!cards.has(key)) cards.set(key, { conditioning, lines: [] });
    cards.get(key)!.lines.push(line);
  }
  for (const card of cards.values()) card.lines.sort((a, b) => Number(!!prompt(a)) - Number(!!prompt(b)));
  return [...cards.values()];
}

function cardHtml({ conditioning, lines }: Card, clips: ClipStore): string {
  const told = Object.entries(conditioning).filter(([, value]) => value !== null);
  const title = told
    .map(([name, value]) => `<span class="condition">${escapeHtml(name)}</span> ${escapeHtml(value!)}`)
    .join("<br>");
  const reference = lines.at(-1)!.samples.at(-1)!.reference;
  const aside = reference ? clipHtml(reference.path, "reference, from the data", clips) : "";
  const rows = lines.map((line) => lineHtml(line, clips));
  return `<article class="card"><h3>${title || "no conditions"}</h3>
<div class="clips">${aside ? `<div class="source">${aside}</div>` : ""}<div class="lines">${rows.join("\n")}</div></div></article>`;
}

/** Epochs from the newest, so that a narrow window shows that. */
function lineHtml(line: Line, clips: ClipStore): string {
  const { samples } = line;
  const from = prompt(line);
  const title = from ? `goes on from ${from.duration.toFixed(1)} s of the reference` : "without a prompt";
  const shown = [...samples].reverse().filter(({ path }) => !clips.leftOut.has(path));
  const hidden = samples.length - shown.length;
  const note = hidden > 0 ? `; ${hidden} of ${samples.length} epochs are not in this page` : "";
  const parts = [
    ...(from ? [clipHtml(from.path, "prompt", clips)] : []),
    ...shown.map(({ epoch, path }) => clipHtml(path, `epoch ${epoch}`, clips)),
  ];
  return `<div class="line-of-clips" title="${escapeHtml(line.id)}"><h4>${title}${note}</h4><div class="strip">${parts.join("")}</div></div>`;
}

function clipHtml(path: string, label: string, clips: ClipStore): string {
  const clip = clips.get(path);
  if (!clip) {
    const reason = clips.leftOut.has(path) ? "not in this page" : "cannot be read";
    return `<figure class="clip absent"><figcaption>${escapeHtml(label)}: ${reason}</figcaption></figure>`;
  }
  const length = `${clip.duration.toFixed(1)} s${clip.isCut ? ", its begin" : ""}`;
  return `<figure class="clip"><div class="picture"><img alt="spectrogram" src="${clip.picture}"><i class="playhead"></i></div>
<audio controls preload="metadata" src="${clip.audio}"></audio><figcaption>${escapeHtml(label)} · ${length}</figcaption></figure>`;
}

function prompt({ samples }: Line): Sample["prompt"] {
  return samples.at(-1)!.prompt;
}
