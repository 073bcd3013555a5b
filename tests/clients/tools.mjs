// nostr-tools: a chained job, and one that is paid for.
import { finalizeEvent, generateSecretKey, getPublicKey, verifyEvent } from "nostr-tools";
import { Relay, useWebSocketImplementation } from "nostr-tools/relay";
import WebSocket from "ws";
import { say } from "./said.mjs";

useWebSocketImplementation(WebSocket);
const [url, agent] = process.argv.slice(2);
const relay = await Relay.connect(url);
const key = generateSecretKey();
const sign = (kind, tags, content = "") =>
  finalizeEvent({ kind, content, tags: [...tags, ["p", agent]], created_at: Math.floor(Date.now() / 1000) }, key);

/// Everything that is said of these requests, until all have their results.
function hear(requests, onevent = () => {}) {
  const open = new Set(requests.map(({ id }) => id));
  return new Promise((done, fail) => {
    setTimeout(() => fail(new Error("no result")), 20000);
    relay.subscribe([{ kinds: [7000, 6300, 6301, 6302, 6303, 6400], "#e": [...open] }], {
      onevent(event) {
        if (!verifyEvent(event) || event.pubkey !== agent) throw new Error("not by the agent");
        say("<-", event);
        onevent(event);
        if (event.kind !== 7000) open.delete(event.tags.find(([name]) => name === "e")[1]);
        if (open.size === 0) done();
      },
    });
  });
}

console.log("\n### nostr-tools, chained: what was said to what a search finds");
const search = sign(5302, [["i", "great small", "text"], ["param", "max_results", "3"]]);
const count = sign(5400, [["i", search.id, "job"], ["param", "group", "content"]]);
const chained = hear([search, count]);
for (const request of [count, search]) {
  say("->", request);
  await relay.publish(request);
}
await chained;

console.log("\n### nostr-tools, paid");
const people = sign(5301, [["bid", "5000"]]);
say("->", people);
const paid = hear([people], async ({ tags }) => {
  const [, , invoice] = tags.find(([name]) => name === "amount") ?? [];
  if (invoice && tags.some(([name, value]) => name === "status" && value === "payment-required")) {
    console.log("-- the customer pays the invoice");
    await relay.publish(sign(20000, [], invoice));
  }
});
await relay.publish(people);
await paid;
relay.close();
process.exit(0);
