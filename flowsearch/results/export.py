"""A study's trials as a table for elsewhere: CSV, JSON or LaTeX."""

import json
import math
from typing import Any

import pandas as pd

from flowsearch.results.configurations import ranked
from flowsearch.results.forms import missing, written
from flowsearch.results.latex import bold, escape, tabular
from flowsearch.results.reader import Results
from flowsearch.results.standings import in_order, measured, standings

_HEADS = {"test_psnr": "PSNR", "test_ssim": "SSIM", "ood_psnr": "OOD PSNR", "parameters": "Parameters"}


def to_csv(results: Results) -> str:
    """All trials, a row each, with every column of the table."""
    return results.labelled.to_csv(index=False)


def to_json(results: Results) -> str:
    """All trials as a JSON list of objects; what is unknown is null."""
    rows = results.labelled.to_dict("records")  # pandas' own writer keeps ten decimals: three digits of a rate of 1e-8
    text = json.dumps([{name: plain(value) for name, value in row.items()} for row in rows], indent=1, allow_nan=False)
    return text + "\n"


def to_latex(results: Results) -> str:
    """The best configuration of each method on each task, by the objective and within the constraints, its numbers
    means over its repeats, as a booktabs table.

    The best PSNR of each task is bold.
    """
    metric, more = results.objective
    found = standings(ranked(results).to_dict("records"), metric, more=more)
    if not found:
        kept = " and keeps to the constraints" if results.limits else ""
        none = "no trial was completed" if results.completed.empty else f"no completed trial has {metric}{kept}"
        raise ValueError(f"{results.where}: {none}, so there is nothing to put into a table")
    shown = {name: head for name, head in _HEADS.items() if _any(found, name)}
    within = "".join(f", {limit}" for limit in results.study.get("constraints") or [])
    note = f"% {results.name}: the best of each method by {metric}{within}; needs \\usepackage{{booktabs}}"
    groups = []
    order = in_order(found)
    for task, best in found.items():
        known = measured(best)
        rows: list[tuple[str, dict[str, Any]]] = [] if known is None else [("measured", {"test_psnr": known})]
        rows += [(name, dict(best[name])) for name in order if name in best]
        highest = max(
            (row["test_psnr"] for name, row in rows[known is not None :] if _there(row, "test_psnr")), default=None
        )
        groups.append(
            [
                [escape(task) if place == 0 else "", escape(name)] + [_cell(row, column, highest) for column in shown]
                for place, (name, row) in enumerate(rows)
            ]
        )
    heads = ["Task", "Method", *shown.values()]
    return "\n".join([note, *tabular("ll" + "r" * len(shown), heads, groups), ""])


def _cell(row: dict[str, Any], column: str, highest: float | None) -> str:
    text = written(column, row.get(column), empty="")
    top = column == "test_psnr" and highest is not None and text == written(column, highest)
    return bold(text) if top else text


def _any(found: dict[str, Any], name: str) -> bool:
    return any(_there(row, name) for best in found.values() for row in best.values())


def _there(row: Any, name: str) -> bool:
    return not missing(row.get(name))


def plain(value: Any) -> Any:
    """The value as JSON has it, numbers in full and times as ISO 8601; None for what pandas calls missing, and for
    infinity, which JSON has no word for."""
    if value is None or pd.isna(value) or value in (math.inf, -math.inf):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value
