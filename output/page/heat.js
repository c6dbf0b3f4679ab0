// The heat map of one process: a column is a second, a cell a tenth of it. Drawn here, since no library of
// charts has one whose cells are chosen in the order of time, from one in a column to one in another.

import { byId, color, fit, hideTip, tip } from "./dom.js";
import { amount, moment } from "./format.js";

/** Milliseconds of a cell, and cells of a column. */
export const CELL = 100;
const CELLS = 10;
const ROW = 13;
const COLUMN = 4;
const WIDEST = 24;
const MOST_SECONDS = 600;

export class Heat {
  /** `chosen` is told the range that was marked. */
  constructor(chosen) {
    this.canvas = byId("heat");
    this.chosen = chosen;
    this.canvas.addEventListener("pointerdown", (event) => this.press(event));
    this.canvas.addEventListener("pointermove", (event) => this.drag(event));
    this.canvas.addEventListener("pointerup", () => this.release());
    this.canvas.addEventListener("pointerleave", hideTip);
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("focus", () => this.draw());
    this.canvas.addEventListener("blur", () => this.draw());
  }

  /** How many seconds there is room for. */
  static seconds() {
    const room = Math.floor(byId("heat-room").clientWidth / COLUMN);
    return Math.max(10, Math.min(MOST_SECONDS, room));
  }

  /** Shows an answer, with the range that is chosen marked. */
  show(answer, range) {
    this.answer = answer;
    this.sums = answer.rows[0]?.sums ?? [];
    this.most = Math.max(1, ...this.sums);
    this.steps = this.sums.length;
    this.from = answer.from_ms;
    this.range = range;
    this.at = Math.min(this.at ?? 0, Math.max(0, this.steps - 1));
    this.start = null;
    this.draw();
  }

  clear() {
    this.steps = 0;
    this.draw();
  }

  /** Marks a range. */
  mark(range) {
    this.range = range;
    this.start = null;
    this.draw();
  }

  draw() {
    const columns = Math.max(1, Math.ceil(this.steps / CELLS));
    const room = byId("heat-room").clientWidth;
    this.column = Math.min(WIDEST, Math.max(1, room / columns));
    const context = fit(this.canvas, room, CELLS * ROW);
    if (!this.steps) {
      context.fillStyle = color("quiet");
      context.font = "12px system-ui, sans-serif";
      context.fillText("No process is chosen, or it did nothing here.", 12, 24);
      return;
    }
    const [from, to] = this.marked();
    for (let step = 0; step < this.steps; step += 1) {
      const marked = step >= from && step < to;
      this.drawCell(context, step, marked, marked || from >= to ? 1 : 0.3);
    }
    if (document.activeElement === this.canvas) {
      const [x, y] = this.place(this.at);
      context.strokeStyle = color("text");
      context.lineWidth = 2;
      context.strokeRect(x, y, this.column, ROW);
    }
  }

  drawCell(context, step, marked, strength) {
    const [x, y] = this.place(step);
    const at = this.from + step * CELL;
    const covered = this.answer.covered.some(([from, to]) => at + CELL > from && at < to);
    const gap = this.column > 3 ? 1 : 0;
    context.globalAlpha = 1;
    context.fillStyle = color(marked ? "marked" : covered ? "cell" : "gap");
    context.fillRect(x, y, this.column, ROW);
    if (this.sums[step] > 0) {
      context.globalAlpha = strength * (0.15 + 0.85 * Math.sqrt(this.sums[step] / this.most));
      context.fillStyle = color("heat");
      context.fillRect(x, y, this.column - gap, ROW - 1);
      context.globalAlpha = 1;
    }
  }

  /** Where a step is drawn. */
  place(step) {
    return [Math.floor(step / CELLS) * this.column, (step % CELLS) * ROW];
  }

  /** The step under the pointer. */
  step(event) {
    const bounds = this.canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - bounds.left) / this.column);
    const row = Math.min(CELLS - 1, Math.max(0, Math.floor((event.clientY - bounds.top) / ROW)));
    return Math.min(this.steps - 1, Math.max(0, column * CELLS + row));
  }

  /** The steps that are marked, from one on and before another. */
  marked() {
    if (this.start !== null && this.start !== undefined) {
      return [Math.min(this.start, this.at), Math.max(this.start, this.at) + 1];
    }
    const place = (ms) => Math.round((ms - this.from) / CELL);
    return this.range ? this.range.map(place) : [0, 0];
  }

  press(event) {
    if (this.steps && event.button === 0) {
      this.canvas.setPointerCapture(event.pointerId);
      this.at = this.start = this.step(event);
      this.pressed = true;
      this.draw();
    }
  }

  drag(event) {
    if (!this.steps) {
      return;
    }
    const step = this.step(event);
    if (this.pressed) {
      this.at = step;
      this.draw();
    }
    tip(event, this.words(step));
  }

  release() {
    if (this.pressed) {
      this.pressed = false;
      this.choose();
    }
  }

  choose() {
    const [from, to] = this.marked();
    this.chosen([this.from + from * CELL, this.from + to * CELL]);
  }

  words(step) {
    return [moment(this.from + step * CELL), amount(this.sums[step], this.answer.type.unit)];
  }

  key(event) {
    const steps = { ArrowUp: -1, ArrowDown: 1, ArrowLeft: -CELLS, ArrowRight: CELLS }[event.key];
    if (!this.steps || event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    if (steps) {
      event.preventDefault();
      this.start = event.shiftKey ? (this.start ?? this.at) : null;
      this.at = Math.min(this.steps - 1, Math.max(0, this.at + steps));
      byId("heat-said").textContent = this.words(this.at).join(" · ");
      this.draw();
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.start ??= this.at;
      this.choose();
    }
  }
}
