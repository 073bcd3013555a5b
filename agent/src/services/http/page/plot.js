// Plots over time, drawn by uPlot: axes, units, a legend with the values under the pointer, gaps as gaps.
/* global uPlot */
import { api, lasting, make, now, parameters, utc } from "./base.js";

export const RANGES = { "3h": "3 hours", "24h": "24 hours", "7d": "7 days", "90d": "90 days", all: "all" };
const SECONDS = { "3h": 10800, "24h": 86400, "7d": 604800, "90d": 7776000 };
export const begins = (usual = "24h") => {
  const seconds = SECONDS[parameters().get("range") ?? usual];
  return seconds ? Math.floor(now() - seconds) : 0;
};
export const samples = () => api(`history?since=${begins()}`);

const drawn = new Map();
const ROWS = 30, HEIGHT = 200;

/// Labels of the time axis by the distance of its ticks: each has a text, and what is added at the first tick of a year, month or day.
const TICKS = [
  [86400 * 365, "{YYYY}", null, null, null, null, null, null, 1],
  [86400 * 28, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [86400, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", "\n{D} {MMM}", null, "\n{D} {MMM}", null, null, null, 1],
];

/// Draws lines over time into a place. `points` are objects with `at`, oldest first; each line has a label, a colour (the name of a
/// custom property) and a function from a point to its value, or null. `format` is of values; `steps` are the distances that ticks of the values may have.
export function plot(place, { points, lines, format, steps, empty = "Too little was recorded in this range. Samples are taken every five minutes while the agent runs.", from = begins() }) {
  drawn.set(place, () => plot(place, { points, lines, format, steps, empty, from }));
  place.uplot?.destroy();
  place.uplot = null;
  lines = lines.filter(({ value }) => points.some((point) => value(point) != null));
  if (points.filter((point) => lines.some(({ value }) => value(point) != null)).length < 2)
    return place.replaceChildren(make("p", { class: "empty small" }, empty));
  const [times, columns] = broken(points, lines);
  const style = getComputedStyle(document.documentElement), colour = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--ink"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 }, font: "12px system-ui, sans-serif" };
  const shown = (_, value) => value == null ? "–" : format(value);
  const series = lines.map(({ label, colour: name }, n) => ({ label, stroke: colour(name), width: 2, dash: [[], [6, 3], [2, 3]][n], spanGaps: false, value: shown, points: { show: times.length < 40 } }));
  const options = {
    width: Math.max(240, place.clientWidth), height: HEIGHT, tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"), cursor: { drag: { x: false, y: false } },
    series: [{ label: "UTC", value: (_, at) => at == null ? "–" : utc(at) }, ...series],
    scales: { x: { time: true, range: from ? [from, now()] : undefined }, y: { range: (_, low, high) => low === high ? [Math.min(0, low), Math.max(1, high * 1.1)] : [Math.min(0, low), high * 1.05] } },
    axes: [{ ...axis, values: TICKS }, { ...axis, size: 64, incrs: steps, values: (_, ticks) => ticks.map((tick) => format(tick)) }],
  };
  const canvas = make("div", { role: "img", "aria-label": summary(points, lines, format) });
  const values = table(points, lines, format), open = place.querySelector("details")?.open;
  place.replaceChildren(canvas, values);
  values.open = Boolean(open);
  place.uplot = new uPlot(options, [times, ...columns], canvas);
  place.observer ??= new ResizeObserver(() => { if (place.clientWidth) place.uplot?.setSize({ width: place.clientWidth, height: HEIGHT }); });
  place.observer.observe(place);
}

/// The columns of uPlot: where the distance between two points is far more than usual, the line is broken.
function broken(points, lines) {
  const steps = points.slice(1).map(({ at }, n) => at - points[n].at).sort((a, b) => a - b);
  const usual = Math.max(300, steps[Math.floor(steps.length / 2)] ?? 300);
  const times = [], values = lines.map(() => []);
  points.forEach((point, n) => {
    const before = points[n - 1];
    if (before && point.at - before.at > 2.5 * usual) {
      times.push(before.at + usual);
      values.forEach((column) => column.push(null));
    }
    times.push(point.at);
    lines.forEach(({ value }, line) => values[line].push(value(point) ?? null));
  });
  return [times, values];
}

const summary = (points, lines, format) => lines.map(({ label, value }) => {
  const all = points.map(value).filter((one) => one != null);
  return all.length ? `${label}: last ${format(all.at(-1))}, lowest ${format(Math.min(...all))}, highest ${format(Math.max(...all))}` : `${label}: nothing`;
}).join("; ");

/// The values in text, thinned to some rows.
function table(points, lines, format) {
  const every = Math.ceil(points.length / ROWS), some = points.filter((_, n) => (points.length - 1 - n) % every === 0).reverse();
  const details = make("details", { class: "small" }, make("summary", {}, "Values as a table"));
  details.addEventListener("toggle", () => {
    if (details.children.length > 1) return;
    details.append(make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "UTC"), lines.map(({ label }) => make("th", { scope: "col", class: "number" }, label)))),
      make("tbody", {}, some.map((point) => make("tr", {}, make("td", {}, utc(point.at)), lines.map(({ value }) => make("td", { class: "number" }, value(point) == null ? "–" : format(value(point))))))))));
  });
  return details;
}

const powers = (base, count, ...factors) => Array.from({ length: count }, (_, power) => factors.map((factor) => factor * base ** power)).flat();
export const WHOLE = powers(10, 13, 1, 2, 5);
export const BINARY = powers(2, 50, 1);
export const SECONDS_APART = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 43200, 86400, ...powers(10, 4, 1, 2, 5).map((n) => n * 86400)];

export const duration = (seconds) => seconds === 0 ? "0" : lasting(seconds);

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach((draw) => draw()));
