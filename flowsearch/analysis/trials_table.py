"""The report's table of trials: what varied, how it ended, what it reached."""

from html import escape
from typing import Any

import pandas as pd

from flowsearch.analysis.findings import leading
from flowsearch.analysis.wording import chosen_by, head, of_all
from flowsearch.results import Results, schema
from flowsearch.results.configurations import ranked, varies
from flowsearch.results.forms import missing, written

_METRICS = (
    *("val_psnr", "test_psnr", "test_ssim", "ood_psnr", "bits_per_dim", "test_residual"),
    *("used_tv_weight", "used_gamma", "used_strength", "used_iterations", "epochs_run"),
    *("parameters", "seconds_per_image", "seconds", "peak_memory_bytes"),
)
_N = ' class="n"'
_ENDED_BADLY = (schema.FAILED, schema.DIVERGED, schema.INTERRUPTED)


def varying(trials: pd.DataFrame) -> list[str]:
    """Configuration columns in which the trials that have a value differ."""
    return [one.name for one in schema.CONFIG_COLUMNS if varies(trials[one.name])]


def constant(trials: pd.DataFrame) -> dict[str, Any]:
    """Configuration columns with one value in all trials that have any (a ResNet has no depth)."""
    values = {one.name: trials[one.name].dropna().unique() for one in schema.CONFIG_COLUMNS}
    return {name: found[0] for name, found in values.items() if len(found) == 1}


def trials_table(results: Results) -> str:
    """All trials, best first, then those without a result; sorted and filtered by the page's script."""
    trials = results.trials
    metric, more = results.objective
    if metric in trials:
        order = trials[metric].where(trials["status"] == schema.COMPLETED)
        place = order.astype(float).sort_values(ascending=not more, kind="stable", na_position="last").index
        trials = trials.loc[place]
    names = _columns(trials)
    heads = [_head(name) for name in names]
    best = leading(results)
    rows = []
    for trial in trials[names].to_dict("records"):
        cells = [_cell(name, trial[name]) for name in names]
        mark = ' class="best"' if trial["trial_id"] in best else ""
        rows.append(f"<tr{mark}>{''.join(cells)}</tr>")
    return (
        '<div class="controls"><label for="filter">Filter</label>'
        '<input id="filter" type="search" placeholder="words, such as: glow completed" autocomplete="off">'
        f'<output id="count" for="filter">{len(trials)} trials</output></div>'
        '<div class="scroll trials" tabindex="0" role="region" aria-label="Table of trials"><table>'
        f"<thead><tr>{''.join(heads)}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def maps_table(results: Results) -> str:
    """A row per task and method: what its best configuration by the objective reaches; empty without completed trials.

    Its numbers are means over the configuration's repeats; the mean is over all completed configurations that keep to
    the limits.
    """
    every = ranked(results)
    best = every.drop_duplicates(["task", "label"])
    if best.empty:
        return ""
    several = len(results.trials["task"].dropna().unique()) > 1
    repeated = bool((best["repeats"] + best["lost"] > 1).any())
    kinds = results.labelled.groupby(["task", "label"])["status"]
    done = kinds.agg(lambda status: f"{(status == schema.COMPLETED).sum()} of {len(status)}")
    means = every.groupby(["task", "label"])["val_psnr"].mean()
    metric, _ = results.objective
    summary = best.sort_values("task", kind="stable")
    keys = list(zip(summary["task"], summary["label"], strict=True))
    summary = summary.assign(
        done=[done[key] for key in keys],
        mean=[means[key] for key in keys],
        repeats=[of_all(one) for one in summary.to_dict("records")],
    )
    columns = {
        **({"task": "task"} if several else {}),
        "label": "method",
        "trial_id": "best trial",
        **({"repeats": "seeds"} if repeated else {}),
        metric: head(metric, unit=True),
        **{name: head(name, unit=True) for name in ("val_psnr", "test_psnr", "ood_psnr", "parameters", "seconds")},
        "done": "completed",
        "mean": "mean val PSNR (dB)",
    }
    summary["mean"] = [written("val_psnr", mean) for mean in summary["mean"]]
    right = {field: "" if field in ("task", "label", "trial_id") else _N for field in columns}
    body = "".join(
        "<tr>" + "".join(f"<td{right[field]}>{escape(written(field, row[field]))}</td>" for field in columns) + "</tr>"
        for row in summary.to_dict("records")
    )
    heads = "".join(f'<th scope="col"{right[field]}>{name}</th>' for field, name in columns.items())
    mean = " The mean is over all that were completed and keep to that." if results.limits else ""
    caption = escape(f"The best configuration of each method by {chosen_by(results)}.{mean}")
    return (
        f'<p class="caption">{caption}</p><div class="scroll maps"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def failures_table(results: Results) -> str:
    """Trials that failed, diverged, were interrupted or warned of something, each with why; empty where none did."""
    known = results.labelled
    trials = known[known["status"].isin(_ENDED_BADLY) | known["warnings"].notna()]
    if trials.empty:
        return ""
    rows = [
        f"<tr><td>{escape(str(trial['trial_id']))}</td><td>{escape(str(trial['status']))}</td>"
        f"<td>{escape(str(trial['label']))}</td>"
        f"<td>{'<br>'.join(map(escape, _said(trial)))}</td></tr>"
        for _, trial in trials.iterrows()
    ]
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("trial", "status", "method", "reason, warnings"))
    return (
        '<div class="scroll failures"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _said(trial: "pd.Series[Any]") -> list[str]:
    """Why a trial ended as it did, then each of its warnings."""
    reason = [] if missing(trial["reason"]) else [str(trial["reason"])]
    warnings = [] if missing(trial["warnings"]) else [f"warning: {text}" for text in trial["warnings"].splitlines()]
    return [*reason, *warnings] or ["no reason recorded"]


def is_number(name: str) -> bool:
    """Whether a column of the trials' table holds numbers."""
    return str(schema.column(schema.TRIALS, name).type) in ("int32", "int64", "double")


def _columns(trials: pd.DataFrame) -> list[str]:
    """What decides and what comes of it first, then the rest of the configuration, then the costs."""
    config = varying(trials)
    metrics = [name for name in _METRICS if trials[name].notna().any()]
    first = ["trial_id", "status", *(name for name in config if name in ("task", "method", "prox"))]
    first += [name for name in metrics if name.endswith("psnr")]
    return [*first, *(name for name in (*config, *metrics) if name not in first)]


def _head(name: str) -> str:
    about = escape(schema.column(schema.TRIALS, name).label, quote=True)
    first = ' data-first="descending"' if "psnr" in name or "ssim" in name else ""
    title = escape(head(name, unit=True) if name in _METRICS else "trial" if name == "trial_id" else name)
    button = f'<button type="button" title="{about}">{title}</button>'
    return f'<th scope="col"{_N if is_number(name) else ""}{first}>{button}</th>'


def _cell(name: str, value: Any) -> str:
    kind = _N if is_number(name) else ""
    if missing(value):
        return f"<td{kind}></td>"
    return f'<td{kind} data-v="{escape(str(value), quote=True)}">{escape(written(name, value))}</td>'
