// applesauce-relay reads the relay server: request, COUNT, a subscription, and NIP-77.
import WebSocket from "ws";
globalThis.WebSocket ??= WebSocket;
const { Relay } = await import("applesauce-relay");
const { SyncDirection } = await import("applesauce-relay/relay");
import { filter, firstValueFrom, lastValueFrom, toArray } from "rxjs";
import { archive, archived, equal, fail, fresh, same, url, within } from "./archive.mjs";

const relay = new Relay(url);
relay.notice$.subscribe((notice) => fail(`NOTICE: ${notice}`));
const all = (observable, seconds = 30) => within(seconds, "applesauce", lastValueFrom(observable.pipe(toArray())));

console.log("\n### applesauce, relay server");
for (const asked of [{ kinds: [3] }, { "#t": ["brotr"] }, { kinds: [1, 6, 7, 1111], limit: 450 }]) {
  same(`request ${JSON.stringify(asked)}`, await all(relay.request(asked)), archived({ ...asked, limit: undefined }).slice(0, asked.limit));
}
equal("COUNT of kind 1", (await within(10, "COUNT", firstValueFrom(relay.count({ kinds: [1] })))).count, archived({ kinds: [1] }).length);
equal("NIP-11 names NIP-77", (await within(10, "NIP-11", relay.getSupported())).includes(77), true);

console.log("\n### applesauce, live");
const news = fresh();
await within(20, "a new event", new Promise((done) => {
  const sub = relay.subscription({ kinds: [1], authors: [news.pubkey] }).subscribe((message) => {
    if (message === "EOSE") return archive(news);
    const { id } = message;
    equal("the new event", id, news.id);
    setTimeout(() => { sub.unsubscribe(); done(); });
  });
}));
const refused = await within(20, "EVENT", relay.publish(fresh(), { retries: false }));
equal("an EVENT that is no job request", [refused.ok, refused.message.split(":")[0]], [false, "restricted"]);

console.log("\n### applesauce, a job at the relay server");
const { self } = await relay.getInformation();
const job = fresh(5302, "", [["i", "great small", "text"], ["p", self]]);
equal("the request is taken", (await within(20, "EVENT", relay.publish(job, { retries: false }))).ok, true);
const answer = relay.subscription({ kinds: [6302], authors: [self], "#e": [job.id] }).pipe(filter((message) => message !== "EOSE"));
const result = await within(20, "a result", firstValueFrom(answer));
equal("the result has the note", JSON.parse(result.content).map(([, id]) => id), archived({ kinds: [1] }).filter(({ content }) => content.includes("great and small")).map(({ id }) => id));

console.log("\n### applesauce, NIP-77");
// applesauce-relay 6.2.1 never sends NEG-MSG, so one answer must complete the reconciliation: the client holds fewer than 32 events.
for (const [asked, known] of [[{ kinds: [3] }, 0], [{ kinds: [3] }, 30], [{ kinds: [1], "#t": ["brotr"] }, 7]]) {
  const wanted = archived(asked);
  same(`sync ${JSON.stringify(asked)}, ${known} known`, await all(relay.sync(wanted.slice(0, known), asked, SyncDirection.RECEIVE)), wanted.slice(known));
}
relay.close();
process.exit(0);
