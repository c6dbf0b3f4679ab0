// Building elements from text. Markup is never parsed: names come from hostile programs.

export const byId = (id) => document.getElementById(id);

/** An element with properties and children, which are elements or text. */
export function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Fills a select with values and chooses one, if it is there. */
export function options(select, values, chosen) {
  select.replaceChildren(...values.map(([value, text]) => element("option", { value }, text)));
  select.value = chosen;
}

/** A canvas of the size that it has on the page, in sharp pixels; gives what to draw with. */
export function fit(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return context;
}

/** A colour of the style sheet. */
export function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Shows text beside the pointer. */
export function tip(event, lines) {
  const box = byId("tip");
  box.replaceChildren(...lines.map((line) => element("div", {}, line)));
  box.hidden = false;
  const left = Math.min(event.clientX + 14, window.innerWidth - box.offsetWidth - 8);
  const below = event.clientY + 18;
  const top = below + box.offsetHeight > window.innerHeight ? event.clientY - box.offsetHeight - 10 : below;
  box.style.left = `${Math.max(8, left)}px`;
  box.style.top = `${Math.max(8, top)}px`;
}

export function hideTip() {
  byId("tip").hidden = true;
}
