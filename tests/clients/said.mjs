// Prints events as a conversation has them: who, what kind, and what matters of the rest.
export const short = (text) => String(text).replace(/[0-9a-f]{64}/g, (id) => id.slice(0, 8)).slice(0, 160);
export function say(who, event, hidden) {
  const tags = event.tags.filter(([name]) => !["request", "nonce", "client"].includes(name))
    .map((tag) => tag.map((value) => short(value).slice(0, 60)));
  console.log(`${who} ${event.kind} ${JSON.stringify(tags)} ${short(event.content)}${hidden ? ` = ${short(hidden)}` : ""}`);
}
