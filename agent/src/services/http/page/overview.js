import { $, api, bars, bytes, choice, kind, lasting, live, notice, number, tile } from "./base.js";
import { map } from "./map.js";
import { RANGES, SECONDS_APART, WHOLE, duration, plot, samples } from "./plot.js";

const sum = (counts) => Object.values(counts).reduce((all, n) => all + n, 0);

function tiles({ stats, lag, gaps, covered }) {
  const { relays, jobs } = stats, n = (counts, name) => counts[name] ?? 0;
  $("tiles").replaceChildren(
    tile("Relays up", `${number(n(relays, "up"))} of ${number(sum(relays))}`, `${number(n(relays, "down"))} down, ${number(n(relays, "new"))} unchecked, ${number(n(relays, "alias"))} second URLs of others, ${number(n(relays, "opted-out"))} opted out`),
    tile("Events", number(stats.events), `of ${number(stats.pubkeys)} authors, each stored once`),
    tile("Sightings", number(stats.sightings), "which relay holds which event"),
    tile("Relays proven", number(covered), "relays of which a span of time is proven to be archived"),
    tile("Lag", lasting(lag), "how far what is proven ends before now, on average"),
    tile("Gaps", number(gaps), "spans that could not be proven, each with its reason"),
    tile("On disk", bytes(stats.disk_bytes), stats.events ? `${number(Math.round(stats.disk_bytes / stats.events))} bytes for each event` : "the archive"),
    tile("Jobs answered", number(n(jobs, "answered")), `${number(n(jobs, "received") + n(jobs, "working"))} open, ${number(n(jobs, "failed"))} failed`),
    tile("To be sent", number(stats.outbox), "the agent's own events that wait for a relay"));
}

async function overTime() {
  try {
    const all = await samples();
    notice(null, "history");
    plot($("plot-relays"), { points: all, steps: WHOLE, format: number, lines: [{ label: "up", colour: "--good", value: (s) => s.up }, { label: "down", colour: "--bad", value: (s) => s.down }] });
    // Of two samples far apart nothing is known about the rate between.
    const rates = all.slice(1).map((s, i) => ({ at: s.at, rate: Math.max(0, (s.events - all[i].events) / Math.max(1, s.at - all[i].at) * 60) }));
    plot($("plot-rate"), { points: rates, format: (n) => number(Math.round(n * 10) / 10), lines: [{ label: "per minute", colour: "--mark", value: (s) => s.rate }] });
    plot($("plot-events"), { points: all, steps: WHOLE, format: number, lines: [{ label: "events", colour: "--mark", value: (s) => s.events }] });
    plot($("plot-lag"), { points: all, steps: SECONDS_APART, format: duration, lines: [{ label: "lag", colour: "--mark", value: (s) => s.lag }] });
  } catch (error) {
    notice(error, "history");
  }
}

async function network() {
  const share = (name) => ({ value, relays }) => [value, relays, number(relays), `relays?state=up&${name}=${encodeURIComponent(value)}`];
  try {
    const [relays, kinds, places] = await Promise.all([api("summary/relays?state=up"), api("summary/kinds"), api("map")]);
    $("bars-software").replaceChildren(bars(relays.software.slice(0, 10).map(share("software"))));
    $("bars-countries").replaceChildren(bars(relays.countries.slice(0, 10).map(share("country")), "No country is known: the setting monitor.geo names the databases of places."));
    $("bars-nips").replaceChildren(bars(relays.nips.slice(0, 12).map(({ value, relays: n }) => [`NIP-${value.padStart(2, "0")}`, n, number(n), `relays?state=up&nip=${value}`])));
    $("bars-kinds").replaceChildren(bars(kinds.slice(0, 12).map((one) => [kind(one.kind), one.events, number(one.events), `events?kinds=${one.kind}`])));
    map($("map"), places);
    notice(null, "network");
  } catch (error) {
    notice(error, "network");
  }
}

choice($("range"), "range", RANGES, "24h", overTime);
live({ numbers: tiles });
overTime();
network();
setInterval(overTime, 300000);
setInterval(network, 60000);
