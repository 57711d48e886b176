"use strict";

// The functions that app.py names as callbacks of the browser's own.
window.dash_clientside = window.dash_clientside || {};
window.dash_clientside.flowsearch = (() => {
  const own = window.flowsearch;
  const here = own.here;
  const none = () => window.dash_clientside.no_update;
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  const cause = () => window.dash_clientside.callback_context.triggered[0] || {};

  function update(part) {
    if (!here.state) return none();
    const next = { ...here.state, ...part };
    if (same(next, here.state)) return none();
    own.changed(next);
    return next;
  }

  // A figure that was not the one in which trials are selected shows no selection of its own.
  function look(figure, name, template) {
    const select = here.state && here.state.select;
    const source = select && select.figure === name;
    const ids = source ? new Set(select.ids) : null;
    if (source && (figure.layout.meta || {}).brushed) return brushed(figure, ids, template);
    const data = figure.data.map((trace) => {
      if (!source || !trace.customdata || !(trace.mode || "").includes("markers")) return trace;
      const points = trace.customdata.map((one, place) => [Array.isArray(one) ? one[0] : one, place]);
      return { ...trace, selectedpoints: points.filter(([id]) => ids.has(id)).map(([, place]) => place) };
    });
    return { data, layout: { ...figure.layout, template, uirevision: "kept" } };
  }

  // Parallel coordinates: the lines of trials that are not selected stay, faintly, below the others.
  function brushed(figure, ids, template) {
    const part = (trace, inside) => {
      const y = Array.from(numbers(trace.y), (value, place) => (ids.has(trace.customdata[place]) === inside ? value : null));
      const quiet = { opacity: 0.05, showlegend: false, hoverinfo: "skip", hovertemplate: null };
      return { ...trace, y, ...(inside ? { opacity: 0.9 } : quiet) };
    };
    const lines = figure.data.filter((trace) => trace.customdata);
    const others = figure.data.filter((trace) => !trace.customdata);
    const data = [...lines.map((trace) => part(trace, false)), ...lines.map((trace) => part(trace, true)), ...others];
    return { data, layout: { ...figure.layout, template, uirevision: "kept" } };
  }

  // Numbers that Python wrote as base64.
  function numbers(values) {
    if (!values || !values.bdata) return values || [];
    const bytes = Uint8Array.from(atob(values.bdata), (letter) => letter.charCodeAt(0));
    return new { f4: Float32Array, f8: Float64Array, i4: Int32Array, i2: Int16Array, i1: Int8Array }[values.dtype](bytes.buffer);
  }

  // What a person has done to the figure before it is drawn again: dcc.Graph takes it into its layout, where Plotly's
  // own memory of it (uirevision) does not find it.
  function kept(figure, now, before, name) {
    const layout = { ...figure.layout };
    for (const key of Object.keys(now)) {
      if (!/^[xy]axis[0-9]*$/.test(key) || !now[key].range) continue;
      const was = (before && before.layout[key]) || {};
      const zoomed = was.range ? !same(was.range, now[key].range) : now[key].autorange === false;
      if (zoomed) layout[key] = { ...layout[key], range: now[key].range, autorange: false };
    }
    if (now.dragmode) layout.dragmode = now.dragmode;
    const select = here.state && here.state.select;
    layout.selections = select && select.figure === name ? now.selections || [] : [];
    return { ...figure, layout };
  }

  // Plotly is read once there is a figure, however long that takes: its own component gives up after half a minute, and
  // shows nothing until the page is loaded again.
  let reading = null;
  function plotly() {
    const ask = (done) => {
      const script = document.createElement("script");
      script.src = window._dashPlotlyJSURL;
      script.onload = done;
      script.onerror = () => setTimeout(() => ask(done), 2000);
      document.head.append(script);
    };
    return (reading ||= new Promise(ask));
  }

  // The first time the figure's component itself is made, so that Plotly is not loaded before there is a figure.
  function draw(drawn, mode, templates, graph, id) {
    here.mode = mode;
    if (!drawn) return [none(), none()];
    const before = here.drawn[id.name];
    here.drawn[id.name] = drawn;
    const slot = document.querySelector(`[data-plot="${id.name}"] .graph`);
    if (drawn.html) {
      if (slot) slot.innerHTML = drawn.html; // figures/grid.py escapes it, and the page's policy runs no script in it
      return [none(), "plot"];
    }
    if (!drawn.figure) return [none(), "plot empty-plot"];
    // Plotly's component takes no name. A screen reader hears this one, as in the report, instead of every tick.
    if (slot) {
      slot.setAttribute("role", "img");
      slot.setAttribute("aria-label", drawn.spoken);
    }
    const figure = look(drawn.figure, id.name, templates[mode]);
    const own_id = { type: "plot", name: id.name };
    const place = document.querySelector(`[data-plot="${id.name}"] .js-plotly-plot`);
    if (place && place.layout) {
      own.set(own_id, { figure: kept(figure, place.layout, before && before.figure, id.name) });
      return [none(), "plot"];
    }
    // The first of several tasks was the only one before.
    const left = here.left[id.name] || here.left[id.name.replace(/-1$/, "")];
    const made = left ? kept(figure, left.layout, left.figure, id.name) : figure;
    const height = `${figure.layout.height || figure.layout.template.layout.height}px`;
    const least = figure.layout.meta?.min_width;
    const style = { height, ...(least ? { minWidth: `${least}px` } : {}) };
    return plotly().then(() => [{ ...graph, props: { ...graph.props, id: own_id, figure: made, style } }, "plot"]);
  }

  // Draw a figure as it is selected now.
  function again(name) {
    if (here.drawn[name]) setTimeout(() => own.set({ type: "plot-data", name }, { data: { ...here.drawn[name] } }), 0);
  }

  // The trials of the points; in parallel coordinates those whose lines pass the boxes of every axis that has any.
  function passing(points, byAxis) {
    const sets = new Map();
    for (const point of points) {
      const id = Array.isArray(point.customdata) ? point.customdata[0] : point.customdata;
      if (typeof id !== "string") continue;
      const axis = byAxis ? point.x : 0;
      if (!sets.has(axis)) sets.set(axis, new Set());
      sets.get(axis).add(id);
    }
    const all = [...sets.values()];
    return all.length ? [...all[0]].filter((id) => all.every((set) => set.has(id))) : [];
  }

  function pointed() {
    const { prop_id: prop, value } = cause();
    if (!prop || !here.state) return none();
    const name = JSON.parse(prop.slice(0, prop.lastIndexOf("."))).name;
    const select = here.state.select;
    const ids = passing((value && value.points) || [], Boolean(((here.drawn[name] || {}).figure || { layout: {} }).layout.meta?.brushed));
    if (ids.length) {
      here.pointedIn = name;
      const next = update({ select: { figure: name, ids: ids.sort() } });
      if (here.drawn[name]?.figure?.layout.meta?.brushed) again(name);
      return next;
    }
    // A figure that is drawn for the first time says so too; it lets go only of what was selected in it since.
    if (!select || select.figure !== name || here.pointedIn !== name) return none();
    const next = update({ select: null });
    again(name);
    return next;
  }

  function sorted(columns) {
    const sort = (columns || [])
      .filter((one) => one.sort)
      .sort((a, b) => (a.sortIndex || 0) - (b.sortIndex || 0))
      .map((one) => [one.colId, one.sort]);
    return same(sort, here.where && here.where.order) ? [] : sort;
  }

  function tabled(filter, columns, selected) {
    const part = { filter: filter || {} };
    if (columns) part.sort = sorted(columns);
    if (Array.isArray(selected)) part.compare = selected.map((row) => row.trial_id);
    return update(part);
  }

  function counted(rows) {
    const api = own.grid();
    let total = 0;
    if (api) api.forEachNode(() => (total += 1));
    here.total = api ? total : null;
    const ids = (rows || []).map((row) => row.trial_id).sort();
    here.shown = ids;
    own.counted();
    own.plotsWanted();
    return ids.length;
  }

  function unselected(clicks) {
    if (!clicks) return none();
    const source = here.state.select && here.state.select.figure;
    const next = update({ select: null });
    // Drawn again without its box.
    if (source) again(source);
    return next;
  }

  const unfiltered = (clicks) => (clicks ? {} : none());

  // Another choice of trials to compare is another address, to go back from.
  function chosen(ids) {
    if (!here.state || same(ids || [], here.state.compare)) return none();
    const said = new URLSearchParams(location.search);
    if (ids && ids.length) said.set("compare", ids.join());
    else said.delete("compare");
    const text = said.toString();
    return text ? `?${text}` : "";
  }

  const renewed = (seen, id) => own.renewed(id.name);

  return { renewed, arrived: (where, state) => (where && state ? own.arrived(where, state) : none()), draw, pointed, tabled, counted, unselected, unfiltered, chosen };
})();

// Figures turn with the system's light or dark setting.
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const turn = () => window.flowsearch.set("mode", { data: dark.matches ? "dark" : "light" });
  dark.addEventListener("change", turn);
  const start = setInterval(() => {
    if (!document.getElementById("frame")) return;
    clearInterval(start);
    turn();
  }, 20);
})();
