"use strict";

// What the table of trials calls by name: how a number looks, what is selected, and its look.
(() => {
  const functions = (window.dashAgGridFunctions = window.dashAgGridFunctions || {});
  const components = (window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {});
  const here = window.flowsearch.here;

  const general = (value) => {
    if (Number.isInteger(value)) return String(value);
    const size = Math.abs(value);
    return size >= 1e-4 && size < 1e4 ? String(Number(value.toPrecision(3))) : value.toExponential(2);
  };
  function duration(seconds) {
    const whole = Math.round(seconds);
    if (whole < 60) return `${seconds < 9.95 ? seconds.toFixed(1) : whole} s`;
    const two = (number) => String(number).padStart(2, "0");
    if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
    return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
  }
  function brief(seconds) {
    if (seconds >= 1) return duration(seconds);
    return `${seconds >= 0.00995 ? (1000 * seconds).toFixed(0) : Number((1000 * seconds).toPrecision(2))} ms`;
  }
  // As flowsearch/results/forms.py has them.
  const forms = {
    number: general,
    fine: (value) => String(Number(value.toPrecision(4))),
    decibels: (value) => value.toFixed(2),
    similarity: (value) => value.toFixed(3),
    whole: (value) => value.toLocaleString("en", { maximumFractionDigits: 0 }),
    duration,
    brief,
    memory: (value) => (value >= 1e9 ? `${(value / 1e9).toFixed(2)} GB` : `${(value / 1e6).toFixed(1)} MB`),
    moment: (value) => value.slice(0, 16).replace("T", " "),
  };
  functions.flowsearchForm = (form, value) => (value === null || value === undefined ? "" : forms[form](value));
  functions.flowsearchStatus = (status) => `status ${status}`;
  functions.flowsearchSelecting = () => Boolean(here.state && here.state.select);
  functions.flowsearchSelected = (id) => {
    const select = here.state && here.state.select;
    if (!select) return true;
    if (here.setOf !== select) [here.setOf, here.set] = [select, new Set(select.ids)];
    return here.set.has(id);
  };
  functions.flowsearchKey = (params) => {
    const link = params.event.key === "Enter" && params.event.target.querySelector("a");
    if (link) link.click();
    return null;
  };
  functions.flowsearchTheme = (theme) =>
    theme.withParams({
      backgroundColor: "var(--ground)",
      foregroundColor: "var(--ink)",
      borderColor: "var(--line)",
      headerBackgroundColor: "var(--raised)",
      headerTextColor: "var(--quiet)",
      accentColor: "var(--accent)",
      chromeBackgroundColor: "var(--raised)",
      rowHoverColor: "var(--raised)",
      selectedRowBackgroundColor: "var(--marked)",
      browserColorScheme: "inherit",
      fontFamily: "inherit",
      fontSize: 13,
      headerFontSize: 12,
      headerFontWeight: 600,
      rowHeight: 30,
      headerHeight: 32,
      spacing: 5,
      wrapperBorderRadius: 4,
    });

  components.TrialLink = (props) =>
    React.createElement(
      window.dash_core_components.Link,
      { href: `${here.where.base === "/" ? "" : here.where.base}/trial/${props.value}${location.search}` },
      props.value,
    );

  // Stands for the grid until its script, a megabyte, has been read, which begins once the page has been painted.
  let Grid = null;
  let reading = null;
  const painted = (then) => requestAnimationFrame(() => setTimeout(then));
  const read = () => {
    reading ||= new Promise((done) => {
      const script = document.createElement("script");
      script.src = document.getElementById("grid-script").href;
      script.onload = () => {
        Grid = window.dash_ag_grid.AgGrid;
        window.dash_ag_grid = { ...window.dash_ag_grid, AgGrid: LaterGrid };
        done();
      };
      script.onerror = () => (reading = null); // the next page tries again
      document.head.append(script);
    });
    return reading;
  };
  function LaterGrid(props) {
    const [there, arrived] = React.useState(Grid !== null);
    React.useEffect(() => {
      let left = false;
      if (!there) painted(() => read().then(() => left || arrived(true)));
      return () => { left = true; };
    }, []);
    return React.createElement(there ? Grid : "div", there ? props : { id: props.id, className: props.className });
  }
  // Where the page does not say where that script is (`app.py`), it is read with all others.
  if (document.getElementById("grid-script")) window.dash_ag_grid = { AgGrid: LaterGrid };
})();
