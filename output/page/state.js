// What is being looked at, kept in the address behind the `#`, so that a link shows the same.

export const LABELS = ["process", "thread", "pid", "tid", "cgroup", "container", "unit", "host"];

const RANGES = ["view", "range", "base", "heat"];
const TEXTS = ["type", "by", "of", "search"];

/** A state from the text behind the `#`; what is not understood is left out. */
export function parse(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const state = { filters: [], zoom: [], upright: given.has("upright") };
  for (const name of RANGES) {
    const match = /^(\d{1,15})-(\d{1,15})$/.exec(given.get(name) ?? "");
    const [from, to] = match ? [Number(match[1]), Number(match[2])] : [0, 0];
    state[name] = from < to ? [from, to] : null;
  }
  for (const name of TEXTS) {
    state[name] = given.get(name) ?? "";
  }
  for (const label of LABELS) {
    if (given.has(label)) {
      state.filters.push([label, given.get(label)]);
    }
  }
  state.zoom = given.getAll("zoom");
  if (!LABELS.includes(state.by)) {
    state.by = "process";
  }
  return state;
}

/** The text behind the `#` for a state. */
export function format(state) {
  const text = new URLSearchParams();
  for (const name of RANGES) {
    if (state[name]) {
      text.set(name, state[name].join("-"));
    }
  }
  for (const name of TEXTS) {
    if (state[name]) {
      text.set(name, state[name]);
    }
  }
  for (const [label, value] of state.filters) {
    text.set(label, value);
  }
  for (const name of state.zoom) {
    text.append("zoom", name);
  }
  if (state.upright) {
    text.set("upright", "");
  }
  return `#${text}`;
}
