"""What an address says: the study, the page, and what is filtered, sorted, selected and chosen there.

A page's whole state is in its address, so that a copied one shows the same. `assets/base.js` writes the same query in
the browser; what cannot be understood is passed over, since people shorten addresses.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode

INDEX, OVERVIEW, TRIALS, FIGURES, COMPARE, TRIAL, NOWHERE = (
    "index",
    "overview",
    "trials",
    "figures",
    "compare",
    "trial",
    "nowhere",
)
PAGES = {OVERVIEW: "Overview", TRIALS: "Trials", FIGURES: "Figures", COMPARE: "Compare"}
"""Pages of a study in the order of the navigation, and their titles."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]*")
_RANGE = re.compile(r"([0-9]+)-([0-9]+)")
_MOST_IDS = 20_000


@dataclass(frozen=True, kw_only=True)
class Address:
    """A page and its state."""

    study: str = ""
    """Which study of a folder of studies; empty where the dashboard shows one."""
    page: str = OVERVIEW
    trial: str = ""
    filters: dict[str, Any] = field(default_factory=dict)
    """The table's filters, as AG Grid has them: column to model."""
    sort: tuple[tuple[str, str], ...] = ()
    """Columns with `asc` or `desc`."""
    figure: str = ""
    """The figure in which trials are selected."""
    selected: tuple[str, ...] | None = None
    """Trials selected in that figure; None where nothing is selected."""
    chosen: tuple[str, ...] = ()
    """Trials chosen to be compared."""

    @property
    def path(self) -> str:
        """The address without its query."""
        if self.page == INDEX:
            return "/"
        start = f"/study/{quote(self.study, safe='')}" if self.study else ""
        end = f"/trial/{self.trial}" if self.page == TRIAL else "" if self.page == OVERVIEW else f"/{self.page}"
        return f"{start}{end}" or "/"

    @property
    def href(self) -> str:
        """The address with its query."""
        query = urlencode(self.query())
        return f"{self.path}?{query}" if query else self.path

    def query(self) -> dict[str, str]:
        """The state as the query's names and values."""
        said = {}
        if self.filters:
            said["filter"] = json.dumps(self.filters, separators=(",", ":"))
        if self.sort:
            said["sort"] = ",".join(f"{column}:{direction}" for column, direction in self.sort)
        if self.selected is not None:
            said["select"] = f"{self.figure}:{shortened(self.selected)}"
        if self.chosen:
            said["compare"] = shortened(self.chosen)
        return said

    def state(self) -> dict[str, Any]:
        """The state as the page's scripts keep it."""
        selection = None if self.selected is None else {"figure": self.figure, "ids": list(self.selected)}
        return {
            "filter": self.filters,
            "sort": [list(one) for one in self.sort],
            "select": selection,
            "compare": list(self.chosen),
        }

    def at(self, page: str, trial: str = "") -> "Address":
        """Another page with the same state."""
        return replace(self, page=page, trial=trial)


def parse(pathname: str | None, search: str | None, *, several: bool) -> Address:
    """What an address says; the page is `nowhere` where there is none of that name."""
    parts = [unquote(part) for part in (pathname or "/").split("/") if part]
    study = ""
    if several:
        if not parts:
            return Address(page=INDEX)
        if parts[0] != "study" or len(parts) < 2:
            return Address(page=NOWHERE)
        study, parts = parts[1], parts[2:]
    state = _state(search or "")
    match parts:
        case []:
            return Address(study=study, page=OVERVIEW, **state)
        case ["trial", trial] if _ID.fullmatch(trial):
            return Address(study=study, page=TRIAL, trial=trial, **state)
        case [page] if page in PAGES and page != OVERVIEW:
            return Address(study=study, page=page, **state)
    return Address(study=study, page=NOWHERE)


def shortened(ids: Iterable[str]) -> str:
    """Trials as text: `0000-0012,0015`."""
    runs: list[list[str]] = []
    for one in ids:
        last = runs[-1][-1] if runs else ""
        follows = last.isdecimal() and one.isdecimal() and len(one) == len(last) and int(one) == int(last) + 1
        if follows:
            runs[-1].append(one)
        else:
            runs.append([one])
    return ",".join(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def listed(text: str) -> tuple[str, ...]:
    """The trials that `shortened` wrote."""
    found: list[str] = []
    for part in text.split(","):
        ends = _RANGE.fullmatch(part)
        if ends:
            first, last = ends.groups()
            numbers = range(int(first), min(int(last), int(first) + _MOST_IDS) + 1)
            found += [f"{number:0{len(first)}d}" for number in numbers]
        elif _ID.fullmatch(part):
            found.append(part)
    return tuple(found[:_MOST_IDS])


def _state(search: str) -> dict[str, Any]:
    said = {name: values[0] for name, values in parse_qs(search.removeprefix("?"), keep_blank_values=True).items()}
    found: dict[str, Any] = {"filters": _filters(said.get("filter", "")), "sort": _sort(said.get("sort", ""))}
    if "select" in said:
        figure, _, ids = said["select"].partition(":")
        found |= {"figure": figure, "selected": listed(ids)}
    return found | {"chosen": listed(said.get("compare", ""))}


def _filters(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(value, dict):
        return {}
    return {name: model for name, model in value.items() if isinstance(model, dict)}


def _sort(text: str) -> tuple[tuple[str, str], ...]:
    pairs: Sequence[tuple[str, str, str]] = [one.rpartition(":") for one in text.split(",")]
    return tuple((column, direction) for column, _, direction in pairs if column and direction in ("asc", "desc"))
