import { $, api, bind, lasting, live, make, notice, now, parameters, plural, short, theirs, utc } from "./base.js";

const BAD = ["failed", "cancelled", "unpaid"], OPEN = ["received", "working"];

function row(job) {
  const end = job.ended_at ?? (job.status === "working" ? now() : null);
  const cell = (label, ...children) => make("td", { "data-label": label }, ...children);
  const words = (text) => text == null ? job.encrypted ? "encrypted" : "–" : theirs(text);
  return make("tr", {},
    cell("Received", utc(job.received_at)), cell("Kind", String(job.kind)),
    cell("Status", make("span", { class: BAD.includes(job.status) ? "bad" : OPEN.includes(job.status) ? "faint" : "good" }, job.status)),
    make("td", { "data-label": "Took", class: "number" }, end == null ? "–" : end - job.received_at < 1 ? "under 1 s" : lasting(end - job.received_at)),
    make("td", { "data-label": "Input", class: "wide" }, words(job.input)), make("td", { "data-label": "Error", class: "wide" }, job.status === "failed" ? words(job.error) : "–"),
    cell("Customer", make("a", { href: `events?authors=${job.customer}` }, make("code", {}, short(job.customer)))));
}

async function list() {
  const status = parameters().get("status");
  try {
    const jobs = await api(`jobs?limit=200${status ? `&status=${encodeURIComponent(status)}` : ""}`);
    notice();
    $("rows").replaceChildren(...jobs.map(row));
    $("shown").textContent = jobs.length === 200 ? "The newest 200" : jobs.length ? plural(jobs.length, "job") : status ? "No job has this status." : "No job came in so far. Jobs are sought on the relays of dvm.relays.";
  } catch (error) {
    notice(error);
  }
}

let waiting;
bind($("filter"), list);
list();
live({ open: list, job: () => { clearTimeout(waiting); waiting = setTimeout(list, 300); } });
