"""A study's trials as a table for elsewhere: CSV, JSON or LaTeX."""

import json
from typing import Any

import pandas as pd

from flowsearch.results.configurations import ranked
from flowsearch.results.latex import bold, escape, tabular
from flowsearch.results.reader import Results
from flowsearch.results.standings import SHOWN, in_order, measured, standings

_COLUMNS = {
    "test_psnr": ("PSNR", ".2f"),
    "test_ssim": ("SSIM", ".3f"),
    "ood_psnr": ("OOD PSNR", ".2f"),
    "parameters": ("Parameters", ",d"),
}


def to_csv(results: Results) -> str:
    """All trials, a row each, with every column of the table."""
    return results.labelled.to_csv(index=False)


def to_json(results: Results) -> str:
    """All trials as a JSON list of objects; what is unknown is null."""
    text = results.labelled.to_json(orient="records", date_format="iso")
    return json.dumps(json.loads(text), indent=1) + "\n"


def to_latex(results: Results) -> str:
    """The best configuration of each method on each task, by the objective and within the constraints, its numbers
    means over its repeats, as a booktabs table.

    The best PSNR of each task is bold.
    """
    metric, more = results.objective
    found = standings(ranked(results).to_dict("records"), metric, more=more)
    if not found:
        kept = " and keeps to the constraints" if results.limits else ""
        raise ValueError(f"{results.where}: no trial was completed{kept}, so there is nothing to put into a table")
    shown = {name: head for name, head in _COLUMNS.items() if name in SHOWN and _any(found, name)}
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
                [escape(task) if place == 0 else "", escape(name)]
                + [_cell(row, column, form, highest) for column, (_, form) in shown.items()]
                for place, (name, row) in enumerate(rows)
            ]
        )
    heads = ["Task", "Method", *(head for head, _ in shown.values())]
    return "\n".join([note, *tabular("ll" + "r" * len(shown), heads, groups), ""])


def _cell(row: dict[str, Any], column: str, form: str, highest: float | None) -> str:
    if not _there(row, column):
        return ""
    value = int(row[column]) if form.endswith("d") else float(row[column])
    text = format(value, form)
    top = column == "test_psnr" and highest is not None and text == format(highest, form)
    return bold(text) if top else text


def _any(found: dict[str, Any], name: str) -> bool:
    return any(_there(row, name) for best in found.values() for row in best.values())


def _there(row: Any, name: str) -> bool:
    return plain(row.get(name)) is not None


def plain(value: Any) -> Any:
    """The value as JSON has it; None for what pandas calls missing."""
    if value is None or pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value
