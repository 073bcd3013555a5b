// A wallet that speaks NIP-47 by nostr-tools and makes invoices by the package bolt11. It takes every zap to the shop for paid
// when it is told so: a line on a second subscription, kind 20000, with the invoice.
import { writeFileSync } from "node:fs";
import { createHash, randomBytes } from "node:crypto";
import { finalizeEvent, generateSecretKey, getPublicKey, nip44 } from "nostr-tools";
import { Relay, useWebSocketImplementation } from "nostr-tools/relay";
import bolt11 from "bolt11";
import WebSocket from "ws";

useWebSocketImplementation(WebSocket);
const [url, file] = process.argv.slice(2);
let relay;
for (;;) {
  try { relay = await Relay.connect(url); break; } catch { await new Promise((r) => setTimeout(r, 200)); }
}
const [wallet, user] = [generateSecretKey(), generateSecretKey()];
const [us, them] = [getPublicKey(wallet), getPublicKey(user)];
const secret = nip44.getConversationKey(wallet, them);
const sign = (kind, content, tags) =>
  relay.publish(finalizeEvent({ kind, content, tags, created_at: Math.floor(Date.now() / 1000) }, wallet));
const made = new Map();
await sign(13194, "make_invoice lookup_invoice notifications", [["encryption", "nip44_v2"], ["notifications", "payment_received"]]);
relay.subscribe([{ kinds: [23194], "#p": [us] }], {
  async onevent(event) {
    const { method, params } = JSON.parse(nip44.decrypt(event.content, secret));
    let result;
    if (method === "make_invoice") {
      const preimage = randomBytes(32);
      const hash = createHash("sha256").update(preimage).digest("hex");
      const invoice = bolt11.sign(bolt11.encode({
        network: { bech32: "bcrt", pubKeyHash: 0x6f, scriptHash: 0xc4, validWitnessVersions: [0, 1] },
        millisatoshis: String(params.amount),
        tags: [
          { tagName: "payment_hash", data: hash },
          { tagName: "payment_secret", data: randomBytes(32).toString("hex") },
          { tagName: "description", data: params.description },
          { tagName: "expire_time", data: params.expiry },
          { tagName: "min_final_cltv_expiry", data: 18 },
        ],
      }), randomBytes(32).toString("hex")).paymentRequest;
      made.set(invoice, { hash, amount: params.amount, settled: false });
      result = { type: "incoming", invoice, payment_hash: hash, amount: params.amount };
    } else {
      const found = [...made.values()].find(({ hash }) => hash === params.payment_hash);
      result = { type: "incoming", amount: found.amount, state: found.settled ? "settled" : "pending" };
    }
    await sign(23195, nip44.encrypt(JSON.stringify({ result_type: method, result }), secret), [["p", them], ["e", event.id]]);
  },
});
relay.subscribe([{ kinds: [20000] }], {
  async onevent({ content: invoice }) {
    const paid = made.get(invoice);
    paid.settled = true;
    const notification = { type: "incoming", invoice, payment_hash: paid.hash, amount: paid.amount };
    await sign(23197, nip44.encrypt(JSON.stringify({ notification_type: "payment_received", notification }), secret), [["p", them]]);
  },
});
writeFileSync(file, `nostr+walletconnect://${us}?relay=${url}&secret=${Buffer.from(user).toString("hex")}`);
