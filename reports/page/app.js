// Sorting and searching of the table of all cells, and drawings enlarged. Values enter the page as text
// only, never as HTML.
"use strict";
for (const box of document.querySelectorAll(".cells")) {
  const PAGE = 100;
  const { columns, data } = JSON.parse(box.querySelector("script.data").textContent);
  const numeric = [...box.querySelectorAll("th")].map((head) => head.className === "num");
  const form = box.querySelector("form");
  const body = box.querySelector("tbody");
  const status = box.querySelector(".shown");
  const more = box.querySelector(".more");
  const at = new Map(columns.map((name, i) => [name, i]));
  let order = { column: -1, sign: 1 };
  let limit = PAGE;

  const format = (value) => {
    if (value === null) return "–";
    if (typeof value !== "number" || Number.isInteger(value)) return String(value);
    return Math.abs(value) >= 1e-3 && Math.abs(value) < 1e6
      ? String(Number(value.toPrecision(3))) : value.toExponential(2);
  };

  // A word is looked for anywhere; name=value, as in an override, in that column alone.
  const matches = (row, word) => {
    const [name, value] = word.split("=");
    return value !== undefined && at.has(name)
      ? String(row[at.get(name)] ?? "").toLowerCase() === value
      : row.some((v) => v !== null && String(v).toLowerCase().includes(word));
  };
  const chosen = () => {
    const words = form.elements.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    return data.filter((row) => words.every((word) => matches(row, word)));
  };

  const compare = (a, b) => {
    const [x, y] = [a[order.column], b[order.column]];
    if (x === null || y === null) return (x === null) - (y === null); // nothing goes last, both ways
    return order.sign * (typeof x === "number" ? x - y : String(x).localeCompare(String(y)));
  };

  const show = () => {
    const rows = chosen();
    if (order.column >= 0) rows.sort(compare);
    body.replaceChildren(...rows.slice(0, limit).map((row) => {
      const line = document.createElement("tr");
      row.forEach((value, i) => {
        const cell = line.insertCell();
        cell.textContent = format(value);
        if (numeric[i]) cell.className = "num";
      });
      const state = row[at.get("status")];
      if (state !== "ok") line.className = "failed";
      return line;
    }));
    status.textContent = rows.length === data.length
      ? `${rows.length} cells` : `${rows.length} of ${data.length} cells`;
    more.hidden = rows.length <= limit;
  };

  for (const head of box.querySelectorAll("th")) {
    head.querySelector("button").addEventListener("click", () => {
      const column = at.get(head.dataset.column);
      order = { column, sign: order.column === column ? -order.sign : 1 };
      for (const other of box.querySelectorAll("th")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", order.sign > 0 ? "ascending" : "descending");
      show();
    });
  }
  form.addEventListener("input", () => { limit = PAGE; show(); });
  form.addEventListener("reset", () => setTimeout(() => { limit = PAGE; show(); }));
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => { limit += 5 * PAGE; show(); });
  show();
}

const large = document.querySelector("dialog.large");
const enlarge = (figure) => {
  large.querySelector("div").replaceChildren(figure.querySelector("svg").cloneNode(true));
  large.setAttribute("aria-label", figure.querySelector("h3").textContent);
  large.showModal();
};
for (const figure of document.querySelectorAll("figure")) {
  figure.querySelector(".drawing").addEventListener("click", () => enlarge(figure));
  figure.querySelector(".enlarge").addEventListener("click", () => enlarge(figure));
}
large.querySelector(".close").addEventListener("click", () => large.close());
large.addEventListener("click", (event) => { if (event.target === large) large.close(); });
