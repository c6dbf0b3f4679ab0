// What is typed, clicked and chosen outside of the pictures; each becomes a change of the state.

import { byId, element, options } from "./dom.js";
import { bytes, moment, ofMoment } from "./format.js";
import { LABELS } from "./state.js";

/** Connects the controls; `go` is told changes, `state` and `view` give what there is. */
export function connect({ go, state, newest }) {
  options(byId("by"), LABELS.map((label) => [label, label]), "process");
  options(byId("filter-label"), LABELS.map((label) => [label, label]), "process");
  byId("type").addEventListener("change", (event) => go({ type: event.target.value }));
  byId("by").addEventListener("change", (event) => go({ by: event.target.value }));
  byId("choices").addEventListener("submit", (event) => {
    event.preventDefault();
    addFilter(byId("filter-label").value, byId("filter-value").value, { go, state });
    byId("filter-value").value = "";
  });
  for (const button of document.querySelectorAll("[data-last]")) {
    button.addEventListener("click", () => newest(button.dataset.last));
  }
  byId("copy").addEventListener("click", copy);
  connectTime({ go, state });
  connectRanges({ go, state });
}

/** Asks for one value of a label, in place of another of the same. */
export function addFilter(label, value, { go, state }) {
  go({ filters: [...state().filters.filter(([known]) => known !== label), [label, value]], zoom: [] });
}

function connectTime({ go, state }) {
  const move = (part) => () => {
    const [from, to] = state().view;
    const by = Math.round((to - from) * part);
    go({ view: [from + by, to + by] });
  };
  byId("earlier").addEventListener("click", move(-0.5));
  byId("later").addEventListener("click", move(0.5));
  byId("wider").addEventListener("click", () => {
    const [from, to] = state().view;
    go({ view: [Math.max(0, from - (to - from)), to + (to - from)] });
  });
  byId("closer").addEventListener("click", () => {
    const { range } = state();
    if (range) {
      go({ view: range });
    }
  });
}

function connectRanges({ go, state }) {
  const submitted = (name) => (event) => {
    event.preventDefault();
    const [from, to] = ["from", "to"].map((end) => ofMoment(byId(`${name}-${end}`).value));
    if (from < to) {
      go(name === "range" ? { range: [from, to], heat: null } : { base: [from, to] });
    } else {
      tell("A range is from one time to a later one, such as 2026-01-31 12:00:00.5");
    }
  };
  byId("range").addEventListener("submit", submitted("range"));
  byId("base").addEventListener("submit", submitted("base"));
  byId("compare").addEventListener("change", (event) => {
    const [from, to] = state().range ?? state().view;
    go({ base: event.target.checked ? [from - (to - from), from] : null });
  });
}

/** Shows the state on the controls. */
export function reflect(state, { go, getState }) {
  byId("by").value = state.by;
  byId("turn").setAttribute("aria-pressed", String(state.upright));
  byId("back").disabled = !state.zoom.length;
  byId("compare").checked = Boolean(state.base);
  byId("base").hidden = !state.base;
  byId("closer").disabled = !state.range;
  if (document.activeElement !== byId("search")) {
    byId("search").value = state.search;
  }
  for (const [name, range] of [["range", state.range ?? state.view], ["base", state.base]]) {
    ["from", "to"].forEach((end, at) => {
      byId(`${name}-${end}`).value = range ? moment(range[at]) : "";
    });
  }
  byId("filters").replaceChildren(...state.filters.map(([label, value]) => {
    const without = () => go({ filters: getState().filters.filter(([known]) => known !== label), zoom: [] });
    const text = `${label} is ${value || "[none]"}`;
    const button = element("button", { type: "button", title: "Remove", onclick: without }, `${text} ×`);
    return element("li", {}, button);
  }));
}

/** Says what the store has. */
export function showKept(kept) {
  const parts = [`${kept.windows.toLocaleString("en")} ${kept.windows === 1 ? "window" : "windows"}`, bytes(kept.bytes)];
  if (kept.oldest_ms !== null) {
    parts.unshift(`${moment(Math.floor(kept.oldest_ms / 1000) * 1000)} to ${moment(Math.ceil(kept.newest_ms / 1000) * 1000)}`);
  }
  if (kept.damaged) {
    parts.push(`${kept.damaged} damaged parts left out`);
  }
  byId("kept").textContent = parts.join(" · ");
}

/** Says what went wrong; nothing when it is all right again. */
export function tell(words) {
  byId("trouble").textContent = words ?? "";
  byId("trouble").hidden = !words;
}

async function copy() {
  const button = byId("copy");
  try {
    await navigator.clipboard.writeText(location.href);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Copy it from the address bar";
  }
  setTimeout(() => {
    button.textContent = "Copy link";
  }, 2000);
}
