// Shared by the scripts that read the relay server: the archived events, as `brotr query` prints them, and checks against them.
import { execFileSync } from "node:child_process";
import { finalizeEvent, generateSecretKey, matchFilter } from "nostr-tools";

export const [url] = process.argv.slice(2);
const brotr = (...args) => execFileSync(process.env.BROTR, args, { encoding: "utf8", maxBuffer: 1 << 28, stdio: ["pipe", "pipe", "ignore"] });
const events = brotr("query").trim().split("\n").map((line) => JSON.parse(line));

/// Returns the archived events that match a filter, newest first.
export const archived = (filter = {}) => events.filter((event) => matchFilter(filter, event));

/// Exits with status 1 unless both lists hold the same events, each once.
export function same(what, got, wanted) {
  const [left, right] = [got, wanted].map((list) => list.map(({ id }) => id).sort());
  const others = right.filter((id) => !left.includes(id));
  if (String(left) !== String(right)) fail(`${what}: ${left.length} events of ${right.length}, ${others.length} missing (${others.slice(0, 3)})`);
  console.log(`-- ${what}: ${left.length} of ${right.length} events`);
}

/// Exits with status 1 unless both values are equal.
export function equal(what, got, wanted) {
  if (JSON.stringify(got) !== JSON.stringify(wanted)) fail(`${what}: ${JSON.stringify(got)} instead of ${JSON.stringify(wanted)}`);
  console.log(`-- ${what}: ${JSON.stringify(got)}`);
}

export function fail(why) {
  console.error(`!! ${why}`);
  process.exit(1);
}

/// Awaits a promise; exits with status 1 if it is rejected or takes longer.
export function within(seconds, what, promise) {
  let timer;
  const late = new Promise(() => { timer = setTimeout(() => fail(`${what}: nothing within ${seconds} s`), seconds * 1000); });
  return Promise.race([promise, late]).catch((error) => fail(`${what}: ${error?.message ?? error}`)).finally(() => clearTimeout(timer));
}

/// Returns a new event that is not in the archive.
export const fresh = (kind = 1, content = "from now", tags = []) =>
  finalizeEvent({ kind, content, tags, created_at: Math.floor(Date.now() / 1000) }, generateSecretKey());

/// Archives an event with `brotr import`; the running agent sends it to its subscribers.
export const archive = (event) => execFileSync(process.env.BROTR, ["import", "-"], { input: JSON.stringify(event), stdio: ["pipe", "ignore", "ignore"] });
