// A line chart over time as SVG, as wide as its container, with a text alternative.

import { el, percent } from "./dom.js";

const HEIGHT = 140;
const LEFT = 48;
const BOTTOM = 20;
const GAP = 150000; // milliseconds without a minute after which a line is broken

export function share(minutes, width) {
  const counted = minutes.some((each) => typeof each.sent === "number");
  const value = (each) => (counted ? each.sent : each.percentage / 100);
  const points = minutes.map((each) => [Date.parse(each.begin), value(each)]).filter(([, each]) => typeof each === "number");
  const title = counted ? "Part of the requests that the remote answered" : "Share for the remote, as decided";
  return figure(title, points, { width, top: 1, filled: true });
}

export function ratio(minutes, width) {
  const points = minutes.filter((each) => each.ratio !== null).map((each) => [Date.parse(each.begin), each.ratio]);
  const top = Math.max(2, ...points.map(([, value]) => value));
  return figure("Highest metric, in percent of its target", points, { width, top, target: 1 });
}

function figure(title, points, { width, top, filled = false, target = null }) {
  if (points.length < 2) return el("p", { class: "faint" }, `${title}: two minutes are needed to draw a line.`);
  const values = points.map(([, value]) => value);
  const words = `${title}: between ${percent(Math.min(...values))} and ${percent(Math.max(...values))} over the last ${hours(points)}, ${percent(values.at(-1))} at the end.`;
  const scale = scaled(points, width, top);
  return el(
    "figure",
    {},
    el("figcaption", {}, words),
    el("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", "aria-label": words },
      [0, top / 2, top].map((value) => gridLine(value, scale, width)),
      target === null ? null : el("line", { class: "target", x1: LEFT, x2: width, y1: scale.y(target), y2: scale.y(target) }),
      el("path", { class: filled ? "fill-remote" : "trace", d: path(points, scale, filled) }),
      labels(points, scale, width)),
  );
}

function hours(points) {
  const minutes = Math.round((points.at(-1)[0] - points[0][0]) / 60000) + 1;
  return minutes < 90 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}

function scaled(points, width, top) {
  const first = points[0][0];
  const length = points.at(-1)[0] - first || 1;
  return {
    x: (at) => round(LEFT + ((at - first) / length) * (width - LEFT)),
    y: (value) => round(8 + (1 - Math.min(value / top, 1)) * (HEIGHT - BOTTOM - 8)),
  };
}

function round(number) {
  return Math.round(number * 10) / 10;
}

function gridLine(value, scale, width) {
  const y = scale.y(value);
  return [
    el("line", { class: "grid", x1: LEFT, x2: width, y1: y, y2: y }),
    el("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, percent(value)),
  ];
}

// One step per point: a value holds until the next one.
function path(points, scale, filled) {
  let drawn = "";
  points.forEach(([at, value], index) => {
    const broken = index === 0 || at - points[index - 1][0] > GAP;
    if (broken) drawn += `${index && filled ? closed(points[index - 1][0], scale) : ""}M${scale.x(at)} ${scale.y(filled ? 0 : value)}`;
    drawn += `H${scale.x(at)}V${scale.y(value)}`;
  });
  return drawn + (filled ? closed(points.at(-1)[0], scale) : "");
}

function closed(at, scale) {
  return `H${scale.x(at)}V${scale.y(0)}Z`;
}

function labels(points, scale, width) {
  const [first, last] = [points[0][0], points.at(-1)[0]];
  const shown = width < 500 ? [first, last] : [first, (first + last) / 2, last];
  return shown.map((at) =>
    el("text", { x: scale.x(at), y: HEIGHT - 4, "text-anchor": at === first ? "start" : at === last ? "end" : "middle" }, clock(at)),
  );
}

function clock(at) {
  return new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}
