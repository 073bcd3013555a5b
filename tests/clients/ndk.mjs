// NDK: a plain job, one that is refused, and one that is taken back.
import WebSocket from "ws";
globalThis.WebSocket ??= WebSocket;
const { default: NDK, NDKDVMRequest, NDKDVMJobFeedback, NDKDVMJobResult, NDKEvent, NDKKind, NDKPrivateKeySigner } = await import("@nostr-dev-kit/ndk");
import { say } from "./said.mjs";

const [url, agent] = process.argv.slice(2);
const ndk = new NDK({ explicitRelayUrls: [url], enableOutboxModel: false, signer: NDKPrivateKeySigner.generate() });
await ndk.connect(3000);
await new Promise((done) => setTimeout(done, 1000));

/// Asks, and prints what is said until there is an end to it, or for so long.
async function ask(kind, make, seconds = 15) {
  const request = new NDKDVMRequest(ndk);
  request.kind = kind;
  make(request);
  request.tag(["p", agent]);
  await request.sign();
  let end;
  const ended = new Promise((done) => { end = done; setTimeout(() => done("nothing more"), seconds * 1000); });
  const sub = ndk.subscribe({ kinds: [7000, kind + 1000], "#e": [request.id] }, { closeOnEose: false });
  sub.on("event", (event) => {
    say("<-", event.rawEvent());
    if (event.kind === kind + 1000) end(NDKDVMJobResult.from(event).result);
    else if (NDKDVMJobFeedback.from(event).status === "error") end("error");
  });
  say("->", request.rawEvent());
  await request.publish();
  return { request, ended };
}

console.log("\n### NDK, plain");
const plain = await ask(5303, (request) => { request.addInput("Wonderland", "text"); request.addParam("max_results", "5"); });
console.log("-- NDK reads the result as", JSON.stringify(await plain.ended).replace(/[0-9a-f]{64}/g, (id) => id.slice(0, 8)));

console.log("\n### NDK, refused");
const refused = await ask(5302, (request) => { request.addInput("great", "text"); request.addParam("max_results", "many"); });
await refused.ended;

console.log("\n### NDK, taken back");
const cancelled = await ask(5400, (request) => request.addInput("0".repeat(64), "job"), 9);
await new Promise((done) => setTimeout(done, 1500));
const deletion = new NDKEvent(ndk);
deletion.kind = NDKKind.EventDeletion;
deletion.tags = [["e", cancelled.request.id], ["k", "5400"]];
await deletion.sign();
say("->", deletion.rawEvent());
await deletion.publish();
console.log("--", await cancelled.ended, "is said");
process.exit(0);
