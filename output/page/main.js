// The page: one state, kept in the address, and pictures that show it. What a change of the state needs
// from the server is asked for, and nothing else.

import { address, ask, question } from "./api.js";
import { ofChange } from "./colors.js";
import { addFilter, connect, reflect, showKept, tell } from "./controls.js";
import { byId, element, fit, options } from "./dom.js";
import { Flame } from "./flame.js";
import { amount, length, percent } from "./format.js";
import { CELL, Heat } from "./heat.js";
import { clearLedger, showLedger } from "./ledger.js";
import { format, parse } from "./state.js";
import { Timeline } from "./timeline.js";
import { Top } from "./top.js";

const FIRST_VIEW = 900e3;
const ROWS = 10;

let state = parse(location.hash);
let kept = null;

/** The process that did most in what the timeline shows, if it shows processes. */
let hottest = null;

/** Puts changes into the address and shows them. */
function go(changes, { replace = false } = {}) {
  state = { ...state, ...changes };
  history[replace ? "replaceState" : "pushState"](null, "", format(state));
  show();
}

const context = { go, state: () => state, getState: () => state, newest };
const timeline = new Timeline(brushed, (value) => addFilter(state.by, value, context));
const heat = new Heat((range) => go(byId("brush-base").checked && state.base ? { base: range } : { range, heat: heatRange() }));
const flame = new Flame((zoom) => go({ zoom }));
const top = new Top((name) => go({ search: `^${name.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")}$` }));

function brushed(range) {
  go(byId("brush-base").checked && state.base ? { base: range } : { range, heat: null });
}

/** Shows the newest part of what there is. */
async function newest(last) {
  await guarded(async () => {
    kept = await ask("store", []);
    showKept(kept);
    const to = kept.newest_ms ?? Date.now();
    const from = last === "all" ? (kept.oldest_ms ?? to - FIRST_VIEW) : to - Number(last);
    go({ view: [from, to], range: null, heat: null });
  });
}

const range = () => state.range ?? state.view;

/** The sample type as a parameter; none before it is known what there is. */
const ofType = () => (state.type ? [["type", state.type]] : []);

/** The part that the heat map shows: what was chosen for it, or as much as there is room for around the
 *  range, or to the end of the timeline. */
function heatRange() {
  const room = Heat.seconds() * 1000;
  const second = (at) => Math.floor(at / 1000) * 1000;
  if (state.heat) {
    return [state.heat[0], Math.min(state.heat[1], state.heat[0] + room)];
  }
  const [from, to] = range();
  const before = state.range ? Math.max(0, (room - (to - from)) / 2) : Math.max(to - from, room) - room;
  const start = Math.max(second(from + (state.range ? -before : before)), second(kept.oldest_ms ?? 0));
  const end = Math.min(start + room, Math.ceil((kept.newest_ms ?? to) / 1000) * 1000);
  return [start, Math.max(end, start + 10000)];
}

const shown = {};

/** Runs `work` when what it depends on is not what it was, and again the next time if it fails. */
async function when(name, depends, work) {
  const key = JSON.stringify(depends);
  if (shown[name] !== key) {
    shown[name] = key;
    if (!(await guarded(work))) {
      delete shown[name];
    }
  }
}

/** Says what went wrong, if anything did; tells whether nothing did. */
async function guarded(work) {
  try {
    await work();
    return true;
  } catch (error) {
    tell(`This did not work: ${error.message}`);
    return false;
  }
}

let turns = 0;

/** Shows the state. While it asks, the root element says so, for style sheets and tests. */
async function show() {
  const turn = (turns += 1);
  document.documentElement.dataset.state = "asking";
  reflect(state, context);
  tell(null);
  timeline.mark({ range: state.range, base: state.base });
  heat.mark(state.range);
  await when("types", [state.view, state.type], showTypes);
  await Promise.all([
    when("timeline", [state.view, state.type, state.by, state.filters], showTimeline),
    when("values", [state.view, state.filters, byId("filter-label").value], showValues),
    when("profile", [range(), state.base, state.type, state.filters], showProfile),
  ]);
  await when("heat", [heatRange(), state.of || hottest, state.type, state.filters], showHeat);
  showFlame();
  if (turn === turns) {
    document.documentElement.dataset.state = "shown";
  }
}

async function showTypes() {
  const answer = await ask("types", question(state.view, []));
  if (!answer) {
    return;
  }
  const { types } = answer;
  options(byId("type"), types.map(({ name, unit }) => [name, `${name.replaceAll("_", " ")} (${unit})`]), state.type);
  if (!state.type && types.length) {
    const best = types.find(({ name }) => name === "cpu") ?? types[types.length - 1];
    byId("type").value = best.name;
    state.type = best.name;
    history.replaceState(null, "", format(state));
  }
}

async function showTimeline() {
  const step = timeline.step(state.view);
  const from = Math.floor(state.view[0] / step) * step;
  const asked = [...question([from, state.view[1]], state.filters), ...ofType(), ["by", state.by], ["step", step], ["top", ROWS]];
  await busy("timeline", async () => {
    const answer = await ask("timeline", asked);
    if (answer?.type === null) {
      timeline.clear();
    } else if (answer) {
      timeline.show(answer, state.view, { range: state.range, base: state.base });
      hottest = state.by === "process" ? answer.rows[0]?.value : null;
    }
  });
}

async function showValues() {
  const label = byId("filter-label").value;
  const processes = await ask("processes", [...question(state.view, state.filters), ["label", "process"]], "values");
  const known = processes?.values ?? [];
  options(byId("heat-process"), known.map((name) => [name, name]), "");
  const values = await ask("values", [...question(state.view, state.filters), ["label", label]]);
  byId("filter-values").replaceChildren(...(values?.values ?? []).map((value) => element("option", { value })));
}

async function showHeat() {
  const select = byId("heat-process");
  const of = state.of || hottest || select.options[0]?.value;
  if (!of) {
    heat.clear();
    return;
  }
  select.value = of;
  if (select.value !== of) {
    select.prepend(element("option", { value: of }, of));
    select.value = of;
  }
  const filters = [...state.filters.filter(([label]) => label !== "process"), ["process", of]];
  const asked = [...question(heatRange(), filters), ...ofType(), ["step", CELL]];
  const answer = await ask("heat", asked, "timeline");
  if (answer?.type === null) {
    heat.clear();
  } else if (answer) {
    heat.show(answer, state.range);
  }
}

async function showProfile() {
  const asked = [...question(range(), state.filters), ...ofType()];
  const base = state.base ? [["base_from", state.base[0]], ["base_to", state.base[1]]] : [];
  for (const link of document.querySelectorAll("[data-format]")) {
    link.href = address("download", [...asked, ["format", link.dataset.format]]);
  }
  await busy("flame", async () => {
    const answer = await ask("profile", [...asked, ...base]).catch(unlessNothing);
    if (answer) {
      flame.show(answer, state.zoom);
      top.show(answer);
      showLedger(answer);
      title(answer);
    }
  });
}

/** For an answer that there is no window, which is none to worry about. */
function unlessNothing(error) {
  flame.clear();
  top.clear();
  clearLedger();
  byId("flame-title").textContent = "Flame graph: there is no window in this range";
  if (error.status !== 404) {
    throw error;
  }
  return null;
}

async function busy(id, work) {
  const box = byId(id);
  box.setAttribute("aria-busy", "true");
  try {
    await work();
  } finally {
    box.removeAttribute("aria-busy");
  }
}

function title({ type, sides, tree }) {
  const sums = sides.map((_, side) => amount(tree.total[side], type.unit));
  byId("flame-title").textContent = `${type.name.replaceAll("_", " ")}: ${sums.join(" against ")} in ${length(range())}`;
  byId("scale").hidden = sides.length < 2;
  drawScale();
}

function drawScale() {
  const canvas = byId("scale-canvas");
  const context = fit(canvas, 160, 10);
  for (let x = 0; x < 160; x += 1) {
    context.fillStyle = ofChange((x - 80) / 80);
    context.fillRect(x, 0, 1, 10);
  }
}

/** What needs no question: zoom, search and orientation. */
function showFlame() {
  if (shown.turned !== state.upright) {
    shown.turned = state.upright;
    flame.turn(state.upright);
  }
  if (shown.zoom !== JSON.stringify(state.zoom)) {
    shown.zoom = JSON.stringify(state.zoom);
    flame.zoomTo(state.zoom);
  }
  const found = flame.search(state.search);
  byId("matched").textContent = found === null ? "" : `${percent(found)} matches`;
}

function keys(event) {
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    byId("search").focus();
    byId("search").select();
  }
  if (event.key === "Escape" && event.target === byId("search")) {
    event.preventDefault();
    byId("search").value = "";
    go({ search: "" }, { replace: true });
    byId("flame").focus();
  }
}

function redraw() {
  for (const name of ["timeline", "heat", "profile"]) {
    delete shown[name];
  }
  show();
}

function start() {
  connect(context);
  byId("search").addEventListener("input", (event) => go({ search: event.target.value }, { replace: true }));
  byId("back").addEventListener("click", () => go({ zoom: state.zoom.slice(0, -1) }));
  byId("turn").addEventListener("click", () => go({ upright: !state.upright }));
  byId("heat-process").addEventListener("change", (event) => go({ of: event.target.value }));
  byId("filter-label").addEventListener("change", show);
  const move = (direction) => () => go({ heat: heatRange().map((at, _, [from, to]) => Math.max(0, at + direction * (to - from))) });
  byId("heat-earlier").addEventListener("click", move(-1));
  byId("heat-later").addEventListener("click", move(1));
  document.addEventListener("keydown", keys);
  addEventListener("popstate", () => {
    state = { ...parse(location.hash) };
    state.view ??= [kept.newest_ms - FIRST_VIEW, kept.newest_ms];
    show();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) {
      width = innerWidth;
      redraw();
    }
  });
  guarded(async () => {
    kept = await ask("store", []);
    showKept(kept);
    const to = kept.newest_ms ?? Date.now();
    const from = Math.max(kept.oldest_ms ?? 0, to - FIRST_VIEW);
    go(state.view ? {} : { view: [from, to] }, { replace: true });
  });
}

start();
