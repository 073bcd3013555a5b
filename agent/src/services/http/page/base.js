// What every page needs. Texts that relays and events wrote are only ever put in as text.

export const $ = (id) => document.getElementById(id);

export function make(name, attributes = {}, ...children) {
  const element = name.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4)) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value != null) element.setAttribute(key, value);
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

/// A text that a stranger wrote: its direction of writing does not reach beyond it.
export const theirs = (text) => make("bdi", {}, text);

const decimal = new Intl.NumberFormat("en");
export const number = (n) => n == null ? "–" : decimal.format(n);
export const percent = (share) => share == null ? "–" : share >= 1 ? "100 %" : `${(Math.floor(share * 1000) / 10).toFixed(1)} %`;
export const ms = (n) => n == null ? "–" : `${number(n)} ms`;
export const plural = (n, noun) => `${number(n)} ${noun}${n === 1 ? "" : "s"}`;
export function bytes(n) {
  if (n == null) return "–";
  for (const [size, unit] of [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) if (n >= size) return `${(n / size).toFixed(n / size < 10 ? 1 : 0)} ${unit}`;
  return `${n} B`;
}
export function lasting(seconds) {
  if (seconds == null) return "–";
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) if (seconds >= 2 * size) return `${Math.round(seconds / size)} ${unit}`;
  return `${Math.round(seconds)} s`;
}
export const now = () => Date.now() / 1000;
export const ago = (at) => at == null ? "never" : `${lasting(Math.max(0, now() - at))} ago`;
export const utc = (at) => {
  const date = new Date(at * 1000);
  return Number.isNaN(date.getTime()) ? String(at) : date.toISOString().slice(0, 16).replace("T", " ");
};
export const time = (at) => at == null ? "–" : make("time", { datetime: `${utc(at).replace(" ", "T")}Z`, title: `${utc(at)} UTC` }, ago(at));
export const short = (id) => `${id.slice(0, 8)}…${id.slice(-4)}`;
export const relayPage = (url) => `relay?url=${encodeURIComponent(url)}`;

const KINDS = { 0: "profile", 1: "note", 3: "follow list", 4: "direct message", 5: "deletion", 6: "repost", 7: "reaction", 16: "repost", 20: "picture", 1059: "gift wrap", 1063: "file", 1111: "comment", 1984: "report", 1985: "label", 9734: "zap request", 9735: "zap", 10000: "mute list", 10002: "relay list", 10166: "monitor", 22242: "authentication", 30000: "follow set", 30023: "article", 30078: "application data", 30166: "relay check", 30311: "live event", 31990: "handler" };
export const kind = (n) => KINDS[n] ? `${n} ${KINDS[n]}` : String(n);

const STATES = { up: ["good", "● up"], down: ["bad", "▼ down"], new: ["faint", "○ unchecked"], alias: ["faint", "≡ alias"], "opted-out": ["faint", "⊘ opted out"] };
export const state = (word) => make("span", { class: STATES[word]?.[0] ?? "" }, STATES[word]?.[1] ?? word);

/// Asks the REST interface. An error is worded for people.
export async function api(path, options = {}) {
  let answer;
  try {
    answer = await fetch(`api/v1/${path}`, options);
  } catch {
    throw new Error("The agent does not answer. It may have been stopped, or be starting again.");
  }
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const error = new Error(answer.status === 429 ? "Too many requests from this address: wait a minute." : body.detail ?? `The agent answered with HTTP ${answer.status}.`);
  error.status = answer.status;
  throw error;
}

/// Says why something cannot be shown, or takes that back. Each part of a page has its own error.
const troubles = new Map();
export function notice(error, part = "page") {
  const before = [...troubles.values()].join();
  error ? troubles.set(part, error.message) : troubles.delete(part);
  const messages = [...new Set(troubles.values())];
  if ([...troubles.values()].join() !== before) $("notice").replaceChildren(...messages.map((message) => make("p", { class: "notice bad", role: "alert" }, message)));
}

/// The parameters of the page's address.
export const parameters = () => new URLSearchParams(location.search);
export function address(query, replace = false) {
  const text = query.toString();
  const url = `${location.pathname}${text ? `?${text}` : ""}`;
  if (url !== `${location.pathname}${location.search}`) history[replace ? "replaceState" : "pushState"](null, "", url);
}

/// Keeps a form and the address of the page the same. Typing replaces the address, so that Back leaves the page and does not undo
/// letters; everything else adds to the history.
/// Where a load is expensive, it waits for Enter or the button.
export function bind(form, load, { waits = false } = {}) {
  const fields = [...form.elements].filter((field) => field.name);
  const read = () => fields.forEach((field) => { field.value = parameters().get(field.name) ?? ""; });
  const write = (replace) => {
    const query = parameters();
    for (const field of fields) field.value ? query.set(field.name, field.value.trim()) : query.delete(field.name);
    address(query, replace);
    load();
  };
  let typing;
  form.addEventListener("input", ({ target }) => {
    clearTimeout(typing);
    const text = target.tagName === "INPUT";
    if (text && waits) return;
    typing = setTimeout(() => write(text), text ? 60 : 0);
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(typing); write(false); });
  form.addEventListener("reset", () => setTimeout(() => write(false)));
  addEventListener("popstate", () => { clearTimeout(typing); read(); load(); });
  read();
}

/// Buttons of which one is chosen; the choice is a parameter of the address.
export function choice(place, name, options, usual, load) {
  const draw = () => {
    const chosen = parameters().get(name) ?? usual;
    place.replaceChildren(...Object.entries(options).map(([value, label]) => {
      const button = make("button", { type: "button", "aria-pressed": String(value === chosen) }, label);
      button.addEventListener("click", () => {
        const query = parameters();
        value === usual ? query.delete(name) : query.set(name, value);
        address(query);
        draw();
        place.querySelector("[aria-pressed=true]").focus();
        load();
      });
      return button;
    }));
  };
  addEventListener("popstate", () => { draw(); load(); });
  draw();
}

/// Labelled bars, longest first: [label, value, text, address].
export function bars(rows, nothing = "Nothing so far.") {
  if (!rows.length) return make("p", { class: "small" }, nothing);
  const most = Math.max(...rows.map(([, value]) => value), 1);
  return make("table", { class: "bars" }, make("tbody", {}, rows.map(([label, value, text, href]) => {
    const bar = make("svg:svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
      make("svg:rect", { width: Math.max(0.5, value / most * 100), height: 10, rx: 1 }));
    return make("tr", {}, make("th", { scope: "row" }, href ? make("a", { href }, theirs(label)) : theirs(label)), make("td", {}, bar), make("td", { class: "number" }, text));
  })));
}

/// A table with a header, whose rows may become cards on a phone; what is said if it has no row.
export function table(heads, list, nothing, { cards = false } = {}) {
  if (!list.length) return make("p", { class: "small" }, nothing);
  const head = make("thead", {}, make("tr", {}, heads.map((name) => make("th", { scope: "col" }, name))));
  const cell = (content, n) => make("td", { "data-label": heads[n], class: cards && n === 0 ? "first" : null }, content ?? "–");
  const body = make("tbody", {}, list.map((cells) => make("tr", {}, cells.map(cell))));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": heads.join(", ") }, make("table", { class: cards ? "cards" : null }, head, body));
}

/// Uptime by day as a row of bars; a day without checks is empty.
export function days(list, label) {
  const width = list.length * 4;
  const svg = make("svg:svg", { class: "days", viewBox: `0 0 ${width} 20`, preserveAspectRatio: "none", role: "img", "aria-label": label });
  const midnight = Math.floor(now() / 86400) * 86400;
  list.forEach((share, n) => {
    const day = utc(midnight - (list.length - 1 - n) * 86400).slice(0, 10);
    const kind = share == null ? "none" : share >= 99 ? "up" : share >= 90 ? "partly" : "down";
    const bar = make("svg:rect", { class: kind, x: n * 4 + 0.5, y: 0, width: 3, height: 20 }, make("svg:title", {}, `${day}: ${share == null ? "not checked" : `up ${share} %`}`));
    svg.append(bar);
  });
  return svg;
}

export const tile = (name, value, hint) => make("div", {}, make("dt", {}, name), make("dd", {}, value), make("dd", { class: "hint" }, hint));

// The token of an operator, kept by this tab.
export const token = { get: () => sessionStorage.getItem("token"), set: (text) => text ? sessionStorage.setItem("token", text) : sessionStorage.removeItem("token") };
export const act = (path, body) => api(path, { method: "POST", headers: { Authorization: `Bearer ${token.get() ?? ""}` }, body: body && JSON.stringify(body) });

/// Pages that are reached from another one.
const PARTS = [["/relay", "/relays"], ["/author", "/events"]];

/// Shows who the agent is and how it is, and follows its numbers and jobs.
export function live(handlers = {}) {
  for (const link of document.querySelectorAll("nav a")) if (link.pathname === location.pathname || PARTS.some(([part, whole]) => location.pathname.endsWith(part) && link.pathname.endsWith(whole))) link.setAttribute("aria-current", "page");
  let agent;
  const who = () => {
    if (!agent) return;
    $("agent-name").replaceChildren(...(agent.name ? [theirs(agent.name)] : []));
    const copy = make("button", { type: "button", class: "plain-button", title: "Copy the npub" }, make("code", {}, `${agent.npub.slice(0, 14)}…${agent.npub.slice(-6)}`));
    copy.addEventListener("click", () => navigator.clipboard?.writeText(agent.npub).then(() => { copy.textContent = "copied"; setTimeout(who, 1500); }));
    $("agent").replaceChildren(copy, ` · version ${agent.version} · ${agent.profile} · running for ${lasting(now() - agent.started_at)}`);
  };
  api("agent").then((answer) => { agent = answer; who(); }, () => {});
  setInterval(who, 60000);
  let stream, again;
  const lost = () => { $("status").textContent = "▼ the agent is not reached"; $("status").className = "pill bad"; };
  const close = () => { clearTimeout(again); stream?.close(); stream = null; };
  const open = () => {
    close();
    stream = new EventSource("api/v1/live");
    stream.addEventListener("open", () => handlers.open?.());
    stream.addEventListener("numbers", ({ data }) => {
      const numbers = JSON.parse(data), { status } = numbers.health;
      $("status").textContent = { up: "● all well", degraded: "▲ degraded", down: "▼ down" }[status] ?? status;
      $("status").className = `pill ${status === "up" ? "good" : "bad"}`;
      handlers.numbers?.(numbers);
    });
    stream.addEventListener("job", ({ data }) => handlers.job?.(JSON.parse(data)));
    stream.addEventListener("error", () => {
      lost();
      // The browser tries again after a break, and not after a refusal.
      if (stream?.readyState === EventSource.CLOSED) again = setTimeout(open, 5000);
    });
  };
  // A browser has six connections to a server: a page that nobody sees gives its own up.
  const show = () => { if (document.hidden) close(); else if (!stream) open(); };
  document.addEventListener("visibilitychange", show);
  addEventListener("pagehide", close);
  addEventListener("pageshow", show);
  show();
}
