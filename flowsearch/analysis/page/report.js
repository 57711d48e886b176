"use strict";

const read = (id) => JSON.parse(document.getElementById(id).textContent);

// Figures turn with the system's light or dark setting.
const templates = read("templates");
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const hover = window.matchMedia("(hover: hover)").matches ? "hover" : false;
const config = { responsive: true, displaylogo: false, showSendToCloud: false, displayModeBar: hover, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };

function draw(place) {
  const figure = place.figure ?? (place.figure = read(place.dataset.figure));
  const layout = { ...figure.layout, selections: place.layout?.selections, template: templates[dark.matches ? "dark" : "light"] };
  Plotly.react(place, kept(place, figure), layout, config);
  if (figure.layout.meta?.brushed && !place.brush) setUpBrush(place);
}

// A figure is drawn when it comes near to what is seen, or to paper.
const places = [...document.querySelectorAll(".plot")];
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    watcher.unobserve(target);
    draw(target);
  }
}, { rootMargin: "800px" });
for (const place of places) watcher.observe(place);
dark.addEventListener("change", () => places.filter((place) => place.figure).forEach(draw));
window.addEventListener("beforeprint", () => places.filter((place) => !place.figure).forEach(draw));

// Parallel coordinates: boxes over axes keep the trials whose lines pass through one on each axis that has any.
let chosen = null;

function setUpBrush(place) {
  place.brush = { trials: null };
  place.on("plotly_selected", (event) => {
    const byAxis = new Map();
    for (const { x, customdata } of event?.points ?? []) {
      if (!byAxis.has(x)) byAxis.set(x, new Set());
      byAxis.get(x).add(customdata);
    }
    const sets = [...byAxis.values()];
    choose(place, sets.length ? new Set([...sets[0]].filter((id) => sets.every((set) => set.has(id)))) : null);
  });
  place.on("plotly_deselect", () => choose(place, null));
}

function choose(place, trials) {
  place.brush.trials = chosen = trials;
  draw(place);
  document.dispatchEvent(new Event("chosen"));
}

// A figure's traces; those of a brushed one twice, the trials that were not chosen faintly below.
function kept(place, figure) {
  const trials = place.brush?.trials;
  if (!trials) return figure.data;
  const part = (trace, inside) => {
    const y = Array.from(numbers(trace.y), (value, i) => (trials.has(trace.customdata[i]) === inside ? value : NaN));
    return { ...trace, y, selectedpoints: undefined, ...(inside ? { opacity: 0.9 } : { opacity: 0.05, showlegend: false, hoverinfo: "skip", hovertemplate: null }) };
  };
  return [false, true].flatMap((inside) => figure.data.map((trace) => part(trace, inside)));
}

// What Python writes as base64.
function numbers(values) {
  if (!values.bdata) return values;
  const bytes = Uint8Array.from(atob(values.bdata), (letter) => letter.charCodeAt(0));
  return new { f4: Float32Array, f8: Float64Array, i4: Int32Array }[values.dtype](bytes.buffer);
}

// The table of trials: a click on a head sorts, the field filters by words, and so does a brush.
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
      row.hidden = !asked.every((word) => words[i].includes(word)) || (chosen !== null && !chosen.has(row.cells[0].dataset.v));
      shown += !row.hidden;
    });
    count.textContent = `${shown} of ${rows.length} shown${chosen === null ? "" : `, ${chosen.size} selected in parallel coordinates`}`;
  }
  field.addEventListener("input", filter);
  document.addEventListener("chosen", filter);
  filter();
}

const table = document.querySelector(".trials table");
if (table) setUpTable(table);
