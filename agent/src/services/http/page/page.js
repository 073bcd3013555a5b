// Everything that is shown comes from relays in the end, and is put in as text.
"use strict";

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const api = (path) => fetch(`api/v1/${path}`).then(async (answer) => {
  if (answer.ok) return answer.json();
  throw new Error((await answer.json().catch(() => ({}))).detail ?? `HTTP ${answer.status}`);
});
const number = new Intl.NumberFormat("en");
const ago = (at) => {
  if (at == null) return "never";
  const seconds = Math.max(0, Date.now() / 1000 - at);
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  return `${Math.floor(seconds)} s ago`;
};
const day = (at) => new Date(at * 1000).toISOString().slice(0, 16).replace("T", " ");
const lasting = (seconds) => seconds == null ? "–" : seconds < 120 ? `${seconds} s` : seconds < 7200 ? `${Math.round(seconds / 60)} min` : seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;

function make(name, attributes = {}, ...children) {
  const element = name.startsWith("svg:") ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.filter((child) => child != null));
  return element;
}

/// Lines over time in a box of their own: [[class, [[x, y], ...]], ...], each to its own scale if asked.
function plot(figure, lines, apart = false) {
  const all = lines.flatMap(([, points]) => points);
  if (!lines.some(([, points]) => points.length > 1)) return figure.replaceChildren(make("p", { class: "small" }, "not enough has been seen yet"));
  const [from, to] = [Math.min(...all.map(([x]) => x)), Math.max(...all.map(([x]) => x))];
  const top = Math.max(1, ...all.map(([, y]) => y));
  const svg = make("svg:svg", { viewBox: "0 0 1000 100", preserveAspectRatio: "none" });
  for (const [kind, points] of lines) {
    const most = apart ? Math.max(1, ...points.map(([, y]) => y)) : top;
    const path = points.map(([x, y], n) => `${n ? "L" : "M"}${((x - from) / (to - from || 1) * 1000).toFixed(1)} ${(96 - y / most * 92).toFixed(1)}`);
    svg.append(make("svg:path", { class: `line ${kind}`, d: path.join("") }));
  }
  figure.replaceChildren(svg);
}

let samples = [];
function drawHistory() {
  plot($("up"), [["good", samples.map((s) => [s.at, s.up])], ["bad", samples.map((s) => [s.at, s.down])]]);
  const rates = samples.slice(1).map((s, n) => [s.at, Math.max(0, (s.events - samples[n].events) / Math.max(1, s.at - samples[n].at) * 60)]);
  plot($("rate"), [["mark", rates], ["bad", samples.filter((s) => s.lag != null).map((s) => [s.at, s.lag])]], true);
  const last = samples.at(-1);
  if (!last) return;
  $("up-text").textContent = `${number.format(last.up)} up, ${number.format(last.down)} down; since ${day(samples[0].at)}`;
  $("rate-text").textContent = `${number.format(Math.round(rates.at(-1)?.[1] ?? 0))} events a minute; proven up to ${lasting(last.lag)} ago on average`;
}

function showNumbers({ stats, lag, gaps, covered, health }) {
  const relays = Object.values(stats.relays).reduce((sum, n) => sum + n, 0);
  const jobs = Object.entries(stats.jobs).reduce((sum, [, n]) => sum + n, 0);
  const shown = { Relays: relays, Up: stats.relays.up ?? 0, Events: stats.events, Authors: stats.pubkeys, Sightings: stats.sightings, "On disk": `${number.format(Math.round(stats.disk_bytes / 1e6))} MB`, "Relays proven": covered, Gaps: gaps, Lag: lasting(lag), "To be sent": stats.outbox, Jobs: jobs };
  $("numbers").replaceChildren(...Object.entries(shown).map(([name, value]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, typeof value === "number" ? number.format(value) : value))));
  $("status").textContent = health.status;
  $("status").className = health.status === "up" ? "good" : "bad";
  $("health").replaceChildren(...Object.entries(health.services).map(([name, { status, error }]) =>
    make("li", {}, make("span", { class: status === "up" ? "good" : "bad" }, status), ` ${name}`, error ? `: ${error}` : "")),
    ...(health.tor ? [make("li", {}, `tor: ${health.tor}`)] : []));
}

const known = new Map();
function showJob({ id, kind, status, at, received_at }) {
  const job = { ...known.get(id), id, status, at: at ?? received_at };
  if (kind) job.kind = kind;
  known.delete(id);
  known.set(id, job);
  while (known.size > 100) known.delete(known.keys().next().value);
  const line = (job) => make("li", {}, make("span", { class: ["failed", "unpaid", "cancelled"].includes(job.status) ? "bad" : "good" }, job.status),
    ` ${job.kind ?? ""} ${job.id.slice(0, 12)} ${day(job.at)}`);
  $("jobs").replaceChildren(...[...known.values()].reverse().map(line));
}

let next = null, asked = 0, rows = 0;
const question = (more) => {
  const query = new URLSearchParams({ limit: more.limit });
  for (const name of ["contains", "state", "network"]) if ($(name).value) query.set(name, $(name).value);
  if (more.after) query.set("after", more.after);
  return `relays?${query}`;
};
async function list(after) {
  const mine = ++asked;
  try {
    const page = await api(question({ limit: 100, after }));
    if (mine !== asked) return;
    if (!after) { $("rows").replaceChildren(); rows = 0; }
    const ms = (value) => make("td", {}, value == null ? "" : `${value} ms`);
    $("rows").append(...page.relays.map((relay) => {
      const open = make("button", { type: "button" }, relay.url);
      open.addEventListener("click", () => showRelay(relay.url));
      return make("tr", {}, make("td", {}, open), make("td", { class: relay.state === "up" ? "good" : relay.state === "down" ? "bad" : "" }, relay.state),
        ms(relay.rtt_open_ms), ms(relay.rtt_read_ms), ms(relay.rtt_write_ms), make("td", {}, relay.country ?? ""), make("td", {}, ago(relay.checked_at)));
    }));
    rows += page.relays.length;
    next = page.next;
    $("more").hidden = !next;
    $("shown").textContent = `${number.format(rows)} shown${next ? "" : ", all there are"}`;
  } catch (error) {
    $("shown").textContent = error.message;
  }
}

let mapped = 0;
async function drawMap() {
  const mine = ++mapped, context = $("map").getContext("2d");
  const style = getComputedStyle(document.documentElement);
  context.clearRect(0, 0, 1440, 720);
  let [all, placed, after] = [0, 0, null];
  do {
    const page = await api(question({ limit: 1000, after })).catch(() => ({ relays: [], next: null }));
    if (mine !== mapped) return;
    for (const { latitude, longitude, state } of page.relays) {
      all++;
      if (latitude == null || longitude == null) continue;
      placed++;
      context.fillStyle = style.getPropertyValue(state === "up" ? "--good" : "--bad");
      context.fillRect((longitude + 180) * 4 - 3, (90 - latitude) * 4 - 3, 6, 6);
    }
    after = page.next;
  } while (after);
  $("map-text").textContent = `${number.format(placed)} of ${number.format(all)} relays are on the map${placed ? "" : ": monitor.geo names the databases of places"}`;
}

/// What is proven and what is missing, on one bar from the first second that either has.
function bar({ filter, covered, gaps }) {
  const spans = [...covered, ...gaps], end = Date.now() / 1000;
  // Everything is proven from the beginning of time on; the bar begins where there can be anything.
  const start = Math.max(Math.min(...spans.map((s) => s.since)), 1600000000);
  const x = (at) => Math.min(1000, Math.max(0, (at - start) / (end - start || 1) * 1000));
  const svg = make("svg:svg", { class: "bar", viewBox: "0 0 1000 10", preserveAspectRatio: "none", role: "img", "aria-label": `${covered.length} spans proven, ${gaps.length} gaps` });
  for (const [kind, list] of [["proven", covered], ["gap", gaps]])
    for (const { since, until } of list) svg.append(make("svg:rect", { class: kind, x: x(since), y: 0, width: Math.max(2, x(until) - x(since)), height: 10 }));
  const missing = gaps.map(({ since, until, reason, count }) => make("li", {}, `${day(since)} to ${day(until)}: ${reason}${count == null ? "" : `, ${number.format(count)} events seen`}`));
  return [make("p", { class: "small" }, `${JSON.stringify(filter)} from ${day(start)} to now`), svg, make("ul", { class: "plain bad" }, ...missing.slice(0, 50))];
}

async function showRelay(url) {
  $("relay-title").textContent = url;
  $("relay-body").replaceChildren(make("p", {}, "asking"));
  if (!$("relay").open) $("relay").showModal();
  try {
    const relay = await api(`relays/${encodeURIComponent(url)}`);
    const share = (value) => value == null ? "–" : `${(value * 100).toFixed(1)} %`;
    const { uptime } = relay.history;
    const figure = make("figure", { role: "img", "aria-label": "Round trips of the last week: open, read and write" });
    const points = (name) => relay.checks.filter((check) => check[name] != null).map((check) => [check.at, check[name]]);
    plot(figure, [["good", points("rtt_open_ms")], ["mark", points("rtt_read_ms")], ["bad", points("rtt_write_ms")]]);
    $("relay-body").replaceChildren(
      make("p", {}, `${relay.state}, ${relay.network}; checked ${ago(relay.checked_at)}; up ${share(uptime.day)} of the last day, ${share(uptime.week)} of the week, ${share(uptime.month)} of the month`),
      make("h3", {}, "Round trips"), make("p", { class: "small" }, "open (green), read (blue), write (red), in milliseconds"), figure,
      make("h3", {}, "What is proven"), ...(relay.coverage.length ? relay.coverage.flatMap(bar) : [make("p", {}, "nothing was synchronized so far")]),
      make("h3", {}, "What it says of itself (NIP-11)"), make("pre", {}, relay.nip11 ? JSON.stringify(relay.nip11, null, 2) : "nothing"),
      make("h3", {}, "What was found"), make("pre", {}, relay.nip66 ? JSON.stringify(relay.nip66, null, 2) : "nothing"));
  } catch (error) {
    $("relay-body").replaceChildren(make("p", { class: "bad" }, error.message));
  }
}

let typing;
$("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => { list(); drawMap(); }, 250);
});
$("search").addEventListener("submit", (event) => event.preventDefault());
$("more").addEventListener("click", () => list(next));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawMap);

list();
drawMap();
const refresh = () => api("history").then((all) => { samples = all; drawHistory(); }).catch(() => {});
refresh();
setInterval(refresh, 300000);
api("jobs?limit=50").then((jobs) => jobs.reverse().forEach(showJob)).catch(() => {});
const live = new EventSource("api/v1/live");
live.addEventListener("numbers", ({ data }) => showNumbers(JSON.parse(data)));
live.addEventListener("job", ({ data }) => showJob(JSON.parse(data)));
live.addEventListener("error", () => { $("status").textContent = "the agent is not reached"; $("status").className = "bad"; });
