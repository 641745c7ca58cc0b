/** A line chart as SVG: drawn on a linear and, where all values are positive, a logarithmic axis; the page shows one of them. */
import { escapeHtml, numberText } from "./html.ts";

export interface Series {
  name: string;
  /** Of its colour in the page's style. */
  colour: string;
  /** Ascending in x; values that are not finite are left out. */
  points: readonly (readonly [x: number, y: number])[];
  /** Drawn thin and behind, and not told at the pointer. */
  faint?: boolean;
}

export interface Chart {
  title: string;
  series: Series[];
  /** Right end of the x axis, in epochs. */
  epochs: number;
  /** An epoch to be marked. */
  mark?: number | null;
}

const WIDTH = 400;
const HEIGHT = 220;
const LEFT = 52;
const RIGHT = 10;
const TOP = 10;
const BOTTOM = 24;
/** Points of a line; more could not be told apart. */
const MAX_POINTS = 800;
/** Lines of fewer points show them. */
const MAX_DOTS = 40;

/** A figure of title, legend and SVG; null when nothing can be drawn. */
export function chartFigure({ title, series, epochs, mark }: Chart): string | null {
  const drawn = series
    .map((one) => ({ ...one, points: thinned(one.points.filter(([, y]) => Number.isFinite(y))) }))
    .filter(({ points }) => points.length > 0);
  const values = drawn.flatMap(({ points }) => points.map(([, y]) => y));
  if (values.length === 0) return null;
  const from = Math.min(1, ...drawn.flatMap(({ points }) => points.map(([x]) => x)));
  const x = scale(from, Math.max(epochs, from + 1), LEFT, WIDTH - RIGHT);
  const positive = values.every((value) => value > 0);
  const variants = [
    plot(drawn, x, linearAxis(values), positive ? "linear" : "linear logarithmic"),
    ...(positive ? [plot(drawn, x, logarithmicAxis(values), "logarithmic")] : []),
  ];
  const told = drawn.filter(({ faint }) => !faint);
  const data = JSON.stringify({
    from: x.from,
    to: x.to,
    series: told.map(({ name, colour, points }) => ({ name, colour, points: points.map(rounded) })),
  });
  const legend = told.map(
    ({ name, colour }) => `<span class="key"><i class="swatch ${colour}"></i>${escapeHtml(name)}</span>`,
  );
  const marked =
    mark && mark >= from ? `<line class="mark" ${vertical(x(mark))}><title>best epoch</title></line>` : "";
  return `<figure class="chart" data-chart="${escapeHtml(data)}">
<figcaption><b>${escapeHtml(title)}</b> ${told.length > 1 || told[0]?.name !== title ? legend.join(" ") : ""}</figcaption>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(`${title} by epoch`)}">
${xAxis(x)}${marked}${variants.join("\n")}
<line class="pointer" ${vertical(LEFT)}/></svg></figure>`;
}

/** Where in an SVG the plots lie, for the script that follows the pointer. */
export const PLOT = { left: LEFT, right: WIDTH - RIGHT, width: WIDTH };

type Point = readonly [number, number];
interface Scale {
  (value: number): number;
  from: number;
  to: number;
}
interface Axis {
  y: (value: number) => number;
  ticks: number[];
}

function scale(from: number, to: number, start: number, end: number): Scale {
  return Object.assign((value: number) => start + ((value - from) / (to - from)) * (end - start), {
    from,
    to,
  });
}

function linearAxis(values: number[]): Axis {
  const [low, high] = extent(values);
  const margin = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  const from = low >= 0 ? Math.max(0, low - margin) : low - margin;
  const to = high + margin;
  return { y: scale(from, to, HEIGHT - BOTTOM, TOP), ticks: ticksBetween(from, to, 4) };
}

function logarithmicAxis(values: number[]): Axis {
  const [low, high] = extent(values).map(Math.log10);
  const margin = (high - low) * 0.06 || 0.1;
  const [from, to] = [low - margin, high + margin];
  const y = scale(from, to, HEIGHT - BOTTOM, TOP);
  const decades = ticksBetween(Math.ceil(from), to, 5).filter(Number.isInteger);
  const ticks =
    decades.length > 1 ? decades.map((exponent) => 10 ** exponent) : ticksBetween(10 ** from, 10 ** to, 4);
  return { y: (value) => y(Math.log10(value)), ticks: ticks.filter((tick) => tick > 0) };
}

function plot(series: Series[], x: Scale, { y, ticks }: Axis, variant: string): string {
  const grid = ticks.map((tick) => {
    const at = y(tick).toFixed(1);
    return `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}"/><text class="tick" x="${LEFT - 6}" y="${at}" dy="0.32em" text-anchor="end">${numberText(tick)}</text>`;
  });
  const lines = [...series]
    .sort((a, b) => Number(b.faint ?? false) - Number(a.faint ?? false))
    .map(({ points, colour, faint }) => {
      const places = points.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`);
      const line = `<polyline class="line ${colour}${faint ? " faint" : ""}" points="${places.join(" ")}"/>`;
      if (faint || points.length > MAX_DOTS) return line;
      const dots = places.map((place) => {
        const [cx, cy] = place.split(",");
        return `<circle class="dot ${colour}" cx="${cx}" cy="${cy}" r="2.2"/>`;
      });
      return line + dots.join("");
    });
  return `<g class="${variant}">${grid.join("")}${lines.join("")}</g>`;
}

function xAxis(x: Scale): string {
  return ticksBetween(x.from, x.to, 6)
    .filter(Number.isInteger)
    .map(
      (tick) =>
        `<text class="tick" x="${x(tick).toFixed(1)}" y="${HEIGHT - 8}" text-anchor="middle">${tick}</text>`,
    )
    .join("");
}

function vertical(at: number): string {
  const x = at.toFixed(1);
  return `x1="${x}" x2="${x}" y1="${TOP}" y2="${HEIGHT - BOTTOM}"`;
}

/** Round numbers, about `count` of them. */
function ticksBetween(from: number, to: number, count: number): number[] {
  const step = (to - from) / count;
  const power = 10 ** Math.floor(Math.log10(step));
  const nice = [1, 2, 5, 10].find((factor) => factor * power >= step)! * power;
  const first = Math.ceil(from / nice - 1e-9);
  const last = Math.floor(to / nice + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * nice).toPrecision(12)));
}

function extent(values: number[]): [number, number] {
  return values.reduce(
    ([low, high], value) => [Math.min(low, value), Math.max(high, value)],
    [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  );
}

/** Means of neighbours, when there are too many points. */
function thinned(points: readonly Point[]): Point[] {
  if (points.length <= MAX_POINTS) return [...points];
  const size = Math.ceil(points.length / MAX_POINTS);
  return Array.from({ length: Math.ceil(points.length / size) }, (_, i) => {
    const group = points.slice(i * size, (i + 1) * size);
    return [0, 1].map((part) => group.reduce((sum, point) => sum + point[part], 0) / group.length) as [
      number,
      number,
    ];
  });
}

function rounded([x, y]: Point): Point {
  return [Number(x.toPrecision(6)), Number(y.toPrecision(5))];
}
