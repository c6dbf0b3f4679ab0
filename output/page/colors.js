// Which colour what has. Quiet ones: what is loud should be the finding.

import { color } from "./dom.js";

const SLOTS = 12;

/** A number from 0 to 1 that is always the same for a text. */
export function hash(text) {
  let value = 2166136261;
  for (let at = 0; at < text.length; at += 1) {
    value = Math.imul(value ^ text.charCodeAt(at), 16777619);
  }
  return (value >>> 0) / 2 ** 32;
}

export const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;

/** A colour for each name: the same as long as no other name has it already. */
export function ofSeries(names) {
  const taken = new Map();
  const slots = names.map((name) => {
    let slot = Math.floor(hash(name) * SLOTS);
    for (let tries = 0; tries < SLOTS && taken.has(slot); tries += 1) {
      slot = (slot + 5) % SLOTS;
    }
    taken.set(slot, name);
    return slot;
  });
  const lightness = isDark() ? 52 : 62;
  return slots.map((slot) => `hsl(${(slot * 360) / SLOTS + 15} ${slot % 2 ? 42 : 55}% ${lightness}%)`);
}

const HUES = { user: [18, 34], inlined: [172, 22], kernel: [212, 28] };

/** The colour of a frame by its kind, with shades by its name. */
export function ofFrame({ name, kind }) {
  const hues = HUES[kind];
  if (!hues) {
    return color(kind === "process" ? "process" : "synthetic");
  }
  const [hue, span] = hues;
  const shade = hash(name);
  const [saturation, lightness] = isDark() ? [38, 34 + 9 * shade] : [68, 74 + 9 * shade];
  return `hsl(${hue + span * shade} ${saturation}% ${lightness}%)`;
}

/** The colour of a change from -1, all gone, to 1, all new: blue for less, red for more. */
export function ofChange(change) {
  const size = Math.min(1, Math.abs(change)) ** 0.6;
  const hue = change > 0 ? 8 : 214;
  const lightness = isDark() ? 24 + 24 * size : 93 - 33 * size;
  return `hsl(${hue} ${Math.round(75 * size)}% ${lightness}%)`;
}
