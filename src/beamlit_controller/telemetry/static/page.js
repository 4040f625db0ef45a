// The page: polls /models, and shows all models and the selected one.

import { ago, el, show, span, table } from "./dom.js";
import { RANKS, details, headline, highest, host, key } from "./model.js";

const EVERY = 2000; // milliseconds between two looks, or ten times what a look took
const HISTORY = 15000; // milliseconds for which a history is new enough
const PATIENCE = 10000; // milliseconds for an answer
const MANY = 12; // models from which on there is a filter

const at = (id) => document.getElementById(id);
const seen = { answer: null, when: null, error: "", filter: "", history: { of: "", when: 0, minutes: [] } };

async function ask(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(PATIENCE), cache: "no-store" });
  if (!response.ok) throw new Error(`status ${response.status}`);
  return response.json();
}

async function look() {
  const began = performance.now();
  try {
    seen.answer = await ask("models");
    [seen.when, seen.error] = [Date.now(), ""];
    await lookBack();
  } catch (error) {
    seen.error = String(error.message ?? error);
  }
  draw();
  setTimeout(look, Math.max(EVERY, 10 * (performance.now() - began)));
}

async function lookBack() {
  const model = chosen();
  const kept = seen.history;
  if (!model?.decision || (kept.of === key(model) && Date.now() - kept.when < HISTORY)) return;
  const { minutes } = await ask(`models/${encodeURIComponent(model.namespace)}/${encodeURIComponent(model.name)}/history`);
  seen.history = { of: key(model), when: Date.now(), minutes };
}

function everything() {
  return seen.answer ? [...seen.answer.waiting, ...seen.answer.models] : [];
}

// The model in the URL, or the only one.
function chosen() {
  const models = everything();
  const name = decodeURIComponent(location.hash.slice(1));
  return models.find((model) => key(model) === name) ?? (models.length === 1 ? models[0] : null);
}

function draw() {
  const now = seen.answer?.at;
  drawState(now);
  if (!seen.answer) return;
  show(at("problems"), problems(seen.answer.problems));
  show(at("fleet"), fleet(now));
  const model = chosen();
  const minutes = model && seen.history.of === key(model) ? seen.history.minutes : [];
  const width = Math.max(at("model").clientWidth, 240);
  show(at("model"), model ? details(model, minutes, { now, width }) : everything().length ? el("p", { class: "faint" }, "Choose a model to see more of it.") : null);
}

// Screen readers announce every change, so it contains no time.
function drawState(now) {
  const counts = Object.entries(RANKS).map(([name, word]) => [everything().filter((model) => headline(model).rank === name).length, name, word]);
  const shown = counts.filter(([count]) => count).map(([count, name, word], index) => [index ? ", " : " ", el("span", { class: name }, `${count} ${word}`)]);
  const total = everything().length;
  const lost = seen.error && el("span", { class: "failing" }, `No answer from the controller (${seen.error}). What is shown is old. `);
  show(at("summary"), lost, seen.answer ? [`${total} model${total === 1 ? "" : "s"}:`, shown] : lost ? "" : "Asking the controller…");
  show(at("updated"), seen.when ? `updated ${span((Date.now() - seen.when) / 1000)} ago` : "");
  const failing = counts[0][0];
  document.title = `${seen.error ? "no answer" : failing ? `${failing} failing` : "beamlit-controller"}${seen.error || failing ? " – beamlit-controller" : ""}`;
}

function problems(found) {
  if (!found.length) return null;
  const shown = found.slice(0, 20).map((each) => el("li", {}, `${[each.where, each.field].filter(Boolean).join(": ")}: ${each.message}`));
  return [el("h2", { class: "failing" }, "Mistakes in manifests and settings"), el("ul", {}, shown), found.length > 20 && `and ${found.length - 20} more`].filter(Boolean);
}

function fleet(now) {
  const order = Object.keys(RANKS);
  const models = everything()
    .filter((model) => key(model).includes(seen.filter))
    .sort((one, other) => order.indexOf(headline(one).rank) - order.indexOf(headline(other).rank) || (key(one) < key(other) ? -1 : 1));
  if (!everything().length) return el("p", {}, "There are no models yet: add a manifest.");
  const titles = ["Model", "State", "For", "Ready", "Highest metric", "Remote", "Why"];
  return [everything().length > MANY && filter(), table("All models", titles, models.map((model) => row(model, now)))].filter(Boolean);
}

function row(model, now) {
  const name = key(model);
  const link = el("a", { href: `#${encodeURIComponent(name)}`, "aria-current": model === chosen() ? "true" : null }, name);
  const { rank, state, why, to, since } = headline(model);
  const stands = el("span", { class: rank }, state);
  const known = model.decision
    ? [since ? ago(since, now).replace(" ago", "") : "–", `${model.local.ready} of ${model.local.total}`, highest(model), to || host(model.remote)]
    : ["–", "–", "–", "–"];
  return { cells: [link, stands, ...known, why], class: model === chosen() ? "chosen" : null };
}

function filter() {
  return el("label", {}, "Only models whose name has ", el("input", { type: "search", id: "filter", autocomplete: "off" }));
}

document.addEventListener("input", (event) => {
  if (event.target.id === "filter") {
    seen.filter = event.target.value.trim();
    draw();
  }
});
addEventListener("hashchange", async () => {
  await lookBack().catch(() => {});
  draw();
  at("model").focus({ preventScroll: false });
});
addEventListener("resize", draw);
setInterval(() => drawState(seen.answer?.at), 1000);
look();
