// Counts with HyperLogLog (NIP-45), compared with what nostr-tools computes: `make` prints events, `check URL FILE` asks for them.
import { readFileSync } from "node:fs";
import { finalizeEvent, generateSecretKey } from "nostr-tools";
import * as hll from "nostr-tools/nip45";
import WebSocket from "ws";

const [action, url, file] = process.argv.slice(2);
const directives = ["reactions", "reposts", "quotes", "replies", "comments", "followers"];
const hex = () => [...crypto.getRandomValues(new Uint8Array(32))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const pick = (list) => list[Math.floor(Math.random() * list.length)];

if (action === "make") {
  const authors = Array.from({ length: 400 }, generateSecretKey);
  // Ids and keys, addresses, and other texts, as the values of q tags may be.
  const targets = Array.from({ length: 1700 }, (_, i) => (i % 10 ? hex() : i % 20 ? `30023:${hex()}:page${i}` : `text ${i}`));
  for (let i = 0; i < 3000; i++) {
    const author = pick(authors);
    // A follow list replaces its author's earlier one.
    const kind = i < 400 ? 3 : pick([1, 6, 7, 1111]);
    const tags = Array.from({ length: 40 }, () => [pick(kind === 3 ? ["p"] : ["e", "E", "q"]), pick(targets)]);
    const event = finalizeEvent({ kind, content: "", tags, created_at: 1700000000 + i }, kind === 3 ? authors[i] : author);
    console.log(JSON.stringify(event));
  }
} else {
  const events = readFileSync(file, "utf8").trim().split("\n").map((line) => JSON.parse(line));
  const values = new Set(events.flatMap(({ tags }) => tags.map(([, value]) => value)));
  const filters = [...values].flatMap((value) => directives.map((directive) => hll.getCountManyFilter(value, directive)));
  const matches = ({ kinds, ...tags }, event) => {
    const [[name, [value]]] = Object.entries(tags);
    return kinds.includes(event.kind) && event.tags.some(([letter, text]) => letter === name[1] && text === value);
  };
  const byValue = new Map([...values].map((value) => [value, []]));
  for (const event of events) for (const value of new Set(event.tags.map(([, value]) => value))) byValue.get(value).push(event);
  let [left, same, empty] = [filters.length, 0, 0];
  const ask = (own) =>
    new Promise((done, fail) => {
      const socket = new WebSocket(url);
      const next = () => (own.length ? socket.send(JSON.stringify(["COUNT", "c", own[0]])) : (socket.close(), done()));
      socket.on("open", next);
      socket.on("error", fail);
      socket.on("message", (data) => {
        const [kind, , answer] = JSON.parse(data);
        const filter = own.shift();
        if (kind !== "COUNT") return fail(new Error(`${data} for ${JSON.stringify(filter)}`));
        const value = hll.getFilterFirstTagValue(filter);
        const offset = hll.computeOffset(value);
        const found = byValue.get(value).filter((event) => matches(filter, event));
        // What two relays with half of the events each would send, merged.
        const halves = [0, 1].map((half) => found.filter((_, i) => i % 2 === half).reduce((all, event) => hll.feedEvent(all, event, offset), hll.newHll()));
        const wanted = hll.hllEncode(hll.mergeHll(halves[0], halves[1]));
        if (answer.count !== found.length || answer.hll !== wanted) return fail(new Error(`${data} for ${JSON.stringify(filter)}: ${found.length}, ${wanted}`));
        [left, same, empty] = [left - 1, same + 1, empty + (found.length === 0)];
        next();
      });
    });
  const clients = 40;
  await Promise.all(Array.from({ length: clients }, (_, n) => ask(filters.filter((_, i) => i % clients === n))));
  console.log(`\n### nostr-tools, sketches: ${same} of ${filters.length} filters have the same registers and count (${empty} match nothing)`);
}
