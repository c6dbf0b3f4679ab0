// The table of functions.

import { byId, element } from "./dom.js";
import { amount, percent, points } from "./format.js";

const FEW = 40;
const VERDICT_TONES = { grew: "more", shrank: "less" };

export class Top {
  /** `search` is told the name that was clicked. */
  constructor(search) {
    this.search = search;
    this.all = false;
    byId("top-more").addEventListener("click", () => {
      this.all = true;
      this.draw();
    });
  }

  show(answer) {
    this.answer = answer;
    this.both = answer.sides.length > 1;
    this.columns = this.both ? compared(answer) : alone(answer);
    this.by = this.columns[0];
    this.all = false;
    this.draw();
  }

  clear() {
    byId("top").replaceChildren();
    byId("top-more").hidden = true;
    byId("top-said").textContent = "";
  }

  draw() {
    const { rows, left_out: leftOut } = this.answer.functions;
    const sorted = [...rows].sort((a, b) => this.by.order(b) - this.by.order(a));
    const shown = this.all ? sorted : sorted.slice(0, FEW);
    byId("top").replaceChildren(
      element("thead", {}, element("tr", {}, ...this.columns.map((of) => this.head(of)), element("th", { scope: "col" }, "Function"))),
      element("tbody", {}, ...shown.map((row) => this.row(row))),
    );
    byId("top-more").hidden = shown.length === sorted.length;
    byId("top-more").textContent = `Show ${sorted.length}`;
    byId("top-said").textContent = leftOut ? `${leftOut} with less are left out.` : "";
  }

  head(of) {
    const button = element("button", { type: "button", title: of.meaning, onclick: () => this.sort(of) }, of.title);
    const cell = element("th", { scope: "col", className: of.rank ?? "" }, button);
    cell.setAttribute("aria-sort", of === this.by ? "descending" : "none");
    return cell;
  }

  sort(of) {
    this.by = of;
    this.draw();
  }

  row(row) {
    const numbers = this.columns.map((of) => element("td", { className: `${of.tone?.(row) ?? ""} ${of.rank ?? ""}` }, of.text(row)));
    const button = element("button", { type: "button", title: "Search for this", onclick: () => this.search(row.name) }, row.name);
    const kind = ["user", "synthetic"].includes(row.kind) ? [] : [element("span", { className: "kind" }, row.kind)];
    return element("tr", {}, ...numbers, element("td", {}, button, ...kind));
  }
}

function alone({ type: { unit }, tree: { total } }) {
  return [
    ["Self", "What ran in the function itself", "own"],
    ["Total", "With all that it called", "total"],
  ].flatMap(([title, meaning, of]) => [
    { title, meaning, order: (row) => row[of][0], text: (row) => percent(row[of][0] / total[0]) },
    { title: unit === "nanoseconds" ? "Time" : "Count", meaning, rank: "less-so", order: (row) => row[of][0], text: (row) => amount(row[of][0], unit) },
  ]);
}

function compared({ tree: { total } }) {
  const part = (sides, side) => (total[side] > 0 ? sides[side] / total[side] : 0);
  const change = (of) => (row) => part(row[of], 0) - part(row[of], 1);
  const size = (of) => (row) => Math.abs(change(of)(row));
  const columns = [
    ["Self", "The share of the function itself", "own"],
    ["Total", "With all that it called", "total"],
  ].flatMap(([title, meaning, of]) => [
    {
      title: `${title} change`,
      meaning: "In points of a percent",
      order: size(of),
      text: (row) => points(change(of)(row)),
      tone: (row) => (change(of)(row) > 0.0005 ? "more" : change(of)(row) < -0.0005 ? "less" : ""),
    },
    { title: `${title} now`, meaning, rank: "less-so", order: (row) => part(row[of], 0), text: (row) => percent(part(row[of], 0)) },
    { title: `${title} before`, meaning, rank: "less-so", order: (row) => part(row[of], 1), text: (row) => percent(part(row[of], 1)) },
  ]);
  columns.splice(1, 0, {
    title: "Verdict",
    meaning: "grew, shrank: its own time did, measured against the typical function, by more than chance. noise: that may be chance. small: too little to tell",
    order: (row) => Number(["grew", "shrank"].includes(row.verdict)) + size("own")(row),
    text: (row) => row.verdict ?? "",
    tone: (row) => VERDICT_TONES[row.verdict] ?? "unsure",
  });
  return columns;
}
