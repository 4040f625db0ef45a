// One model: where its requests are served, and why.

import { ratio, share } from "./chart.js";
import { ago, el, list, percent, span, table, time } from "./dom.js";

export function key(model) {
  return `${model.namespace}/${model.name}`;
}

// How urgently a model needs attention, the most urgent first.
export const RANKS = { failing: "failing", blind: "without metrics", short: "not enough", offloading: "offloading", local: "local", disabled: "disabled" };
const NEEDS_A_PERSON = new Set(["failing", "blind", "short"]);

// The controller provides the text; a model that waits for its first round has none.
export function headline(model) {
  return model.headline ?? { rank: "failing", state: "No round yet", why: model.failure.error, effect: "", advice: "" };
}

export function highest(model) {
  const read = (model.metrics ?? []).filter((metric) => metric.ratio !== null);
  const metric = read.reduce((most, each) => (most && most.ratio >= each.ratio ? most : each), null);
  return metric ? `${metric.name} ${metric.value} of ${metric.target} (${percent(metric.ratio)})` : "–";
}

export function host(address) {
  try {
    return new URL(address).host;
  } catch {
    return address ? String(address) : "–";
  }
}

export function details(model, minutes, { now, width }) {
  if (!model.decision) return [el("h2", {}, key(model)), ...present(model, now)];
  return [
    el("h2", {}, key(model)),
    el("p", { class: "faint" }, `model ${model.model}, ${model.local.ready} of ${model.local.total} local replicas ready`),
    present(model, now),
    el("h3", {}, "The last hours"),
    share(minutes, width),
    ratio(minutes, width),
    metrics(model),
    el("div", { class: "columns" },
      part("What would change it", model.outlook),
      part("What the remote costs", (model.spending ?? []).map((each) => each.text)),
      part("The policy", model.policy),
      remote(model),
      part("Notices", model.notices)),
    model.remotes?.length ? remotes(model) : null,
    changes(model, now),
    gateway(model.gateway),
  ];
}

// The state, and why.

function present(model, now) {
  const { rank, state, why, effect, advice, to, since } = headline(model);
  const { decision } = model;
  const began = since ? [" since ", time(since, now), ` (${ago(since, now)})`] : "";
  const said = decision && `${decision.reason}: ${decision.message}`;
  const cause = said && why.endsWith(said) ? why.slice(0, -said.length) : "";
  return [
    el("p", { class: "now" }, el("span", { class: rank }, state), to ? ` to ${to}` : "", began),
    NEEDS_A_PERSON.has(rank) && el("dl", { class: "trouble" },
      term("What is wrong", why), term("For clients", effect), term("What to do", advice)),
    said && (said !== why || !NEEDS_A_PERSON.has(rank)) && el("p", {}, cause, el("strong", {}, decision.reason), `: ${decision.message}`),
    decision && model.enabled && !model.dryRun && (model.traffic ? counted(model) : decided(decision.percentage)),
  ].flat().filter(Boolean);
}

function term(name, words) {
  return words ? [el("dt", {}, name), el("dd", {}, words)] : null;
}

function decided(percentage) {
  return split(percentage, `By decision ${100 - percentage} % of the requests go to local servers first, ${percentage} % to the remote.`);
}

// The requests since they have been answered as they are now, at most those of the last minute.
function counted({ traffic }) {
  const { latest } = traffic;
  const { sent, unanswered, text } = latest ?? traffic;
  const when = latest ? `the last ${Math.round(latest.seconds)} s` : "the last minute";
  return split(Math.round(sent * 100), `In ${when} ${text}`, Math.round(unanswered * 100));
}

// A bar of the local, the unanswered and the remote part.
function split(percentage, words, unanswered = 0) {
  return [
    el("svg", { class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
      el("rect", { class: "fill-none", width: 100, height: 8 }),
      el("rect", { class: "fill-local", width: Math.max(100 - percentage - unanswered, 0), height: 8 }),
      el("rect", { class: "fill-remote", x: 100 - percentage, width: percentage, height: 8 })),
    el("p", { class: "faint" }, words),
  ];
}

// The metrics.

function metrics(model) {
  if (!model.metrics.length) return el("p", { class: "faint" }, "No metrics.");
  const rows = model.metrics.map((metric) => ({ cells: [named(metric), metric.value ?? "–", wanted(metric), bar(metric), aged(metric), said(metric)] }));
  return table("Metrics against their targets", ["Metric", "Value", "Target", "Of the target", "Age", "State"], rows);
}

function named(metric) {
  return metric.selector ? `${metric.name}{${metric.selector}}` : metric.name;
}

function wanted(metric) {
  return metric.targetType === "AverageValue" ? `${metric.target} per replica` : metric.target;
}

function bar(metric) {
  if (metric.ratio === null) return "–";
  return [
    percent(metric.ratio),
    el("svg", { class: "small", viewBox: "0 0 200 8", preserveAspectRatio: "none", "aria-hidden": "true" },
      el("rect", { class: "fill-none", width: 200, height: 8 }),
      el("rect", { class: metric.ratio > 1 ? "fill-remote" : "fill-local", width: Math.min(Math.max(metric.ratio, 0), 2) * 100, height: 8 }),
      el("line", { class: "target", x1: 100, x2: 100, y1: 0, y2: 8 })),
  ];
}

function aged(metric) {
  return metric.ageSeconds === null ? "–" : span(metric.ageSeconds);
}

function said(metric) {
  const missing = metric.missing;
  if (missing) return el("span", { class: missing.lasts === false ? "faint" : "lost" }, `${missing.reason}: ${missing.message}`);
  const lost = metric.podFailures.length;
  return lost ? `${metric.state}, without ${lost} of its replicas` : metric.state;
}

// Servers, gateway and remotes.

function part(title, sentences) {
  return sentences?.length ? el("div", {}, el("h3", {}, title), list(sentences)) : null;
}

function remote(model) {
  const known = model.gateway?.remote;
  if (!model.remote || model.remotes?.length) return null;
  const style = known?.status === "False" ? "failing" : null;
  return el("div", {}, el("h3", {}, "The remote"), el("p", {}, model.remote),
    known ? el("p", { class: style }, el("strong", {}, String(known.reason)), `: ${known.message}`) : null);
}

// The remotes that get no requests because their budget is spent, by name.
function spent(model) {
  const known = (model.spending ?? []).filter((each) => each.budget?.spent);
  return Object.fromEntries(known.map(({ name, budget }) => [name, { reason: "BudgetSpent", message: `${budget.percentage} % of its budget used` }]));
}

// Several remotes, in the whole width: their addresses are long.
function remotes(model) {
  const conditions = { ...model.gateway?.remotes, ...spent(model) };
  const rows = model.remotes.map(({ name, address, weight }) => {
    const known = conditions[name];
    return { cells: [weight ? `${name} (weight ${weight})` : name, address, known ? [el("strong", {}, String(known.reason)), `: ${known.message}`] : "-"] };
  });
  const title = model.remotes.some(({ weight }) => weight) ? "The remotes" : "The remotes, in order";
  return table(title, ["Name", "Address", "State"], rows);
}

function changes(model, now) {
  if (!model.changes.length) return el("p", { class: "faint" }, "The share has not changed yet.");
  const rows = model.changes.map((each) => ({
    cells: [time(each.at, now), `${most(each.previousAtMost)}${each.previous} → ${most(each.atMost)}${each.percentage} %`, [el("strong", {}, each.reason), `: ${each.message}`]],
  }));
  return table("The last decisions", ["When", "Share", "Why"], rows);
}

const TOLD_ELSEWHERE = new Set(["remote", "remotes", "problem", "reason", "bypassed"]);

// With a cap, the percentage is only an upper limit.
function most(isLimit) {
  return isLimit ? "at most " : "";
}

function gateway(facts) {
  const known = Object.entries(facts ?? {}).filter(([name, value]) => !TOLD_ELSEWHERE.has(name) && value !== null && value !== "");
  if (!known.length) return null;
  return [el("h3", {}, "The gateway"), el("p", {}, known.map(([name, value]) => fact(name, value)).join(", "))];
}

function fact(name, value) {
  if (typeof value === "boolean") return value ? name : `not ${name}`;
  if (typeof value === "object") return Object.entries(value).map(([part, inner]) => fact(part, inner)).join(", ");
  return `${name} ${value}`;
}
