// nostr-tools reads the relay server: REQ, COUNT, a subscription, and NIP-77.
import { Relay, useWebSocketImplementation } from "nostr-tools/relay";
import WebSocket from "ws";
import { archive, archived, equal, fail, fresh, same, url, within } from "./archive.mjs";

// The package contains this module but does not export it.
const { NegentropyStorageVector, NegentropySync } = await import(new URL("node_modules/nostr-tools/lib/esm/nip77.js", import.meta.url));
useWebSocketImplementation(WebSocket);
const relay = await Relay.connect(url);
relay.onnotice = (notice) => fail(`NOTICE: ${notice}`);

/// Fetches the stored events of a filter. The timeout after which nostr-tools assumes EOSE is longer than the one of `within`.
const fetch = (filter) => within(20, JSON.stringify(filter).slice(0, 60), new Promise((done) => {
  const found = [];
  const sub = relay.subscribe([filter], { eoseTimeout: 60000, onevent: (event) => found.push(event), oneose: () => { sub.close(); done(found); }, onclose: (why) => why.includes("closed by caller") || fail(why) });
}));

console.log("\n### nostr-tools, relay server");
let hint;
const onmessage = relay._onmessage.bind(relay);
relay.ws.onmessage = (message) => { if (message.data.startsWith('["EOSE"')) hint = JSON.parse(message.data)[2]; onmessage(message); };
for (const filter of [{ kinds: [3] }, { kinds: [0, 7], limit: 400 }, { "#t": ["brotr"] }, { ids: archived().slice(0, 300).map(({ id }) => id) }]) {
  const wanted = archived({ ...filter, limit: undefined });
  const found = await fetch(filter);
  same(`REQ ${JSON.stringify(filter).slice(0, 40)}, EOSE ${JSON.stringify(hint)}`, found, wanted.slice(0, filter.limit));
  equal("the hint of EOSE (NIP-67)", hint, [found.length < wanted.length ? "more" : "finish"]);
}
equal("COUNT of kind 1", await within(10, "COUNT", relay.count([{ kinds: [1] }], {})), archived({ kinds: [1] }).length);

console.log("\n### nostr-tools, live");
const news = fresh();
await within(20, "a new event", new Promise((done) => {
  const sub = relay.subscribe([{ kinds: [1], authors: [news.pubkey] }], { onevent: (event) => { equal("the new event", event.id, news.id); sub.close(); done(); }, oneose: () => archive(news) });
}));
equal("an EVENT that is no job request", await relay.publish(fresh()).then(() => "accepted", (error) => error.message.split(":")[0]), "restricted");

console.log("\n### nostr-tools, NIP-77");
const wanted = [...archived(), news];
// The client holds a third of the archive and one event that is not in it.
const known = [...wanted.filter((_, i) => i % 3 === 0), fresh()];
const storage = new NegentropyStorageVector();
for (const { created_at, id } of known) storage.insert(created_at, id);
storage.seal();
const [have, need] = [[], []];
await within(20, "NIP-77", new Promise((done) => {
  const sync = new NegentropySync(relay, storage, {}, { onhave: (id) => have.push(id), onneed: (id) => need.push(id), onclose: (why) => (why ? fail(why) : done()) });
  sync.start();
}));
equal("held by the client only", have, [known.at(-1).id]);
const fetched = [];
for (let i = 0; i < need.length; i += 400) fetched.push(...await fetch({ ids: need.slice(i, i + 400) }));
same("needed, and fetched by id", fetched, wanted.filter((_, i) => i % 3 !== 0));
relay.close();
process.exit(0);
