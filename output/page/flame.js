// The flame graph: frames on a canvas that draws what can be seen of them, by mouse and by keyboard.
//
// Roots are at the top, or at the bottom where it is turned over. Knows nothing of ranges and servers.

import { ofChange, ofFrame } from "./colors.js";
import { byId, color, fit, hideTip, tip } from "./dom.js";
import { amount, percent, points } from "./format.js";
import { follow, layOut, matcher, path, share } from "./layout.js";

const ROW = 19;
const NARROWEST = 0.4;

/** The height of the part that is seen: at least in pixels, at most as a part of the window. */
const LEAST = 240;
const MOST = 0.62;

const TEXT_FROM = 28;
const GAP_FROM = 3;
const FONT = "12px system-ui, sans-serif";

export class Flame {
  /** `zoomed` is told the path of the frame that fills the width. */
  constructor(zoomed) {
    this.box = byId("flame");
    this.space = byId("flame-space");
    this.canvas = byId("flame-canvas");
    this.zoomed = zoomed;
    this.frames = [];
    this.matches = null;
    this.upright = false;
    this.canvas.addEventListener("click", (event) => this.click(event));
    this.canvas.addEventListener("mousemove", (event) => this.hover(event));
    this.canvas.addEventListener("mouseleave", hideTip);
    this.box.addEventListener("keydown", (event) => this.key(event));
    this.box.addEventListener("scroll", () => this.draw());
    this.box.addEventListener("focus", () => this.draw());
    this.box.addEventListener("blur", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  /** Shows the tree of an answer, zoomed to a path. */
  show(answer, zoom) {
    this.unit = answer.type.unit;
    this.both = answer.sides.length > 1;
    this.frames = layOut(answer.tree);
    this.byDepth = [];
    for (const frame of this.frames) {
      (this.byDepth[frame.depth] ??= []).push(frame);
    }
    this.top = follow(this.frames[0], zoom);
    this.at = this.top;
    this.arrange();
  }

  /** Shows that there is nothing. */
  clear() {
    this.frames = [];
    this.space.style.height = "";
    this.box.style.height = "";
    this.draw();
  }

  zoomTo(zoom) {
    if (this.frames.length) {
      this.top = follow(this.frames[0], zoom);
      this.at = this.top;
      this.arrange();
    }
  }

  turn(upright) {
    this.upright = upright;
    this.arrange();
  }

  /** Marks what is searched for; gives its part of what is shown, or `null` without a search. */
  search(text) {
    this.matches = matcher(text);
    this.draw();
    return this.matches && this.frames.length ? share(this.top, this.matches) : null;
  }

  /** The room that the deepest frame needs below the one that fills the width. */
  arrange() {
    if (!this.frames.length) {
      return;
    }
    let deepest = this.top.depth;
    const waiting = [this.top];
    while (waiting.length) {
      const frame = waiting.pop();
      deepest = Math.max(deepest, frame.depth);
      waiting.push(...frame.children);
    }
    this.height = (deepest + 1) * ROW;
    this.space.style.height = `${this.height}px`;
    this.box.style.height = `${Math.min(this.height, Math.max(LEAST, window.innerHeight * MOST))}px`;
    this.box.scrollTop = this.upright ? this.height : 0;
    this.draw();
  }

  /** Where a frame is: left, width and top on the whole picture; `null` beside it. */
  place(frame) {
    const span = this.top.x1 - this.top.x0;
    const isCaller = frame.depth < this.top.depth;
    const x0 = isCaller ? 0 : (frame.x0 - this.top.x0) / span;
    const x1 = isCaller ? 1 : (frame.x1 - this.top.x0) / span;
    if (x1 <= 1e-9 || x0 >= 1 - 1e-9 || (isCaller && !this.isAbove(frame))) {
      return null;
    }
    const y = this.upright ? this.height - (frame.depth + 1) * ROW : frame.depth * ROW;
    return { x: x0 * this.width, width: (x1 - x0) * this.width, y };
  }

  isAbove(frame) {
    return frame.x0 <= this.top.x0 && frame.x1 >= this.top.x1;
  }

  draw() {
    this.width = this.box.clientWidth;
    const seen = this.box.clientHeight;
    const context = fit(this.canvas, this.width, seen);
    context.font = FONT;
    context.textBaseline = "middle";
    if (!this.frames.length) {
      context.fillStyle = color("quiet");
      context.fillText("Nothing to show.", 12, 24);
      return;
    }
    const from = this.box.scrollTop;
    context.translate(0, -from);
    for (const frames of this.byDepth) {
      const y = this.upright ? this.height - (frames[0].depth + 1) * ROW : frames[0].depth * ROW;
      if (y + ROW >= from && y <= from + seen) {
        frames.forEach((frame) => this.drawFrame(context, frame));
      }
    }
    this.drawFocus(context);
  }

  drawFrame(context, frame) {
    const place = this.place(frame);
    if (!place || place.width < NARROWEST) {
      return;
    }
    const { x, y, width } = place;
    const found = this.matches && frame.parent && this.matches(frame.name);
    context.globalAlpha = frame.depth < this.top.depth || (this.matches && !found) ? 0.45 : 1;
    context.fillStyle = found ? color("found") : this.fill(frame);
    context.fillRect(x, y, width > GAP_FROM ? width - 0.6 : width, ROW - 1);
    if (width > TEXT_FROM) {
      context.fillStyle = found ? color("on-found") : color("text");
      context.save();
      context.beginPath();
      context.rect(x, y, width - 4, ROW);
      context.clip();
      context.fillText(frame.name, x + 5, y + ROW / 2);
      context.restore();
    }
    context.globalAlpha = 1;
  }

  fill(frame) {
    return this.both && frame.parent && frame.kind !== "pruned" ? ofChange(frame.change) : ofFrame(frame);
  }

  drawFocus(context) {
    const place = this.place(this.at);
    if (document.activeElement === this.box && place) {
      context.strokeStyle = color("accent");
      context.lineWidth = 2;
      context.strokeRect(place.x + 1, place.y, Math.max(place.width - 2, 2), ROW - 1);
    }
  }

  /** The frame at a place of the screen. */
  find(event) {
    const bounds = this.canvas.getBoundingClientRect();
    const y = event.clientY - bounds.top + this.box.scrollTop;
    const x = event.clientX - bounds.left;
    const row = Math.floor((this.upright ? this.height - y : y) / ROW);
    return this.byDepth?.[row]?.find((frame) => {
      const place = this.place(frame);
      return place && x >= place.x && x < place.x + place.width;
    });
  }

  click(event) {
    const frame = this.frames.length && this.find(event);
    if (frame) {
      this.at = frame;
      this.zoomed(path(frame));
    }
  }

  hover(event) {
    const frame = this.frames.length && this.find(event);
    return frame ? tip(event, this.words(frame)) : hideTip();
  }

  /** What is to be said of a frame, in lines. */
  words(frame) {
    const all = this.frames[0].total;
    const side = (of, at) => `${amount(of[at], this.unit)}, ${percent(of[at] / all[at])}`;
    const name = ["kernel", "inlined"].includes(frame.kind) ? `${frame.name} (${frame.kind})` : frame.name;
    if (!this.both) {
      return [name, `${side(frame.total, 0)} of all`, `itself ${side(frame.own, 0)}`];
    }
    const change = frame.total[0] / all[0] - frame.total[1] / all[1];
    return [name, `now ${side(frame.total, 0)}`, `before ${side(frame.total, 1)}`, `${points(change)} points`];
  }

  key(event) {
    if (!this.frames.length || event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const outward = this.upright ? "ArrowDown" : "ArrowUp";
    const inward = this.upright ? "ArrowUp" : "ArrowDown";
    const moves = {
      [outward]: () => this.at.parent,
      [inward]: () => widest(this.at.children),
      ArrowLeft: () => this.beside(-1),
      ArrowRight: () => this.beside(1),
      Home: () => this.top,
    };
    const zooms = {
      Enter: () => this.at,
      Backspace: () => this.top.parent ?? this.top,
      Escape: () => this.frames[0],
    };
    if (moves[event.key]) {
      event.preventDefault();
      this.move(moves[event.key]());
    } else if (zooms[event.key]) {
      event.preventDefault();
      this.zoomed(path(zooms[event.key]()));
    }
  }

  /** The next frame of the same depth, to one side. */
  beside(step) {
    const frames = this.byDepth[this.at.depth];
    return frames[frames.indexOf(this.at) + step];
  }

  move(frame) {
    const place = frame && this.place(frame);
    if (!place) {
      return;
    }
    this.at = frame;
    const { scrollTop, clientHeight } = this.box;
    if (place.y < scrollTop) {
      this.box.scrollTop = place.y;
    } else if (place.y + ROW > scrollTop + clientHeight) {
      this.box.scrollTop = place.y + ROW - clientHeight;
    }
    byId("flame-said").textContent = this.words(frame).join(" · ");
    this.draw();
  }
}

function widest(frames) {
  return frames.reduce((best, frame) => (best && best.x1 - best.x0 >= frame.x1 - frame.x0 ? best : frame), null);
}
