// snstr reads the relay server: fetchMany, and a subscription. It has neither COUNT nor NIP-77.
import { Nostr, RelayEvent } from "snstr";
import { archive, archived, equal, fail, fresh, same, url, within } from "./archive.mjs";

// snstr drops events with an e or p tag that is not 64 hexadecimal digits; the archive has such events.
const kept = (event) => event.tags.every(([name, value]) => !["e", "p"].includes(name) || /^[0-9a-f]{64}$/.test(value));
const client = new Nostr([url]);
client.on(RelayEvent.Notice, (_, notice) => fail(`NOTICE: ${notice}`));
client.on(RelayEvent.Closed, (_, name, why) => fail(`CLOSED: ${why}`));
await within(10, "connect", client.connectToRelays());

console.log("\n### snstr, relay server");
for (const filter of [{ kinds: [1, 6, 7], limit: 450 }, { "#t": ["brotr"] }, { kinds: [1, 6, 7, 1111], until: 1700001000 }]) {
  const found = await within(20, "fetchMany", client.fetchMany([filter], { maxWait: 15000 }));
  same(`fetchMany ${JSON.stringify(filter)}`, found, archived({ ...filter, limit: undefined }).slice(0, filter.limit ?? 500).filter(kept));
}

console.log("\n### snstr, live");
const news = fresh();
await within(20, "a new event", new Promise((done) => {
  const subs = client.subscribe([{ kinds: [1], authors: [news.pubkey] }], ({ id }) => {
    equal("the new event", id, news.id);
    client.unsubscribe(subs);
    done();
  }, () => archive(news));
}));
const { success, relayResults } = await within(20, "publish", client.publishEvent(fresh()));
equal("an EVENT that is no job request", [success, [...relayResults.values()][0].reason.split(":")[0]], [false, "restricted"]);
client.disconnectFromRelays();
process.exit(0);
