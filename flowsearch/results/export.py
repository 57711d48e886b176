"""A study's trials as a table for elsewhere, and its best model as a folder of its own."""

import json
import shutil
from pathlib import Path
from typing import Any

from flowsearch.results import schema
from flowsearch.results.reader import Results
from flowsearch.results.standings import SHOWN, in_order, measured, standings

BEST_FILE = "best.safetensors"
"""A trial's network at its best epoch, beside its other checkpoints."""

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
    """The best trial of each method on each task, chosen by the objective, as a booktabs table.

    The best PSNR of each task is bold.
    """
    metric, more = results.objective
    found = standings(results.labelled.to_dict("records"), metric, more=more)
    if not found:
        raise ValueError(f"{results.path}: no trial was completed, so there is nothing to put into a table")
    shown = {name: head for name, head in _COLUMNS.items() if name in SHOWN and _any(found, name)}
    lines = [
        f"% {results.name}: the best trial of each method by {metric}; needs \\usepackage{{booktabs}}",
        "\\begin{tabular}{ll" + "r" * len(shown) + "}",
        "\\toprule",
        " & ".join(["Task", "Method", *(head for head, _ in shown.values())]) + r" \\",
    ]
    order = in_order(found)
    for task, best in found.items():
        lines.append("\\midrule")
        known = measured(best)
        rows: list[tuple[str, dict[str, Any]]] = [] if known is None else [("measured", {"test_psnr": known})]
        rows += [(name, dict(best[name])) for name in order if name in best]
        highest = max(
            (row["test_psnr"] for name, row in rows[known is not None :] if _there(row, "test_psnr")), default=None
        )
        for place, (name, row) in enumerate(rows):
            cells = [_cell(row, column, form, highest) for column, (_, form) in shown.items()]
            lines.append(" & ".join([_escape(task) if place == 0 else "", _escape(name), *cells]) + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def export_model(results: Results, out: Path, trial_id: str | None = None) -> str:
    """Write the best trial's network (or that of `trial_id`) into the folder `out`; return the trial's id.

    The folder holds the safetensors file with its configuration in its header, the configuration again as
    `config.json` for people, and `provenance.json`: the study's, with the trial and its numbers. `evaluate` and
    `reconstruct` take the folder as they take a trial's own. Raises ValueError where `out` holds anything, or the trial
    has left no network.
    """
    if trial_id is None:
        row = results.best().to_dict()
    else:
        rows = results.trials[results.trials["trial_id"] == trial_id]
        if rows.empty:
            raise ValueError(f"{results.path} has no trial {trial_id}; its trials are 0000 and on")
        row = rows.iloc[0].to_dict()
    trial = str(row["trial_id"])
    network = results.path / schema.CHECKPOINTS / trial / BEST_FILE
    if not network.is_file():
        raise ValueError(
            f"{results.path}: trial {trial} ({row.get('method')}) has left no {BEST_FILE}; name another by --trial"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists and is not empty; name a new folder")
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(network, out / BEST_FILE)
    numbers = {one.name: row.get(one.name) for one in schema.METRIC_COLUMNS}
    about = {
        "study": results.name,
        "trial": trial,
        "metrics": {name: _plain(value) for name, value in numbers.items() if _plain(value) is not None},
    }
    config = {one.name: _plain(row.get(one.name)) for one in schema.CONFIG_COLUMNS}
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    known = json.dumps(results.provenance | about, indent=2)
    (out / schema.PROVENANCE_FILE).write_text(known + "\n", encoding="utf-8")
    return trial


def _cell(row: dict[str, Any], column: str, form: str, highest: float | None) -> str:
    if not _there(row, column):
        return ""
    value = int(row[column]) if form.endswith("d") else float(row[column])
    text = format(value, form)
    bold = column == "test_psnr" and highest is not None and text == format(highest, form)
    return f"\\textbf{{{text}}}" if bold else text


def _any(found: dict[str, Any], name: str) -> bool:
    return any(_there(row, name) for best in found.values() for row in best.values())


def _there(row: Any, name: str) -> bool:
    return _plain(row.get(name)) is not None


def _plain(value: Any) -> Any:
    """The value as JSON has it; None for what pandas calls missing."""
    import pandas as pd

    if value is None or pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value


def _escape(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "_&%#${}" else letter for letter in text)
