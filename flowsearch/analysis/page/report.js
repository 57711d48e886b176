"use strict";

const read = (id) => JSON.parse(document.getElementById(id).textContent);

// Figures turn with the system's light or dark setting.
const templates = read("templates");
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const hover = window.matchMedia("(hover: hover)").matches ? "hover" : false;
const config = { responsive: true, displaylogo: false, displayModeBar: hover, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };

function draw() {
  for (const place of document.querySelectorAll(".plot")) {
    const figure = read(place.dataset.figure);
    const layout = { ...figure.layout, template: templates[dark.matches ? "dark" : "light"] };
    Plotly.react(place, figure.data, layout, config);
  }
}
draw();
dark.addEventListener("change", draw);

// The table of trials: a click on a head sorts, the field filters by words.
function setUpTable(table) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...body.rows];
  const words = rows.map((row) => [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase());
  const field = document.getElementById("filter");
  const count = document.getElementById("count");

  // Numbers by size, the rest by name; empty cells come last either way.
  function compare(a, b, column, sign) {
    const [x, y] = [a.cells[column].dataset.v, b.cells[column].dataset.v];
    if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
    const numeric = heads[column].classList.contains("n");
    return sign * (numeric ? Number(x) - Number(y) : x.localeCompare(y));
  }

  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const first = head.dataset.first || "ascending";
      const next = now === null ? first : now === "ascending" ? "descending" : "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      body.append(...[...body.rows].sort((a, b) => compare(a, b, column, sign)));
    });
  });

  function filter() {
    const asked = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, i) => {
      row.hidden = !asked.every((word) => words[i].includes(word));
      shown += !row.hidden;
    });
    count.textContent = `${shown} of ${rows.length} shown`;
  }
  field.addEventListener("input", filter);
  filter();
}

const table = document.querySelector(".trials table");
if (table) setUpTable(table);
