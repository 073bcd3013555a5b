import { $, api, bind, kind, live, make, notice, parameters, plural, relayPage, short, theirs, utc } from "./base.js";

const FILTERS = ["ids", "authors", "kinds", "search"];
const PAGE = 50;
const LONG = 600;

function show(event) {
  const long = event.content.length > LONG;
  const content = make("div", { class: "content" }, theirs(event.content.slice(0, LONG)), long ? "…" : null);
  const relays = make("div", { class: "small" });
  const holders = make("button", { type: "button", class: "plain-button" }, "Which relays hold it");
  holders.addEventListener("click", async ({ isTrusted }) => {
    try {
      const found = await api(`events/${event.id}`);
      holders.hidden = true;
      relays.replaceChildren(found.relays.length ? `${plural(found.relays.length, "relay")}: ` : "It was imported; no relay was seen to hold it.", make("ul", { class: "columns" }, found.relays.map((url) => make("li", {}, make("a", { href: relayPage(url) }, theirs(url))))));
      relays.tabIndex = -1;
      // Where somebody pressed the button, which is gone; not where the page did.
      if (isTrusted) relays.focus();
    } catch (error) {
      relays.textContent = error.message;
    }
  });
  const raw = make("details", {}, make("summary", {}, "As signed"));
  raw.addEventListener("toggle", () => { if (raw.children.length === 1) raw.append(make("pre", { tabindex: "0" }, theirs(JSON.stringify(event, null, 2)))); });
  return make("li", { class: "event" },
    make("p", { class: "small" }, make("strong", {}, kind(event.kind)), ` · ${utc(event.created_at)} · by `, make("a", { href: `author?key=${event.pubkey}` }, make("code", {}, short(event.pubkey))), " · ", make("a", { href: `events?ids=${event.id}` }, make("code", {}, short(event.id)))),
    event.content ? content : null, make("p", { class: "small" }, holders), relays, raw);
}

let next = null, asked = 0, count = 0;
async function list(more = false) {
  const mine = ++asked, query = new URLSearchParams({ limit: PAGE }), page = parameters();
  for (const name of FILTERS) if (page.get(name)) query.set(name, page.get(name));
  if (more) query.set("after", next);
  try {
    const found = await api(`events?${query}`);
    if (mine !== asked) return;
    notice();
    const shown = found.events.map(show);
    more ? $("list").append(...shown) : $("list").replaceChildren(...shown);
    count = more ? count + shown.length : shown.length;
    next = found.next;
    $("more").hidden = !next;
    const filtered = FILTERS.some((name) => page.get(name));
    $("shown").textContent = count ? `${plural(count, "event")}, newest first${next ? ", and there are more" : ""}` : filtered ? "No event in the archive matches." : "The archive is empty so far: events arrive as relays are synchronized.";
    // One event that was asked for: who holds it is what people want to know.
    if (page.get("ids") && !more && shown.length === 1) shown[0].querySelector(".plain-button").click();
  } catch (error) {
    if (mine !== asked) return;
    $("list").replaceChildren();
    $("more").hidden = true;
    $("shown").textContent = "";
    notice(error);
  }
}

$("more").addEventListener("click", () => list(true));
bind($("filter"), () => list(), { waits: true });
list();
live();
api("agent").then(({ search }) => { $("search-label").hidden = !search; }, () => {});
