import { $, act, ago, api, bars, choice, days, kind, lasting, live, make, ms, notice, now, number, parameters, percent, plural, relayPage, state, table, theirs, tile, time, token, utc } from "./base.js";
import { RANGES, begins, plot } from "./plot.js";

const url = parameters().get("url") ?? "";
const path = `relays/${encodeURIComponent(url)}`;
const PHASES = [["open", "rtt_open_ms", "--good"], ["read", "rtt_read_ms", "--mark"], ["write", "rtt_write_ms", "--bad"]];

const facts = (rows, nothing) => {
  const given = rows.filter(([, value]) => value != null && value !== "" && !(Array.isArray(value) && !value.length));
  return given.length ? make("table", { class: "facts" }, make("tbody", {}, given.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, ...(Array.isArray(value) ? value : [value])))))) : make("p", { class: "small" }, nothing);
};
const text = (value) => typeof value === "string" && value.trim() ? theirs(value.trim()) : null;
const named = (software) => text(software?.replace(/\/+$/, "").replace(/\.git$/, "").split("/").pop());
const items = (value) => Array.isArray(value) ? value : [];

/// What the relay says of itself, with what contradicts it.
function says({ nip11, nip66, observed_cap: cap }) {
  if (!nip11) return make("p", { class: "small" }, "It has sent no information document.");
  const wrong = (message) => make("span", { class: "bad small" }, ` ✗ ${message}`);
  const probes = nip66?.probes ?? {}, refuted = new Map();
  for (const [name, { claimed, found }] of Object.entries(probes)) if (/^nip\d+$/.test(name) && claimed && found === false) refuted.set(Number(name.slice(3)), "claimed, and not found");
  const nips = items(nip11.supported_nips).filter((nip) => typeof nip === "number").flatMap((nip) => [make("span", { class: refuted.has(nip) ? "chip bad" : "chip", title: refuted.get(nip) }, refuted.has(nip) ? `✗ ${nip}` : String(nip)), " "]);
  const limits = Object.entries(nip11.limitation ?? {}).filter(([, value]) => value != null && typeof value !== "object").flatMap(([name, value]) => [make("div", {}, theirs(`${name.replaceAll("_", " ")}: ${value}`), name === "max_limit" && cap != null && Number(value) > cap ? wrong(`it returned ${number(cap)}`) : null)]);
  const link = (value) => /^https?:\/\//i.test(value ?? "") ? make("a", { href: value, rel: "noopener noreferrer nofollow ugc" }, theirs(value)) : text(value);
  return facts([
    ["Name", text(nip11.name)], ["Description", text(nip11.description)], ["Operator", text(nip11.pubkey) && make("code", {}, theirs(String(nip11.pubkey)))], ["Contact", text(nip11.contact)],
    ["Software", link(nip11.software)], ["Version", text(nip11.version)], ["NIPs", nips], ["Limits", limits], ["Posting policy", link(nip11.posting_policy)], ["Payments", link(nip11.payments_url)],
    ["Countries", text(items(nip11.relay_countries).filter((one) => typeof one === "string").join(", "))], ["Languages", text(items(nip11.language_tags).filter((one) => typeof one === "string").join(", "))],
    ["Says it keeps", items(nip11.retention).length ? text(JSON.stringify(nip11.retention).slice(0, 500)) : null],
  ], "Its document says nothing.");
}

function found({ nip66, observed_cap: cap, failure, hints }) {
  if (!nip66) return make("p", { class: "small" }, "It was not checked so far.");
  const outcome = ({ ok, reason }) => [make("span", { class: ok ? "good" : ok === false ? "bad" : "faint" }, ok ? "✓" : ok === false ? "✗" : "?"), reason ? make("span", {}, " ", theirs(reason)) : null];
  const checks = Object.entries(nip66.checks ?? {}).map(([name, one]) => [name, outcome(one)]);
  const probes = Object.entries(nip66.probes ?? {}).filter(([, { found }]) => found != null).map(([name, { claimed, found }]) =>
    [name.replace(/^nip/, "NIP-"), [make("span", { class: found ? "good" : "faint" }, found ? "✓ found" : "not found"), claimed != null && claimed !== found ? make("span", { class: "bad" }, claimed ? " ✗ it claims it" : " ✗ it does not claim it") : null]]);
  const { certificate } = nip66.ssl ?? {};
  const until = certificate?.not_after, left = until == null ? null : until - now();
  return facts([
    ["Failure", failure && make("code", {}, failure)], ...checks, ...probes,
    ["Certificate", certificate && [theirs(`by ${certificate.issuer ?? "an unnamed issuer"}`), until == null ? null : make("span", { class: left < 7 * 86400 ? "bad" : "" }, left < 0 ? `, expired ${ago(until)}` : `, expires in ${lasting(left)} (${utc(until).slice(0, 10)})`)]],
    ["Says when it is done", hints === "confirmed" ? make("span", { class: "good" }, "✓ and it was true each time") : hints === "refuted" ? make("span", { class: "bad" }, "✗ it had more (NIP-67)") : null],
    ["Returns per request", cap == null ? null : `${number(cap)} events`],
    ["Requires", items(nip66.requires).length ? text(nip66.requires.join(", ")) : null],
    ["Place", text([nip66.geo?.city, nip66.geo?.country].filter(Boolean).join(", "))], ["Network", text(nip66.net?.organisation)], ["Server", text(nip66.http?.server)],
  ], "The check found nothing.");
}

/// What is proven and what is missing, on one bar from the first second that can have events.
function coverage({ filter, covered, gaps }) {
  const EARLIEST = 1577836800, end = now(), spans = [...covered, ...gaps];
  const start = Math.max(Math.min(...spans.map((s) => s.since)), EARLIEST);
  const x = (at) => Math.min(1000, Math.max(0, (at - start) / (end - start || 1) * 1000));
  const shares = covered.reduce((all, s) => all + Math.max(0, Math.min(s.until, end) - Math.max(s.since, start)), 0) / (end - start || 1);
  const label = `${percent(Math.min(1, shares))} of the time from ${utc(start).slice(0, 10)} to now is proven, with ${plural(gaps.length, "gap")}`;
  const svg = make("svg:svg", { class: "coverage", viewBox: "0 0 1000 10", preserveAspectRatio: "none", role: "img", "aria-label": label });
  for (const [name, list] of [["proven", covered], ["gap", gaps]]) for (const span of list) {
    const about = `${utc(Math.max(span.since, 0))} to ${utc(span.until)}: ${name === "proven" ? `proven (${span.method})` : span.reason}`;
    svg.append(make("svg:rect", { class: name, x: x(span.since), y: 0, width: Math.max(2, x(span.until) - x(span.since)), height: 10 }, make("svg:title", {}, about)));
  }
  const earliest = Math.min(...covered.map((s) => s.since)), everything = JSON.stringify(filter) === "{}";
  const missing = gaps.length ? make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Gaps" }, make("table", {}, make("thead", {}, make("tr", {}, ["Since", "Until", "Reason", "Events seen", "Tried"].map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, [...gaps].reverse().slice(0, 100).map((gap) => make("tr", {}, make("td", {}, utc(Math.max(gap.since, 0))), make("td", {}, utc(gap.until)), make("td", {}, gap.reason), make("td", { class: "number" }, number(gap.count)), make("td", {}, ago(gap.tried_at))))))) : null;
  return make("div", {}, make("p", {}, everything ? null : make("code", {}, JSON.stringify(filter)), everything ? "" : ": ", `${label}. ${covered.length ? `The archive holds everything it serves ${earliest <= EARLIEST ? "from the beginning" : `from ${utc(earliest).slice(0, 10)}`} on, except for the gaps.` : ""}`),
    svg, make("p", { class: "small axis" }, make("span", {}, utc(start).slice(0, 10)), make("span", {}, "now")), missing);
}

/// What it holds of the events of some of its authors, by class and age.
function retention({ measured_at: at, classes }) {
  const share = (held, all) => all ? `${Math.round(held / all * 100)} %` : "–";
  const span = (days) => days < 365 ? `${days} days` : days === 365 ? "a year" : `${Math.round(days / 365)} years`;
  const ages = classes[0].ages.map(({ days }) => days == null ? "Older" : `Up to ${span(days)}`);
  const rows = classes.filter((one) => one.events + one.lost).map((one) => [one.class, one.since == null ? (one.ages.some(({ events }) => events >= 3) ? "not even lately" : "too few to say") : utc(one.since).slice(0, 10), share(one.held, one.held + one.lost), number(one.events), share(one.held, one.events), ...one.ages.map(({ events, held }) => share(held, events))]);
  return [make("p", {}, "Measured ", time(at), " by asking for archived events of some of its authors. Held: of all sampled events, and by age. Still held: of those that it was seen to hold."),
    table(["Class", "Unbroken since", "Still held", "Sampled", "Held", ...ages], rows, "None of the sampled events is of these classes.", { cards: true })];
}

async function roundTrips() {
  try {
    const checks = (await api(`${path}/checks?since=${begins("7d")}`)).reverse();
    plot($("plot-rtt"), { points: checks, empty: "There are fewer than two checks with a round trip in this range.", from: begins("7d"), format: ms, lines: PHASES.map(([label, field, colour]) => ({ label, colour, value: (check) => check[field] })) });
    notice(null, "round trips");
  } catch (error) {
    notice(error, "round trips");
  }
}

function actions() {
  const check = make("button", { type: "button" }, "Check now"), done = make("span", { role: "status", class: "small" });
  check.addEventListener("click", async () => {
    done.textContent = "…";
    try {
      await act(`${path}/check`);
      done.textContent = "It is checked in a moment.";
      setTimeout(load, 8000);
    } catch (error) {
      done.textContent = error.message;
    }
  });
  $("actions").replaceChildren(token.get() ? check : make("a", { class: "small", href: "health#operator-title" }, "Give the operator's token to check it now"), " ", done);
}


let shown = "";
async function load() {
  let relay;
  try {
    relay = await api(path);
  } catch (error) {
    return notice(error.status === 404 ? new Error(`${url} is not known here. An operator adds it on the health page or with brotr relays add.`) : error);
  }
  notice();
  // What is unchanged stays as it is, with what is selected and focused in it.
  const answer = JSON.stringify([relay, Boolean(token.get())]);
  if (answer === shown) return;
  shown = answer;
  document.title = `${relay.name ?? relay.url} · Brotr`;
  $("relay").hidden = false;
  $("url").textContent = relay.url;
  $("state").replaceChildren(state(relay.state));
  $("about").replaceChildren(...[relay.name && make("strong", {}, theirs(relay.name)), relay.name && " · ", `${relay.network}, found `, time(relay.discovered_at), ", checked ", time(relay.checked_at), `; seen to hold ${plural(relay.events, "event")}.`, relay.opted_out && make("strong", {}, " It is neither checked nor read: ", theirs(relay.opted_out), ".")].filter(Boolean));
  if (!$("actions").firstChild) actions();
  const { uptime, rtt_ms: rtt, checks } = relay.history;
  $("uptime").replaceChildren(tile("Last day", percent(uptime.day), "share of time, not of checks"), tile("7 days", percent(uptime.week), "as far as known"), tile("30 days", percent(uptime.month), "as far as known"), tile("All checks", percent(uptime.all), `by ${plural(checks, "check")}`));
  $("days").replaceChildren(days(relay.days, `Uptime of each of the last 90 days; ${percent(uptime.month)} in 30 days`), make("p", { class: "small axis" }, make("span", {}, "90 days ago"), make("span", {}, "today")));
  $("rtt-table").replaceChildren(table(["Round trip", "p50", "p90", "p99"], Object.entries(rtt).filter(([, one]) => one).map(([name, one]) => [name, ms(one.p50), ms(one.p90), ms(one.p99)]), "No round trip was measured so far."));
  $("says").replaceChildren(says(relay));
  $("found").replaceChildren(found(relay));
  $("coverage").replaceChildren(...(relay.coverage.length ? relay.coverage.map(coverage) : [make("p", { class: "small" }, "Nothing of it is proven to be archived so far.")]));
  $("retention").replaceChildren(...(relay.retention ? retention(relay.retention) : [make("p", { class: "small" }, "Not measured so far. It is measured once a week, after it was synchronized.")]));
  $("incidents").replaceChildren(table(["Went down", "Lasted", "Checks", "Failure"], relay.incidents.map(({ since, until, checks, failure }) => [utc(since), until == null ? make("span", { class: "bad" }, `${lasting(now() - since)}, still down`) : lasting(until - since), number(checks), failure]), "No check that is kept found it down."));
  $("releases").replaceChildren(table(["Software", "Version", "First seen", "Last seen"], relay.releases.map(({ software, version, since, until }) => [named(software), text(version), utc(since).slice(0, 10), utc(until).slice(0, 10)]), "Its software is not known."));
  const source = new URL(`api/v1/${path}/badge.svg`, location.href), page = new URL(relayPage(relay.url), location.href);
  $("badge").replaceChildren(make("p", {}, make("img", { src: source.pathname, alt: "The badge", height: "20" })), make("label", {}, "HTML ", make("input", { readonly: "", value: `<a href="${page}"><img src="${source}" alt="Relay status"></a>` })));
  for (const name of ["nip11", "nip66"]) $(name).textContent = relay[name] ? JSON.stringify(relay[name], null, 2) : "none";
}

async function kinds() {
  try {
    const counts = await api(`${path}/kinds`);
    $("kinds").replaceChildren(bars(counts.map((one) => [kind(one.kind), one.events, number(one.events)]), "No event of it is archived."));
  } catch (error) {
    $("kinds").replaceChildren(make("p", { class: "small" }, error.status === 422 ? "It holds too many events to count them here." : error.message));
  }
}

choice($("range"), "range", RANGES, "7d", roundTrips);
live();
load().then(roundTrips);
kinds();
setInterval(() => { if (!document.hidden) load(); }, 20000);
