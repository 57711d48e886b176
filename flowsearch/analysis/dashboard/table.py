"""The table of trials: what varied, how it ended, what it reached; sorted and filtered in the browser."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import dash_ag_grid as dag
import pandas as pd
from dash import dcc, html
from dash.development.base_component import Component

from flowsearch.analysis.dashboard import bits
from flowsearch.analysis.dashboard.address import Address
from flowsearch.analysis.dashboard.places import digest
from flowsearch.analysis.dashboard.standing import so_far
from flowsearch.analysis.trials_table import is_number, varying
from flowsearch.analysis.wording import head
from flowsearch.results import Results, schema
from flowsearch.results.forms import missing, written

_METRICS = (
    *("val_psnr", "test_psnr", "ood_psnr", "val_ssim", "test_ssim", "ood_ssim", "val_loss", "bits_per_dim"),
    *("test_residual", "used_tv_weight", "used_gamma", "used_strength", "used_iterations", "epochs_run", "best_epoch"),
    *("parameters", "seconds", "seconds_per_image", "peak_memory_bytes"),
)
_FIRST_ROWS, _FIRST_WIDTH = 40, 2000
"""Of `_first_sight`: as much as a large window shows."""
_WIDTHS = {"trial_id": 92, "status": 116, "reason": 260, "warnings": 260, "started": 150, "ended": 150, "task": 130}
_WIDTH = 108
_TICKS = {"mode": "multiRow", "checkboxes": True, "headerCheckbox": False, "enableClickSelection": False}
_DIGITS = 6


def columns(results: Results) -> list[str]:
    """What is shown, in this order: what decides and what comes of it first, then the configuration, then the costs."""
    trials = results.trials
    space = results.study.get("space")
    told = set(varying(trials)) | (set(space) if isinstance(space, dict) else set())
    config = [one.name for one in schema.CONFIG_COLUMNS if one.name in told]
    metrics = [name for name in _METRICS if trials[name].notna().any() or name == results.objective[0]]
    first = ["trial_id", "status", *(name for name in config if name in ("task", "method", "prox"))]
    first += [name for name in metrics if name.endswith("psnr")]
    last = ["started", "reason", *(["warnings"] if trials["warnings"].notna().any() else [])]
    return [*first, *(name for name in (*config, *metrics) if name not in first), *last]


def rows(results: Results, names: Iterable[str]) -> list[dict[str, Any]]:
    """The trials as the browser takes them: plain values, what is missing left out. Of a running trial its last epoch's
    PSNR and the number of its epochs stand in for what it will have at its end."""
    trials = results.trials
    frame = trials[[name for name in names if name in trials]]
    made = {name: [_plain(value) for value in frame[name]] for name in frame}
    found = [
        {name: values[place] for name, values in made.items() if values[place] is not None}
        for place in range(len(frame))
    ]
    live = {row["trial_id"]: row for row in so_far(results).to_dict("records")}
    for row in found:
        now = live.get(row["trial_id"])
        if now is not None:
            for name, value in (("val_psnr", now["val_psnr"]), ("epochs_run", now["epoch"])):
                plain = _plain(value)
                if plain is not None and now["phase"] == schema.TRAIN_PHASE:
                    row.setdefault(name, plain)
    return [{str(name): value for name, value in row.items()} for row in found]


def grid(results: Results, address: Address, *, short: bool = False) -> Component:
    """The table with its filters, its order and its chosen rows as the address says."""
    names = columns(results)
    sort = {column: (direction, place) for place, (column, direction) in enumerate(address.sort)}
    metric, more = results.objective
    if not sort and metric in names:
        sort = {metric: ("desc" if more else "asc", 0)}
    # An empty filter or selection would be applied all the same, row by row.
    state: dict[str, Any] = {"filterModel": address.filters} if address.filters else {}
    state |= {"selectedRows": {"ids": list(address.chosen)}} if address.chosen else {}
    found = rows(results, names)
    made = dag.AgGrid(
        id="grid",
        className="grid short" if short else "grid",
        columnDefs=[_column(name, sort.get(name)) for name in names],
        rowData=found,
        getRowId="params.data.trial_id",
        **state,
        defaultColDef={
            "filter": True,
            "floatingFilter": True,
            "sortable": True,
            "resizable": True,
            "suppressHeaderMenuButton": True,
            "minWidth": 76,
        },
        columnSize=None,
        dashGridOptions={
            "theme": {"function": "flowsearchTheme(themeQuartz)"},
            "rowSelection": _TICKS,
            "selectionColumnDef": {"pinned": "left", "width": 38, "resizable": False, "suppressHeaderMenuButton": True},
            "isExternalFilterPresent": {"function": "flowsearchSelecting()"},
            "doesExternalFilterPass": {"function": "flowsearchSelected(params.data.trial_id)"},
            "rowBuffer": 4,
            "animateRows": False,
            "suppressCellFocus": False,
            "enableCellTextSelection": True,
            "tooltipShowDelay": 400,
            "multiSortKey": "ctrl",
        },
        eventListeners={"cellKeyDown": ["flowsearchKey(params)"]},
        dangerously_allow_code=False,
    )
    parts = [made, dcc.Store(id="grid-want"), dcc.Store(id="grid-seen", data=digests(found))]
    if not (short or address.filters or address.selected is not None):
        parts.append(_first_sight(found, names, sort))
    return html.Div(parts, className="table")


def widened(results: Results, known: list[dict[str, Any]], shown: Sequence[str]) -> list[dict[str, Any]] | None:
    """The definitions `known` of a grid's columns with those that the study has got since, each behind the one that it
    follows in `columns`, the others in the order in which they are `shown`; None where there are none."""
    now = columns(results)
    by_name = {one["field"]: one for one in known}
    if by_name.keys() >= set(now):
        return None
    order = [name for name in shown if name in by_name] or list(by_name)
    for before, name in zip([None, *now], now, strict=False):
        if name not in order:
            by_name.setdefault(name, _column(name))
            order.insert(0 if before is None else order.index(before) + 1, name)
    return [by_name[name] for name in dict.fromkeys([*order, *by_name])]


def digests(found: list[dict[str, Any]]) -> dict[str, str]:
    """What `rows` gave, by trial, so that a row that has changed is told."""
    return {row["trial_id"]: digest(row) for row in found}


def changes(found: list[dict[str, Any]], seen: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """What a grid whose rows had the digests `seen` has to do to show what `rows` gave, and the digests of that. Trials
    go where a study was removed and made again under its name."""
    now = digests(found)
    changed = [row for row in found if seen.get(row["trial_id"]) != now[row["trial_id"]]]
    made: dict[str, Any] = {"add": [row for row in changed if row["trial_id"] not in seen], "async": False}
    made["update"] = [row for row in changed if row["trial_id"] in seen]
    made["remove"] = [{"trial_id": one} for one in seen if one not in now]
    return made, now


def _first_sight(found: list[dict[str, Any]], names: list[str], sort: dict[str, tuple[str, int]]) -> Component:
    """The upper left of the table as plain text, which is there while the browser reads the table's script."""
    for name, (direction, _) in sorted(sort.items(), key=lambda one: one[1][1], reverse=True):
        found = sorted(found, key=lambda row: (name in row, row.get(name, 0)), reverse=direction == "desc")
    made, width = [], 0
    for name in names:
        if width > _FIRST_WIDTH:
            break
        width += _WIDTHS.get(name, _WIDTH)
        numeric = is_number(name)
        cells = (" ".join(written(name, row.get(name), empty="").splitlines()) for row in found[:_FIRST_ROWS])
        made.append(
            html.Div(
                [html.B(_head(name)), "\n".join(cells)],
                className="number" if numeric else None,
                style={"width": f"{_WIDTHS.get(name, _WIDTH)}px"},
            )
        )
    return bits.tagged(html.Div(made, className="first-sight"), aria_hidden="true")


def _head(name: str) -> str:
    return head(name) if name in _METRICS else "trial" if name == "trial_id" else name


def _column(name: str, sort: tuple[str, int] | None = None) -> dict[str, Any]:
    """What AG Grid has to know of a column. Its `initial...` hold until somebody changes them: later definitions of the
    same column leave its width, its place at the left and its order alone."""
    known = schema.column(schema.TRIALS, name)
    numeric = is_number(name)
    made: dict[str, Any] = {
        "field": name,
        "headerName": _head(name),
        "headerTooltip": known.label,
        "initialWidth": _WIDTHS.get(name, _WIDTH),
        "cellDataType": "number" if numeric else "text",
        "filter": "agNumberColumnFilter" if numeric else "agTextColumnFilter",
    }
    if numeric:
        made |= {"headerClass": "ag-right-aligned-header", "cellClass": "ag-right-aligned-cell number"}
    if numeric or known.form != "number":
        made["valueFormatter"] = {"function": f"flowsearchForm('{known.form}', params.value)"}
    if name == "trial_id":
        made |= {"cellRenderer": "TrialLink", "initialPinned": "left"}
    if name == "status":
        made["cellClass"] = {"function": "flowsearchStatus(params.value)"}
    if name in ("reason", "warnings"):
        made["tooltipField"] = name
    if name.endswith(("psnr", "ssim")):
        made["sortingOrder"] = ["desc", "asc", None]
    if sort is not None:
        made |= {"initialSort": sort[0], "initialSortIndex": sort[1]}
    return made


def _plain(value: Any) -> Any:
    """A cell as JSON has it, with as many digits as matter; None where it is empty."""
    if missing(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat(timespec="seconds")
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, bool):
        return "yes" if plain else "no"
    if isinstance(plain, float):
        return float(f"{plain:.{_DIGITS}g}") if math.isfinite(plain) else None
    return plain
