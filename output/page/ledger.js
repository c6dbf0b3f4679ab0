// The account of what is shown: what was expected, got and lost, of each range.

import { byId, element } from "./dom.js";

export function showLedger({ sides }) {
  const lost = sides.reduce((sum, { ledger }) => sum + ledger.lost, 0);
  const words = sides.map(({ ledger }) => ledger.summary);
  byId("ledger").classList.toggle("lost", lost > 0);
  byId("ledger-summary").textContent = `Samples: ${words.join(" — before: ")}`;
  byId("ledger-rows").replaceChildren(
    element("tbody", {}, ...sides.flatMap((side, at) => rows(side, sides.length > 1 ? ["now", "before"][at] : ""))),
  );
  const comments = sides.flatMap((side) => side.comments);
  byId("comments").replaceChildren(...comments.map((line) => element("li", {}, line)));
}

export function clearLedger() {
  byId("ledger-summary").textContent = "";
  byId("ledger-rows").replaceChildren();
  byId("comments").replaceChildren();
}

function rows({ ledger }, side) {
  return ledger.rows.map(({ name, kind, count, meaning }) =>
    element(
      "tr",
      { className: kind === "lost" && count > 0 ? "lost" : "" },
      ...(side ? [element("td", {}, side)] : []),
      element("td", {}, kind),
      element("td", { className: "number" }, count.toLocaleString("en")),
      element("th", { scope: "row" }, name),
      element("td", {}, meaning),
    ),
  );
}
