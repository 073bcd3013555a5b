import { $, act, api, bars, bytes, choice, lasting, live, make, notice, number, plural, theirs, token } from "./base.js";
import { BINARY, RANGES, WHOLE, plot, samples } from "./plot.js";

const WORDS = { up: ["good", "● runs"], paused: ["faint", "‖ paused"], restarting: ["bad", "▲ restarts"], stalled: ["bad", "▲ stalled"] };

let shown = "";
function services({ health }) {
  const text = JSON.stringify([health, Boolean(token.get())]);
  if (text === shown) return;
  shown = text;
  notice(health.network ? new Error(health.network) : health.archive ? new Error(health.archive) : null, "health");
  const row = (name, kind, word, reason, action) => make("tr", {}, make("td", { "data-label": "Service" }, name), make("td", { "data-label": "State" }, make("span", { class: kind }, word)), make("td", { "data-label": "Reason", class: "wide" }, reason ? theirs(reason) : "–"), make("td", { "data-label": "Action" }, action ?? "–"));
  const all = Object.entries(health.services).map(([name, { status, error }]) => {
    const what = status === "paused" ? "resume" : "pause", button = make("button", { type: "button", "aria-label": `${what} ${name}` }, what === "pause" ? "Pause" : "Resume");
    button.addEventListener("click", () => acted(act(`services/${name}/${what}`), () => `${name} ${what === "pause" ? "is paused until the agent stops" : "runs again"}.`));
    return row(name, ...(WORDS[status] ?? ["bad", status]), error, token.get() && name !== "http" ? button : null);
  });
  if (health.tor) all.push(row("tor", health.tor === "ready" ? "good" : "faint", health.tor, null, null));
  const focused = document.activeElement?.closest?.("#services button")?.getAttribute("aria-label")?.split(" ")[1];
  $("services").replaceChildren(...all);
  if (focused) [...$("services").querySelectorAll("button")].find((one) => one.getAttribute("aria-label").split(" ")[1] === focused)?.focus();
}

async function acted(promise, words) {
  try {
    $("done").textContent = words(await promise);
    $("done").className = "good";
  } catch (error) {
    $("done").textContent = error.message;
    $("done").className = "bad";
  }
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token.set($("token").value.trim());
  $("token").value = "";
  $("done").textContent = token.get() ? "The token is used from now on." : "The token is forgotten.";
  shown = "";
});
$("add-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const relays = $("add").value.split(/[\s,]+/).filter(Boolean);
  if (relays.length) acted(act("relays", { relays }), ({ added, known, refused, malformed }) => {
    $("add").value = "";
    const wrong = [...refused, ...malformed].map(({ input, reason }) => `${input}: ${reason}`);
    return [`${plural(added, "relay")} added, ${number(known)} known already.`, ...wrong].join(" ");
  });
});

async function overTime() {
  try {
    const points = await samples();
    const line = (id, label, format, steps, value) => plot($(id), { points, format, steps, lines: [{ label, colour: "--mark", value }] });
    line("plot-memory", "resident", bytes, BINARY, (s) => s.resident_bytes);
    line("plot-disk", "on disk", bytes, BINARY, (s) => s.disk_bytes);
    line("plot-gaps", "gaps", number, WHOLE, (s) => s.gaps);
    line("plot-outbox", "waiting", number, WHOLE, (s) => s.outbox);
    notice(null, "history");
  } catch (error) {
    notice(error, "history");
  }
}

async function manners() {
  try {
    const { crawl } = await api("agent");
    $("crawl").textContent = `At most ${plural(crawl.dials_per_minute, "new connection")} a minute to all relays together, ${plural(crawl.connections_per_host, "connection")} for checks and reading and ${plural(crawl.subscriptions_per_host, "live subscription")} to a host, and ${plural(crawl.attempts_per_subnet, "attempt")} to connect at a time among neighbouring addresses (/24, /48). A relay that is up is checked about every ${lasting(crawl.check_interval)}. The agent's profile (kind 0) has the same figures.`;
    notice(null, "manners");
  } catch (error) {
    notice(error, "manners");
  }
}

async function coverage() {
  try {
    const { methods, reasons } = await api("summary/coverage");
    const row = ({ name, relays, spans }) => [name, spans, `${plural(spans, "span")}, ${plural(relays, "relay")}`];
    $("methods").replaceChildren(bars(methods.map(row), "Nothing is proven so far."));
    $("reasons").replaceChildren(bars(reasons.map(row), "There is no gap."));
    notice(null, "coverage");
  } catch (error) {
    notice(error, "coverage");
  }
}

choice($("range"), "range", RANGES, "24h", overTime);
live({ numbers: services });
overTime();
coverage();
manners();
setInterval(overTime, 300000);
setInterval(coverage, 60000);
