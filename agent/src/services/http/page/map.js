// The map: relays at their places, those near each other as one mark.
import { make, number, plural, relayPage, theirs } from "./base.js";

/// Marks closer than this are one, in pixels.
const NEAR = 44;

/// Draws the answer of `api/v1/map` into a place.
export function map(place, { places, placed, total }) {
  const land = make("img", { src: "land.svg", alt: "" }), marks = make("div", { class: "marks" });
  const picture = make("div", { class: "map" }, land, marks), text = make("p", { class: "small" }), panel = make("div", { role: "status" });
  text.textContent = placed ? `${number(placed)} of ${plural(total, "relay")} ${placed === 1 ? "is" : "are"} on the map.` : "No place of a relay is known: the setting monitor.geo names the databases of places.";
  place.replaceChildren(picture, text, panel);
  const draw = () => {
    const width = picture.clientWidth || 720, height = width / 2;
    const at = ({ latitude, longitude }) => [(longitude + 180) / 360 * width, (90 - latitude) / 180 * height];
    const clusters = [];
    for (const one of [...places].sort((a, b) => b.up + b.other - a.up - a.other)) {
      const [x, y] = at(one);
      const near = clusters.find((cluster) => Math.hypot(cluster.x - x, cluster.y - y) < NEAR);
      near ? near.places.push(one) : clusters.push({ x, y, places: [one] });
    }
    marks.replaceChildren(...clusters.map((cluster, n) => mark(cluster, n, marks, panel)));
  };
  draw();
  place.observer?.disconnect();
  place.observer = new ResizeObserver(draw);
  place.observer.observe(picture);
}

const named = ({ city, country }) => [city, country].filter(Boolean).join(", ") || "an unnamed place";

function mark({ x, y, places }, n, marks, panel) {
  const up = places.reduce((sum, place) => sum + place.up, 0), other = places.reduce((sum, place) => sum + place.other, 0), all = up + other;
  const label = `${named(places[0])}${places.length > 1 ? ` and ${plural(places.length - 1, "place")} near it` : ""}: ${number(up)} up, ${number(other)} not`;
  const button = make("button", { type: "button", class: `mark ${up ? "good" : "bad"}`, title: label, "aria-label": label, tabindex: n ? "-1" : "0" }, all > 1 ? number(all) : "");
  const size = Math.min(44, 24 + 4 * Math.log2(all));
  Object.assign(button.style, { left: `${x}px`, top: `${y}px`, width: `${size}px`, height: `${size}px` });
  button.addEventListener("click", () => {
    const urls = places.flatMap((place) => place.relays).slice(0, 30);
    panel.replaceChildren(make("h3", {}, theirs(label)), make("ul", { class: "columns" }, urls.map((url) => make("li", {}, make("a", { href: relayPage(url) }, theirs(url))))),
      ...(all > urls.length ? [make("p", { class: "small" }, `and ${plural(all - urls.length, "more relay")}`)] : []));
  });
  // One mark is reached by Tab, the others by the arrow keys.
  button.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const buttons = [...marks.children], next = buttons[(buttons.indexOf(button) + step + buttons.length) % buttons.length];
    button.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  return button;
}
