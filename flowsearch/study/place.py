"""Where a study is kept, and where this machine keeps what has to be files while it runs.

In a folder on disk both are the same. Of a study in an object store, a folder of this machine holds checkpoints,
pre-trained priors and Optuna's journal; it is made again from the store wherever it is missing.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flowsearch.data.store import data_home
from flowsearch.lazy import lazy
from flowsearch.results import schema
from flowsearch.storage import Store, inside, is_uri, outside, store_at
from flowsearch.study.file import read
from flowsearch.study.mirror import Mirror
from flowsearch.study.records import RECORDS, Record, parsed, read_records
from flowsearch.study.sections import Study
from flowsearch.study.source import Source
from flowsearch.training.header import remove_unfinished
from flowsearch.training.prior_store import FOLDER

_REMOTE = "remote"
"""Folder in flowsearch's home for what belongs to studies in object stores."""


class Place:
    """The study at a path or URI."""

    def __init__(self, where: Path | str) -> None:
        self.where = str(where)
        self.store: Store = store_at(where)
        self.remote = is_uri(where) and not self.where.startswith("file://")

    def __str__(self) -> str:
        return self.where

    @property
    def name(self) -> str:
        """The last part of the path or URI."""
        return self.where.partition("?")[0].rstrip("/").rpartition("/")[2]

    @lazy
    def local(self) -> Path:
        """The folder on this machine."""
        if not self.remote:
            return Path(self.store.where)
        address = self.where.partition("?")[0].rstrip("/")
        return data_home().parent / _REMOTE / f"{self.name}-{hashlib.sha256(address.encode()).hexdigest()[:12]}"

    @lazy
    def priors(self) -> "Place":
        """Where the pre-trained priors are that the studies beside this one share."""
        return Place(inside(outside(self.where if self.remote else self.local), FOLDER))

    @property
    def exists(self) -> bool:
        """Whether a study is kept here."""
        return schema.STUDY_FILE in self.store.names()

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the study came from (`provenance`); nothing where it cannot be read."""
        try:
            known = json.loads(self.store.get(schema.PROVENANCE_FILE))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

    def study(self, sets: Sequence[str] = ()) -> Study:
        """The study file, with overrides. Raises ValueError where there is none, or it cannot be used;
        FileNotFoundError where there is no such bucket."""
        try:
            text = self.store.get(schema.STUDY_FILE).decode()
        except FileNotFoundError:
            self.store.names()  # where there is not even a bucket, this says so
            raise ValueError(
                f"{self} holds no study (there is no {schema.STUDY_FILE}); name its folder, such as results/quickstart"
            ) from None
        except NotADirectoryError:
            raise ValueError(f"{self} is a file; name a study's folder, such as results/quickstart") from None
        except UnicodeDecodeError:
            raise ValueError(f"{self}: {schema.STUDY_FILE} is not text in UTF-8, so it is no study file") from None
        return read(Source(inside(self.where, schema.STUDY_FILE), text, sets))

    def folder(self, name: str) -> Path:
        """A folder of files on this machine."""
        return self.local / name

    def mirror(self, name: str) -> Mirror | None:
        """What keeps such a folder in the object store too; None where it is there already."""
        return Mirror(self.folder(name), self.store.at(name)) if self.remote else None

    def kept(self, name: str) -> tuple[str, str] | None:
        """The same as an order says it, for the machine that carries it out."""
        return (self.where, name) if self.remote else None

    def forget(self, name: str, file: str) -> None:
        """Remove a file of a folder of checkpoints that nobody writes into any more, and what is unfinished there."""
        mirror = self.mirror(name)
        if mirror is None:
            remove_unfinished(self.folder(name))
            (self.folder(name) / file).unlink(missing_ok=True)
        else:
            mirror.forget(file)

    def records(self, name: str) -> list[Record]:
        """The records kept in a folder of checkpoints, one an epoch; none where they are not to be had."""
        mirror = self.mirror(name)
        try:
            if mirror is None:
                return read_records(self.folder(name))
            return parsed(mirror.read(RECORDS).decode(errors="replace"))
        except OSError:
            return []
