import { $, address, ago, api, bind, days, live, make, ms, notice, number, parameters, percent, plural, relayPage, state, theirs } from "./base.js";
import { map } from "./map.js";

const FILTERS = ["contains", "state", "network", "software", "nip", "country"];
const COLUMNS = [["State", "state"], ["Relay", null], ["Uptime, 30 days", "uptime"], ["Open", "rtt"], ["Events", "events"], ["Software", "software"], ["Country", "country"], ["Checked", "checked"]];
const NUMBERS = ["rtt", "events"];

const question = (names) => {
  const query = new URLSearchParams(), asked = parameters();
  for (const name of names) if (asked.get(name)) query.set(name, asked.get(name));
  return query;
};

function heads() {
  const sort = parameters().get("sort") ?? "", key = sort.replace("-", "");
  $("heads").replaceChildren(...COLUMNS.map(([label, name]) => {
    const kind = NUMBERS.includes(name) ? "number" : null;
    if (!name) return make("th", { scope: "col" }, label);
    const button = make("button", { type: "button" }, label, key === name ? (sort.startsWith("-") ? " ▲" : " ▼") : "");
    button.addEventListener("click", () => {
      const query = parameters();
      query.set("sort", sort === name ? `-${name}` : name);
      address(query);
      dispatchEvent(new PopStateEvent("popstate"));
      [...$("heads").querySelectorAll("button")].find((one) => one.textContent.startsWith(label))?.focus();
    });
    return make("th", { scope: "col", class: kind, "aria-sort": key === name ? (sort.startsWith("-") ? "ascending" : "descending") : null }, button);
  }));
}

function row(relay) {
  const software = relay.software?.replace(/\/+$/, "").replace(/\.git$/, "").split("/").pop();
  const about = relay.state === "down" ? relay.failure : relay.name;
  const cell = (label, ...children) => make("td", { "data-label": label }, ...children);
  const figure = (label, text) => make("td", { "data-label": label, class: "number" }, text);
  return make("tr", {},
    cell("State", state(relay.state)),
    make("td", { class: "first" }, make("a", { href: relayPage(relay.url) }, theirs(relay.url)), about ? make("div", { class: "small cut" }, theirs(about)) : null),
    cell("Uptime, 30 days", relay.checked_at ? days(relay.days, `Uptime of 30 days: ${percent(relay.uptime_month)}`) : null, make("span", { class: "small" }, ` ${percent(relay.uptime_month)}`)),
    figure("Open", ms(relay.rtt_open_ms)),
    figure("Events", number(relay.events)),
    cell("Software", software ? theirs([software, relay.version].filter(Boolean).join(" ").slice(0, 40)) : "–"),
    cell("Country", relay.country ?? "–"),
    cell("Checked", ago(relay.checked_at)));
}

let next = null, asked = 0, pages = 1, shown = "", busy = false;
async function list(more = false) {
  busy = more;
  const mine = ++asked;
  const query = question([...FILTERS, "sort"]);
  query.set("days", 30);
  query.set("limit", more ? 100 : Math.min(1000, 100 * pages));
  if (more) query.set("after", next);
  try {
    const page = await api(`relays?${query}`);
    if (mine !== asked) return;
    notice();
    const text = JSON.stringify(page);
    if (!more && text === shown) return;
    shown = more ? "" : text;
    // A list that is replaced while somebody is in it leaves them where they are.
    const focused = document.activeElement?.closest?.("#rows a")?.getAttribute("href");
    const rows = page.relays.map(row);
    more ? $("rows").append(...rows) : $("rows").replaceChildren(...rows);
    if (focused) [...$("rows").querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
    if (more) pages++;
    next = page.next;
    $("more").hidden = !next;
    const filtered = FILTERS.some((name) => parameters().get(name));
    $("shown").textContent = page.total ? `${number($("rows").children.length)} of ${plural(page.total, filtered ? "matching relay" : "relay")}` : filtered ? "No relay matches." : "No relay is known so far: the finder looks for them, and brotr relays add adds them.";
  } catch (error) {
    if (mine === asked) notice(error);
  } finally {
    if (mine === asked) busy = false;
  }
}

let summarized = 0;
async function summary() {
  const mine = ++summarized;
  try {
    const [all, places] = await Promise.all([api(`summary/relays?${question(FILTERS)}`), api(`map?${question(FILTERS)}`)]);
    if (mine !== summarized) return;
    const chips = (title, name, shares, label = (value) => value) => shares.length ? make("div", {}, make("span", { class: "small" }, `${title} `), shares.slice(0, 8).map(({ value, relays }) => {
      const chosen = parameters().get(name) === value, query = parameters();
      chosen ? query.delete(name) : query.set(name, value);
      return make("a", { class: "chip", href: `relays?${query}`, "aria-current": chosen ? "true" : null }, theirs(label(value)), ` ${number(relays)}`);
    })) : null;
    $("facets").replaceChildren(...[
      chips("State", "state", all.states, (value) => value === "new" ? "unchecked" : value), chips("Network", "network", all.networks), chips("Software", "software", all.software),
      chips("Country", "country", all.countries)].filter(Boolean));
    for (const [id, shares] of [["all-software", all.software], ["all-nips", all.nips], ["all-countries", all.countries]]) $(id).replaceChildren(...shares.map(({ value }) => make("option", { value })));
    map($("map"), places);
    notice(null, "summary");
  } catch (error) {
    if (mine === summarized) notice(error, "summary");
  }
}

function load() {
  [pages, shown] = [1, ""];
  heads();
  // The list first: it is what somebody who types waits for.
  list().then(summary);
}

$("more").addEventListener("click", () => list(true));
bind($("filter"), load);
load();
live();
// What is shown stays current while somebody looks at it.
setInterval(() => { if (!document.hidden && !busy && pages <= 10) list(); }, 5000);
