// A few notes, a profile and reactions, a line each.
import { finalizeEvent, generateSecretKey, getPublicKey } from "nostr-tools";

const [alice, bob] = [generateSecretKey(), generateSecretKey()];
const now = Math.floor(Date.now() / 1000);
const sign = (key, kind, content, tags = []) =>
  console.log(JSON.stringify(finalizeEvent({ kind, content, tags, created_at: now - 600 }, key)));
const note = finalizeEvent({ kind: 1, content: "All relays great and small", tags: [], created_at: now - 900 }, alice);
console.log(JSON.stringify(note));
sign(alice, 0, JSON.stringify({ name: "Alice in Wonderland" }));
for (let i = 0; i < 20; i++) sign(alice, 1, `note ${i}`, [["t", "brotr"]]);
sign(bob, 7, "+", [["e", note.id], ["p", getPublicKey(alice)]]);
