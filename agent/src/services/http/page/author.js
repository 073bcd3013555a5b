import { $, api, bind, choice, live, make, notice, parameters, percent, plural, relayPage, short, table, theirs, utc } from "./base.js";

const KINDS = { 0: "Profile", 3: "Follows", 10002: "Relays" };
/// Changes of a version that are shown at first.
const SHOWN = 10;

const link = (url) => make("a", { href: relayPage(url) }, theirs(url));
const yes = (is) => is ? "yes" : "no";

function show(report) {
  const known = report.located > 0;
  $("about").replaceChildren(make("code", {}, report.author), known
    ? ` · by ${plural(report.located, "event")}, sampled from ${utc(report.since)} to ${utc(report.until)} · `
    : report.events ? " · no relay was seen to hold any of the archived events · " : " · no event of this author is archived · ",
    make("a", { href: `events?authors=${report.author}` }, "Events"));
  $("chosen").replaceChildren(table(["Relay", "Together"], report.chosen.map(({ relay, recall }) => [link(relay), percent(recall)]), known ? "None of the relays that hold events is up." : "Not known."));
  const list = report.list;
  $("own").replaceChildren(list
    ? make("div", {}, make("p", {}, `${plural(list.write.length, "write relay")} on ${utc(list.created_at)}, which give ${percent(list.recall)}.`), make("ul", {}, list.write.map((url) => make("li", {}, link(url)))))
    : make("p", { class: "small" }, "The archive has no list of this author."));
  $("all").replaceChildren(table(["Relay", "Of the last 30 days", "Of earlier events", "Up", "Listed"], report.relays.map((one) => [link(one.relay), percent(one.recent), percent(one.earlier), yes(one.is_up), yes(one.is_listed)]), "No relay was seen to hold any.", { cards: true }));
}

function changes({ added, removed, fields, content }) {
  const line = (sign, kind, text) => make("li", {}, make("span", { class: kind, "aria-label": { "+": "added", "−": "removed", "~": "changed" }[sign] }, sign), " ", theirs(text));
  const named = Object.entries(fields).map(([name, value]) => value === null ? line("−", "bad", name) : line("~", "", `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`));
  const tags = [...added.map((tag) => line("+", "good", tag.join(" "))), ...removed.map((tag) => line("−", "bad", tag.join(" ")))];
  const all = [...named, ...(content && !named.length ? [line("~", "", "the content")] : []), ...tags];
  if (!all.length) return make("p", { class: "small" }, "Signed again without a change.");
  const rest = all.splice(SHOWN);
  return make("div", { class: "content" }, make("ul", { class: "plain" }, all), rest.length ? make("details", {}, make("summary", {}, `${plural(rest.length, "more change")}`), make("ul", { class: "plain" }, rest)) : null);
}

const version = ({ event, changes: changed }) => make("li", { class: "event" },
  make("p", { class: "small" }, make("strong", {}, utc(event.created_at)), " · ", make("code", {}, short(event.id))),
  changed ? changes(changed) : make("p", { class: "small" }, `The oldest in the archive: ${plural(event.tags.length, "tag")}.`),
  make("details", {}, make("summary", {}, "As signed"), make("pre", { tabindex: "0" }, theirs(JSON.stringify(event, null, 2)))));

let next = null, asked = 0;
async function versions(more = false) {
  const mine = ++asked, page = parameters(), key = page.get("key");
  if (!key) return;
  const query = new URLSearchParams({ kind: page.get("kind") ?? "0", limit: 10 });
  if (more) query.set("after", next);
  try {
    const found = await api(`authors/${encodeURIComponent(key)}/versions?${query}`);
    if (mine !== asked) return;
    notice(null, "versions");
    const shown = found.versions.map(version);
    more ? $("versions").append(...shown) : $("versions").replaceChildren(...shown);
    next = found.next;
    $("more").hidden = !next;
    $("none").textContent = shown.length || more ? "" : "The archive has no version.";
  } catch (error) {
    if (mine === asked) notice(error, "versions");
  }
}

let loads = 0;
async function load() {
  const mine = ++loads, key = parameters().get("key");
  $("author").hidden = true;
  notice();
  if (!key) return;
  try {
    const report = await api(`authors/${encodeURIComponent(key)}/relays`);
    if (mine !== loads) return;
    show(report);
    $("author").hidden = false;
    versions();
  } catch (error) {
    if (mine === loads) notice(error);
  }
}

$("more").addEventListener("click", () => versions(true));
bind($("lookup"), load, { waits: true });
choice($("kind"), "kind", KINDS, "0", () => versions());
load();
live();
