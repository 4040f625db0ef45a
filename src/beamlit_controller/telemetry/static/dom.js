// Creates elements from values. Text is always set as text, never parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";
const DRAWN = new Set(["svg", "rect", "line", "path", "text", "g"]);

export function el(tag, attributes = {}, ...children) {
  const made = DRAWN.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

// Make the children of `place` equal to the given ones. Equal children are kept, so that focus and scroll position stay.
export function show(place, ...children) {
  const wanted = children.flat(Infinity).filter(Boolean);
  const there = [...place.childNodes];
  wanted.forEach((child, index) => {
    if (index < there.length) become(there[index], child);
    else place.append(child);
  });
  there.slice(wanted.length).forEach((child) => child.remove());
}

function become(old, wanted) {
  if (typeof wanted === "string") wanted = document.createTextNode(wanted);
  if (old.isEqualNode(wanted)) return;
  if (old.nodeName !== wanted.nodeName) {
    old.replaceWith(wanted);
  } else if (old.nodeType === Node.TEXT_NODE) {
    old.data = wanted.data;
  } else {
    adopt(old, wanted);
    show(old, [...wanted.childNodes]);
  }
}

function adopt(old, wanted) {
  for (const { name } of [...old.attributes]) if (!wanted.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of wanted.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
}

export function table(caption, titles, rows) {
  return el(
    "table",
    {},
    el("caption", {}, caption),
    el("thead", {}, el("tr", {}, titles.map((title) => el("th", { scope: "col" }, title)))),
    el("tbody", {}, rows.map(({ cells, ...attributes }) => el("tr", attributes, cells.map((cell, at) => tableCell(cell, titles[at], at))))),
  );
}

function tableCell(cell, title, at) {
  const shown = typeof cell === "string" ? wrappable(cell) : cell;
  return at === 0 ? el("th", { scope: "row" }, shown) : el("td", { "data-label": title }, shown);
}

// Let the names of metrics and hosts wrap between their parts, rather than after any letter. Numbers stay whole.
function wrappable(text) {
  const parts = text.replace(/[_:./](?=[A-Za-z])/g, "$&\n").split("\n");
  return parts.flatMap((part, at) => (at === 0 ? [part] : [el("wbr"), part]));
}

export function list(sentences) {
  return el("ul", {}, sentences.map((each) => el("li", {}, each)));
}

// Formatting.

export function ago(moment, now) {
  return `${span((new Date(now) - new Date(moment)) / 1000)} ago`;
}

export function span(seconds) {
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return `${Math.max(Math.floor(seconds), 0)} s`;
}

export function time(moment, now) {
  const at = new Date(moment);
  const today = at.toDateString() === new Date(now).toDateString();
  return el("time", { datetime: moment }, today ? at.toLocaleTimeString() : at.toLocaleString());
}

export function percent(ratio) {
  return `${Math.round(ratio * 100)} %`;
}
