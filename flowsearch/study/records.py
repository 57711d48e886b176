"""The records of a trial's epochs, kept beside its checkpoints as lines of JSON."""

import json
from pathlib import Path
from typing import Any

from flowsearch.training.header import CHOSEN, LAST, about
from flowsearch.training.prior_store import PRIOR, UNFINISHED

Record = dict[str, Any]

RECORDS = "records.jsonl"
"""Beside a trial's checkpoints: the records so far, so that a resume finds those that the driver never got."""


def keep(folder: Path, record: Record) -> None:
    """Add a record, its images and panels left out."""
    line = json.dumps({key: value for key, value in record.items() if key not in ("images", "panels")})
    with (folder / RECORDS).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def read_records(folder: Path) -> list[Record]:
    """The records kept in `folder`, one an epoch (the last, where one was run twice); torn lines are passed over, and
    so are epochs after the checkpoint, which the trial runs again.

    A checkpoint tells of its own epoch: whoever was killed before that was kept, too, does not run it again.
    """
    path = folder / RECORDS
    records = parsed(path.read_text(encoding="utf-8", errors="replace")) if path.exists() else []
    for name in (UNFINISHED, PRIOR, LAST, CHOSEN):
        try:
            kept = about(folder / name)
        except (OSError, ValueError):
            continue
        if name == LAST or (name == UNFINISHED and not (folder / PRIOR).exists()):
            phase = kept.get("phase", "prior")
            records = [one for one in records if one["phase"] != phase or one["epoch"] <= kept["epoch"]]
        own = kept.get("record")
        if own and not any((one["phase"], one["epoch"]) == (own["phase"], own["epoch"]) for one in records):
            records.append(own)
    return records


def parsed(text: str) -> list[Record]:
    """The records that the lines hold."""
    kept: dict[tuple[str, int], Record] = {}
    for line in text.splitlines():
        try:
            record = json.loads(line)
            kept[record["phase"], record["epoch"]] = record
        except (ValueError, KeyError, TypeError):
            continue
    return list(kept.values())
