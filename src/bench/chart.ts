/** A chart on logarithmic axes as an SVG file of its own, for documentation: readable in light and dark pages. */
import { escapeHtml } from "../report/html.ts";
import type { Point } from "./power_law.ts";

export interface ChartSeries {
  name: string;
  colour: string;
  /** Measured. */
  points: readonly Point[];
  /** Drawn as a thin line through the points' range. */
  curve?: (x: number) => number;
}

export interface LogChart {
  title: string;
  xLabel: string;
  yLabel: string;
  series: ChartSeries[];
}

const WIDTH = 460;
const HEIGHT = 300;
const FRAME = { left: 62, right: 14, top: 30, bottom: 44 };
const STEPS = 40;

export function logChart({ title, xLabel, yLabel, series }: LogChart): string {
  const all = series.flatMap(({ points }) => points);
  const x = scale(
    all.map(([value]) => value),
    FRAME.left,
    WIDTH - FRAME.right,
    1.12,
  );
  const y = scale(
    all.map(([, value]) => value),
    HEIGHT - FRAME.bottom,
    FRAME.top + 18 * series.length,
    1.25,
  );
  const ticksX = [...new Set(all.map(([value]) => value))].sort((a, b) => a - b);
  const parts = [
    text(FRAME.left, 18, title, "title"),
    ...series.map((one, i) => legend(one, FRAME.top + 6 + 16 * i)),
    ...ticksX.map((value) => text(x(value), HEIGHT - FRAME.bottom + 16, String(value), "tick middle")),
    ...ticksOf(y.from, y.to).flatMap((value) => [
      `<line class="grid" x1="${FRAME.left}" x2="${WIDTH - FRAME.right}" y1="${at(y(value))}" y2="${at(y(value))}"/>`,
      text(FRAME.left - 6, y(value) + 4, String(Number(value.toPrecision(3))), "tick end"),
    ]),
    text((FRAME.left + WIDTH) / 2, HEIGHT - 8, xLabel, "tick middle"),
    `<text class="tick middle" transform="translate(14 ${HEIGHT / 2}) rotate(-90)">${escapeHtml(yLabel)}</text>`,
    ...series.map((one) => drawn(one, x, y)),
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(title)}">
<style>
text { font: 12px sans-serif; fill: #222 } .title { font-weight: bold } .tick { font-size: 11px; fill: #555 }
.middle { text-anchor: middle } .end { text-anchor: end } .grid { stroke: #ddd }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .tick { fill: #aaa } .grid { stroke: #444 } }
</style>
${parts.join("\n")}
</svg>
`;
}

interface Scale {
  (value: number): number;
  from: number;
  to: number;
}

/** A logarithmic axis over the values, and a bit beyond: `margin` is a factor. */
function scale(values: number[], start: number, end: number, margin: number): Scale {
  const [from, to] = [Math.min(...values) / margin, Math.max(...values) * margin];
  const place = (value: number) => start + (Math.log(value / from) / Math.log(to / from)) * (end - start);
  return Object.assign(place, { from, to });
}

/** 1, 2 and 5 times powers of ten; only the powers where there are many. */
function ticksOf(from: number, to: number): number[] {
  const powers = Array.from(
    { length: 2 + Math.log10(to / from) },
    (_, i) => 10 ** (Math.floor(Math.log10(from)) + i),
  );
  const within = (value: number) => value >= from && value <= to;
  const few = powers.filter(within);
  return few.length >= 4 ? few : powers.flatMap((power) => [power, 2 * power, 5 * power]).filter(within);
}

function drawn({ points, curve, colour }: ChartSeries, x: Scale, y: Scale): string {
  const dots = points.map(([a, b]) => `<circle cx="${at(x(a))}" cy="${at(y(b))}" r="3.5" fill="${colour}"/>`);
  if (!curve) return dots.join("");
  const [first, last] = [points[0][0], points[points.length - 1][0]];
  const places = Array.from({ length: STEPS + 1 }, (_, i) => {
    const value = first * (last / first) ** (i / STEPS);
    return `${at(x(value))},${at(y(curve(value)))}`;
  });
  return `<polyline fill="none" stroke="${colour}" stroke-width="1.5" points="${places.join(" ")}"/>${dots.join("")}`;
}

function legend({ name, colour }: ChartSeries, top: number): string {
  return `<circle cx="${FRAME.left + 6}" cy="${top}" r="3.5" fill="${colour}"/>${text(FRAME.left + 16, top + 4, name, "")}`;
}

function text(x: number, y: number, content: string, style: string): string {
  return `<text class="${style}" x="${at(x)}" y="${at(y)}">${escapeHtml(content)}</text>`;
}

function at(value: number): string {
  return value.toFixed(1);
}
