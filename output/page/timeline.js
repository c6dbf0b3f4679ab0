// The timeline: stacked areas, drawn by uPlot; gaps where the store has no window.

import uPlot from "./vendor/uPlot.esm.js";
import { ofSeries } from "./colors.js";
import { byId, color, element } from "./dom.js";
import { amount, clock, digits, moment } from "./format.js";

const HEIGHT = 210;

/** Two steps on each pixel are no use, and the store has a cost for each. */
const PIXELS_A_STEP = 3;

/** A step is drawn from its beginning to almost that of the next, in milliseconds: uPlot's own steps end
 *  where the last before a gap begins, so that one between two gaps would not be seen. */
const EDGE = 0.001;

/** What the height of an area is, by the unit of what is summed. */
const HEIGHTS = { nanoseconds: "threads at a time", count: "events a second", bytes: "bytes a second" };

/** Lengths of a step, in milliseconds. */
const STEPS = [100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 3e4, 6e4, 12e4, 3e5, 6e5, 12e5, 18e5, 36e5, 72e5, 216e5, 432e5, 864e5];

export class Timeline {
  /** `chosen` is told the range that was dragged over, `only` the value that was clicked. */
  constructor(chosen, only) {
    this.box = byId("timeline");
    this.chosen = chosen;
    this.only = only;
    new ResizeObserver(() => this.resize()).observe(this.box);
  }

  /** How long a step should be for a range. */
  step([from, to]) {
    const steps = Math.max(40, this.box.clientWidth / PIXELS_A_STEP);
    return STEPS.find((step) => (to - from) / step <= steps) ?? STEPS[STEPS.length - 1];
  }

  /** Shows an answer, with ranges marked on it. */
  show(answer, view, marks) {
    this.answer = answer;
    this.view = view;
    this.marks = marks;
    this.series = series(answer);
    byId("timeline-said").textContent = `In ${HEIGHTS[answer.type.unit]}. Drag to choose a range.`;
    this.build();
    this.list(null);
  }

  clear() {
    this.plot?.destroy();
    this.plot = null;
    byId("legend").replaceChildren();
  }

  mark(marks) {
    this.marks = marks;
    this.plot?.redraw(false);
  }

  build() {
    this.plot?.destroy();
    const { from_ms: from, step_ms: step } = this.answer;
    const [begin, end] = this.view;
    const width = this.box.clientWidth;
    const drawn = stacked(this.series).reverse();
    const colors = [...this.series].reverse().map((row) => row.color);
    const count = this.series[0]?.sums.length ?? 0;
    const steps = Array.from({ length: count }, (_, at) => from + at * step);
    const times = steps.flatMap((at) => [at, at + step - EDGE]);
    const values = drawn.map((row) => row.flatMap((sum, at) => Array(2).fill(this.known(steps[at]) ? this.perSecond(sum) : null)));
    const axis = { stroke: color("quiet"), grid: { stroke: color("line"), width: 1 }, ticks: { show: false } };
    this.plot = new uPlot({
      width,
      height: HEIGHT,
      ms: 1,
      padding: [8, 30, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
      scales: { x: { time: true, range: () => [begin, end] }, y: { range: (_, __, most) => [0, most > 0 ? most * 1.05 : 1] } },
      series: [{}, ...colors.map((fill) => areas(fill))],
      axes: [
        { ...axis, size: 30, space: 90, values: (_, values) => values.map((at) => tick(at, end - begin)) },
        { ...axis, size: 44, values: (_, values) => values.map(short) },
      ],
      hooks: {
        draw: [(plot) => this.drawMarks(plot)],
        setSelect: [(plot) => this.select(plot)],
        setCursor: [(plot) => this.list(Number.isInteger(plot.cursor.idx) ? plot.cursor.idx >> 1 : null)],
      },
    }, [times, ...values], this.box);
  }

  /** Whether the store has a window in a step. */
  known(at) {
    const { covered, step_ms: step } = this.answer;
    return covered.some(([from, to]) => at + step > from && at < to);
  }

  /** Nanoseconds a nanosecond, which are threads at a time, or events a second. */
  perSecond(sum) {
    const { type, step_ms: step } = this.answer;
    return sum / (type.unit === "nanoseconds" ? step * 1e6 : step / 1000);
  }

  resize() {
    const width = this.box.clientWidth;
    if (this.plot && this.plot.width !== width) {
      this.plot.setSize({ width, height: HEIGHT });
    }
  }

  select(plot) {
    const { left, width } = plot.select;
    if (width > 2) {
      const [from, to] = [left, left + width].map((x) => Math.round(plot.posToVal(x, "x")));
      plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
      this.chosen([from, Math.max(from + 1, to)]);
    }
  }

  /** The chosen range, and the one to compare with. */
  drawMarks({ ctx, bbox, valToPos }) {
    for (const [name, range] of Object.entries(this.marks)) {
      if (range) {
        const [left, right] = range.map((at) => Math.min(bbox.left + bbox.width, Math.max(bbox.left, valToPos(at, "x", true))));
        ctx.save();
        ctx.fillStyle = ctx.strokeStyle = color(name);
        ctx.globalAlpha = 0.16;
        ctx.fillRect(left, bbox.top, Math.max(1, right - left), bbox.height);
        ctx.globalAlpha = 0.9;
        ctx.lineWidth = 2;
        ctx.strokeRect(left, bbox.top, Math.max(1, right - left), bbox.height);
        ctx.restore();
      }
    }
  }

  /** The list below: the sums of the whole, or of the step under the pointer. */
  list(at) {
    const { from_ms: from, step_ms: step, type } = this.answer;
    const unit = type.unit;
    const isKnown = at !== null;
    const rows = this.series.map((row) => {
      const sum = isKnown ? row.sums[at] : row.sums.reduce((all, one) => all + one, 0);
      const swatch = element("span", { className: "swatch" });
      swatch.style.backgroundColor = row.color;
      const words = [swatch, element("span", { className: "name" }, row.name), element("span", { className: "number" }, amount(sum ?? 0, unit))];
      const item = row.value === null
        ? element("span", {}, ...words)
        : element("button", { type: "button", title: "Show only this", onclick: () => this.only(row.value) }, ...words);
      return element("li", {}, item);
    });
    const when = isKnown ? moment(from + at * step) : "in all";
    byId("legend").replaceChildren(...rows, element("li", { className: "when" }, when));
  }
}

/** The rows with their colours, the others last. */
function series({ rows, others }) {
  const colors = ofSeries(rows.map((row) => row.value));
  const named = rows.map(({ value, sums }, at) => ({ name: value || "[none]", value, sums, color: colors[at] }));
  if (others.count > 0) {
    named.push({ name: `${others.count} others`, value: null, sums: others.sums, color: color("others") });
  }
  return named;
}

/** Each row on top of those before it. */
function stacked(rows) {
  let below = rows[0]?.sums.map(() => 0) ?? [];
  return rows.map(({ sums }) => {
    below = below.map((sum, at) => sum + sums[at]);
    return below;
  });
}

/** Areas, the highest first, so that each hides what is below it of the one before. */
function areas(fill) {
  return { fill, width: 0, points: { show: false } };
}

/** A time on the axis: with the day where days are shown, with parts of a second where these are. */
function tick(at, span) {
  const day = new Date(at);
  if (span > 36 * 3600e3) {
    return `${day.getMonth() + 1}-${day.getDate()} ${clock(day).slice(0, 5)}`;
  }
  if (span > 20 * 60e3) {
    return clock(day).slice(0, 5);
  }
  return span > 3000 ? clock(day) : `${clock(day)}.${Math.floor(day.getMilliseconds() / 100)}`;
}

const short = (value) => (value >= 1000 ? `${digits(value / 1000)}k` : value === 0 ? "0" : digits(value));
