// NDK reads the relay server: fetchEvents, a subscription, and NIP-77 by @nostr-dev-kit/sync.
import WebSocket from "ws";
globalThis.WebSocket ??= WebSocket;
const { default: NDK, NDKEvent, NDKSubscriptionCacheUsage } = await import("@nostr-dev-kit/ndk");
const { NDKSync } = await import("@nostr-dev-kit/sync");
import { matchFilters } from "nostr-tools";
import { archive, archived, equal, fail, fresh, same, url, within } from "./archive.mjs";

/// A cache adapter for NDK, in memory.
class Memory {
  events = new Map();
  locking = false;
  query({ filters }) { return [...this.events.values()].filter((event) => matchFilters(filters, event.rawEvent())); }
  async setEvent(event) { this.events.set(event.id, event); }
}

async function connect(cacheAdapter) {
  const ndk = new NDK({ explicitRelayUrls: [url], enableOutboxModel: false, cacheAdapter });
  await ndk.connect(3000);
  const [relay] = ndk.pool.relays.values();
  for (let i = 0; i < 100 && !relay.connected; i++) await new Promise((done) => setTimeout(done, 50));
  if (!relay.connected) fail("NDK does not connect");
  relay.on("notice", (notice) => fail(`NOTICE: ${notice}`));
  return { ndk, relay };
}

console.log("\n### NDK, relay server");
const { ndk } = await connect();
for (const filter of [{ kinds: [3] }, { "#t": ["brotr"] }, { kinds: [1, 6, 7, 1111], limit: 450 }]) {
  const found = await within(20, "fetchEvents", ndk.fetchEvents(filter));
  same(`fetchEvents ${JSON.stringify(filter)}`, [...found].sort((a, b) => b.created_at - a.created_at), archived({ ...filter, limit: undefined }).slice(0, filter.limit));
}

console.log("\n### NDK, live");
const news = fresh();
await within(20, "a new event", new Promise((done) => {
  const sub = ndk.subscribe({ kinds: [1], authors: [news.pubkey] }, { closeOnEose: false });
  sub.on("event", ({ id }) => { equal("the new event", id, news.id); sub.stop(); done(); });
  sub.on("eose", () => archive(news));
}));

console.log("\n### NDK, NIP-77 by @nostr-dev-kit/sync");
for (const [filter, known] of [[{ kinds: [3] }, 0], [{ kinds: [1, 6] }, 1000], [{}, 2700]]) {
  const wanted = [...archived(filter), ...(filter.kinds?.includes(3) ? [] : [news])];
  const cache = new Memory();
  const { ndk, relay } = await connect(cache);
  for (const event of wanted.slice(0, known)) cache.setEvent(new NDKEvent(ndk, event));
  const sync = new NDKSync(ndk);
  const rounds = [];
  const got = await within(60, "sync", sync.sync(filter, { onRelayError: (_, error) => fail(error.message), onNegotiationProgress: (_, { phase, round }) => rounds.push([phase, round]) }));
  equal(`${JSON.stringify(filter)}, held by the client only`, got.have.size, 0);
  same(`${JSON.stringify(filter)}, needed`, [...got.need].map((id) => ({ id })), wanted.slice(known));
  same(`${JSON.stringify(filter)}, in the cache then`, [...cache.events.values()], wanted);
  equal(`the relay is taken to support NIP-77`, await sync.checkRelaySupport(relay), true);
}
process.exit(0);
