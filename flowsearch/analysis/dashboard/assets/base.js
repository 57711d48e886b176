"use strict";

// What is filtered, sorted, selected and chosen, and its way into the address. address.py reads the same query.
window.flowsearch = (() => {
  const here = { state: null, where: null, mode: "light", drawn: {}, asked: {}, left: {}, total: null, shown: null };

  // Whether the component was there: between two pages its element may outlive what Dash knows of it.
  function set(id, props) {
    try {
      window.dash_clientside.set_props(id, props);
      return true;
    } catch {
      return false;
    }
  }

  function shortened(ids) {
    const runs = [];
    for (const id of ids) {
      const run = runs[runs.length - 1];
      const last = run && run[run.length - 1];
      const numbers = last && /^[0-9]+$/.test(last) && /^[0-9]+$/.test(id) && last.length === id.length;
      if (numbers && Number(id) === Number(last) + 1) run.push(id);
      else runs.push([id]);
    }
    return runs.map((run) => (run.length === 1 ? run[0] : `${run[0]}-${run[run.length - 1]}`)).join(",");
  }

  function query(state) {
    const said = new URLSearchParams();
    if (state.filter && Object.keys(state.filter).length) said.set("filter", JSON.stringify(state.filter));
    if (state.sort && state.sort.length) said.set("sort", state.sort.map((one) => one.join(":")).join(","));
    if (state.select) said.set("select", `${state.select.figure}:${shortened(state.select.ids)}`);
    if (state.compare && state.compare.length) said.set("compare", shortened(state.compare));
    const text = said.toString();
    return text ? `?${text}` : "";
  }

  function written(state) {
    const url = location.pathname + query(state) + location.hash;
    if (url !== location.pathname + location.search + location.hash) history.replaceState(history.state, "", url);
  }

  const pathOf = (page) => {
    const base = here.where.base === "/" ? "" : here.where.base;
    return page === "overview" ? base || "/" : `${base}/${page}`;
  };

  // The links of the frame lead to other pages with the same state.
  function linked() {
    const { state, where } = here;
    const study = where.page !== "index";
    document.getElementById("tabs").hidden = !study;
    for (const page of ["overview", "trials", "figures", "compare"]) {
      set(`to-${page}`, { href: study ? pathOf(page) + query(state) : "/" });
      const link = document.getElementById(`to-${page}`);
      if (!link) continue;
      link.classList.toggle("current", where.page === page);
      if (where.page === page) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    const compare = document.getElementById("compare-chosen");
    if (compare) {
      const many = state.compare.length;
      set("compare-chosen", {
        href: pathOf("compare") + query(state),
        children: `Compare ${many} trials`,
        className: many > 1 ? "button" : "button hidden",
      });
    }
  }

  // A figure's name for people: its section's heading, where it is on this page.
  function titleOf(figure) {
    const place = document.querySelector(`[data-plot="${CSS.escape(figure)}"]`);
    const section = place && place.closest("section");
    return section ? section.querySelector("h2").textContent.toLowerCase() : figure.replaceAll("-", " ").replace(/ [0-9]+$/, "");
  }

  // Above the table: how many trials are shown, and why.
  function counted() {
    const place = document.getElementById("shown-count");
    if (!place || !here.state || here.total === null) return; // the table says how many, soon
    const { select, filter } = here.state;
    const filters = Object.keys(filter || {}).length;
    const all = here.total;
    const count = here.shown === null ? all : here.shown.length;
    const why = [];
    if (select) why.push(`${select.ids.length} selected in ${titleOf(select.figure)}`);
    if (filters) why.push(filters === 1 ? "1 column filtered" : `${filters} columns filtered`);
    place.textContent = why.length ? `${count} of ${all} trials: ${why.join(", ")}` : `${all} trials`;
    document.getElementById("clear-selection").hidden = !select;
    document.getElementById("clear-filters").hidden = !filters;
  }

  const grid = () => window.dash_ag_grid && window.dash_ag_grid.getApi && document.getElementById("grid") ? window.dash_ag_grid.getApi("grid") : null;

  function changed(state, { redraw = true } = {}) {
    here.state = state;
    written(state);
    linked();
    const api = redraw ? grid() : null;
    if (api) api.onFilterChanged();
    counted();
    plotsWanted();
  }

  // Figures ------------------------------------------------------------------------------------------------------
  const inView = new Set();
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        const name = entry.target.dataset.plot;
        if (entry.isIntersecting) inView.add(name);
        else inView.delete(name);
      }
      plotsWanted();
    },
    { rootMargin: "200px" },
  );

  function painted() {
    const first = document.getElementById("first");
    if (first) first.remove();
    for (const place of document.querySelectorAll("[data-plot]")) watcher.observe(place);
  }

  const limited = () => here.state && (here.state.select || Object.keys(here.state.filter || {}).length);

  function idsFor(name) {
    if (!document.getElementById("grid") || !limited()) return null;
    if (here.state.select && here.state.select.figure === name) return null; // it keeps what can be selected in it
    return here.shown;
  }

  function plotsWanted() {
    if (!here.where || !here.state) return;
    if (document.getElementById("grid") && limited() && here.shown === null) return; // the table says which, soon
    for (const place of document.querySelectorAll("[data-plot]")) {
      const name = place.dataset.plot;
      const empty = place.classList.contains("empty-plot");
      if (!inView.has(name) && !empty) continue;
      const ids = idsFor(name);
      const asking = `${here.where.pathname} ${here.version} ${ids === null ? "all" : ids.join()}`;
      if (here.asked[name] === asking) continue;
      const digest = (here.drawn[name] || {}).digest || "";
      if (set({ type: "plot-want", name }, { data: { ids, digest, asking } })) here.asked[name] = asking;
    }
  }

  // Live ---------------------------------------------------------------------------------------------------------
  const FIGURES_SECONDS = 10; // all figures of a large study are not drawn again more often than this
  let figuresAt = 0;
  let later;

  // Without a version the study is gone.
  function grown(version, status) {
    here.version = version;
    badge(status);
    if (!version || document.querySelector("[data-reload]")) {
      here.where.search = location.search; // the same page, which stays where it is
      set("again", { data: location.search });
      return;
    }
    for (const id of ["grid", "chosen"]) if (document.getElementById(id)) set(`${id}-want`, { data: version });
    const wait = here.where.page === "figures" ? FIGURES_SECONDS * 1000 - (Date.now() - figuresAt) : 0;
    clearTimeout(later);
    later = setTimeout(() => {
      figuresAt = Date.now();
      for (const place of document.querySelectorAll("[data-live]")) {
        for (const graph of place.querySelectorAll("[data-plot] .js-plotly-plot")) {
          const name = graph.closest("[data-plot]").dataset.plot;
          if (here.drawn[name]) here.left[name] = { layout: graph.layout, figure: here.drawn[name].figure };
        }
        set({ type: "live-want", name: place.dataset.live }, { data: version });
      }
      plotsWanted();
    }, Math.max(0, wait));
  }

  // A live section has other content: figures in it are places again, until they are drawn.
  function renewed(name) {
    setTimeout(() => {
      for (const place of document.querySelectorAll(`[data-live="${name}"] [data-plot].waiting`)) {
        delete here.asked[place.dataset.plot];
        delete here.drawn[place.dataset.plot];
        watcher.observe(place);
      }
      plotsWanted();
    }, 0);
  }

  function badge(status) {
    const place = document.getElementById("study-state");
    place.textContent = status || "";
    place.className = status ? `badge ${status.replace(" ", "-")}` : "";
  }

  // Nothing is drawn again under the hands of somebody who types: a page that is made again takes the cursor.
  const TYPING_SECONDS = 5;
  let typed = 0;
  document.addEventListener("keydown", () => (typed = Date.now()), true);

  let busy = false;
  async function poll() {
    if (busy || !here.where || document.hidden || Date.now() - typed < TYPING_SECONDS * 1000) return;
    if (here.where.page === "nowhere" && !document.querySelector("[data-reload]")) return;
    busy = true;
    try {
      const { where } = here;
      const asked = new URLSearchParams({ study: where.study, known: here.version || "" });
      const answer = await fetch(`/poll?${asked}`, { cache: "no-store" });
      document.body.classList.toggle("lost", !answer.ok);
      if (answer.status === 200) {
        const { version, status, several } = await answer.json();
        if (where !== here.where) return;
        if (several !== where.several) location.assign("/"); // one study is now a folder of them, or the reverse
        else grown(version, status);
      }
    } catch {
      document.body.classList.add("lost");
    } finally {
      busy = false;
    }
  }
  setInterval(poll, 2000);
  document.addEventListener("visibilitychange", poll);

  // A new page, or the same with another state.
  function arrived(where, state) {
    const moved = !here.where || here.where.pathname !== where.pathname || here.where.search !== where.search;
    here.where = where;
    here.version = where.version;
    here.drawn = {};
    here.asked = {};
    here.left = {};
    here.shown = null;
    here.total = null;
    here.pointedIn = "";
    inView.clear();
    watcher.disconnect();
    if (document.getElementById("grid")) set("grid-want", { data: where.version });
    // After the page has been painted.
    setTimeout(() => requestAnimationFrame(() => setTimeout(painted, 0)), 0);
    const title = document.getElementById("title");
    title.textContent = where.name;
    const page = { index: "Studies", trial: `Trial ${where.trial}`, nowhere: "Nothing here" }[where.page];
    const named = page || where.page[0].toUpperCase() + where.page.slice(1);
    document.title = where.page === "index" ? "Studies, flowsearch" : `${named}, ${where.name}`;
    badge(where.status);
    changed(state);
    const anchor = location.hash && document.getElementById(location.hash.slice(1));
    if (anchor) {
      anchor.scrollIntoView();
    } else if (moved && here.before) {
      window.scrollTo(0, 0);
      document.getElementById("page").focus({ preventScroll: true });
    }
    here.before = true;
    return document.title;
  }

  return { here, set, changed, counted, plotsWanted, renewed, arrived, grid };
})();
