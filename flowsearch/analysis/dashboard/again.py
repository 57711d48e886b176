"""How a trial is run again, as command lines that work as they stand."""

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

import pandas as pd

from flowsearch.results import Results, schema
from flowsearch.results.forms import missing

_IN_DATA = {"source": "data.source", "size": "data.size"}
"""Columns of the table of trials that a trial's configuration has in its data."""


def train_command(results: Results, trial: pd.Series) -> str:
    """`flowsearch train` with everything that decides the trial's numbers, ready to be pasted."""
    sets = [shlex.quote(f"{name}={value}") for name, value in settings(results, trial)]
    out = shlex.quote(f"results/again-{trial['trial_id']}")
    return " \\\n  ".join(["flowsearch train", *(f"--set {one}" for one in sets), f"--out {out}"])


def retry_command(where: str, trial: pd.Series) -> str | None:
    """`flowsearch study retry` for a trial that failed or diverged, else None."""
    if trial["status"] not in (schema.FAILED, schema.DIVERGED):
        return None
    return f"flowsearch study retry {shlex.quote(where)} --trial {trial['trial_id']}"


def settings(results: Results, trial: pd.Series) -> list[tuple[str, str]]:
    """Names with their values in YAML: the study's data and prior, and what is known of the trial's configuration."""
    said: dict[str, Any] = {}
    for section in ("data", "prior"):
        declared = results.study.get(section)
        if isinstance(declared, Mapping) and (section == "data" or trial.get("pretrain") is not False):
            said |= {f"{section}.{name}": value for name, value in declared.items()}
    for column in schema.CONFIG_COLUMNS:
        if column.name in trial and not missing(trial[column.name]):
            said[_IN_DATA.get(column.name, column.name)] = trial[column.name]
    return [(name, yaml_value(value)) for name, value in said.items()]


def yaml_value(value: Any) -> str:
    """A value as `--set` reads it back: JSON, which is YAML, and plain text where that means the same."""
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, str) and _PLAIN.fullmatch(plain) and plain.lower() not in _NOT_TEXT:
        return plain
    if isinstance(plain, float):
        text = repr(plain)
        return text if "e" not in text or "." in text else text.replace("e", ".0e")  # YAML 1.1 reads 1e-05 as text
    return json.dumps(plain)


_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_NOT_TEXT = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
