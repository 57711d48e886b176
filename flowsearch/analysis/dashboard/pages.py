"""Which page an address shows, and what is known of it: made from a library's studies, kept until they change."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dash import html

from flowsearch.analysis.dashboard import bits, compare, index, linked, overview, plots, trial
from flowsearch.analysis.dashboard.address import (
    COMPARE,
    FIGURES,
    INDEX,
    OVERVIEW,
    TRIAL,
    TRIALS,
    Address,
    parse,
)
from flowsearch.analysis.dashboard.frame import head
from flowsearch.analysis.dashboard.library import Library
from flowsearch.analysis.dashboard.markup import markup
from flowsearch.analysis.dashboard.places import nowhere
from flowsearch.analysis.dashboard.standing import Spending, Used, standing
from flowsearch.analysis.dashboard.watch import Watched

_KEPT_PAGES = 16
"""Pages that are kept as they were made, until the study changes."""


def nothing_spent(path: Path, running: bool) -> Sequence[Used]:
    """What is known of a budget without the ledger's reader."""
    return ()


class Pages:
    """Makes the pages of a library; `spent` knows what studies have used of their budgets."""

    def __init__(self, library: Library, spent: Spending = nothing_spent) -> None:
        self.library, self._spent = library, spent
        self._made: OrderedDict[tuple[str, str], bits.Children] = OrderedDict()
        self._lock = threading.Lock()

    def address(self, pathname: str | None, search: str | None) -> Address:
        """What the browser's address means here."""
        return parse(pathname, search, several=self.library.several)

    def of(self, where: dict[str, Any]) -> tuple[Address, Watched | None]:
        """The address that a page was made from, and its study."""
        address = self.address(where["pathname"], where["search"])
        return address, None if address.page == INDEX else self.library.study(address.study)

    def content(self, address: Address) -> bits.Children:
        """The page, or a sentence that says why there is none."""
        if address.page == INDEX:
            return index.layout(self.library)
        try:
            watched = self.library.study(address.study)
        except (KeyError, ValueError) as error:
            return nowhere(f"There is no study of this name here: {error}", reload=True)
        key = (address.href, watched.version)
        with self._lock:
            if key in self._made:
                return self._made[key]
        made = self._page(watched, address)
        with self._lock:
            self._made[key] = made
            while len(self._made) > _KEPT_PAGES:
                self._made.popitem(last=False)
        return made

    def _page(self, watched: Watched, address: Address) -> bits.Children:
        if address.page == OVERVIEW:
            return overview.layout(self._overview(watched, address))
        if address.page == TRIALS:
            return linked.trials(watched, address)
        if address.page == FIGURES:
            return linked.figures(watched, address)
        if address.page == COMPARE:
            return compare.layout(compare.Compare(watched, address))
        if address.page == TRIAL:
            try:
                return trial.layout(trial.TrialPage(watched, address))
            except KeyError:
                return nowhere(f"This study has no trial {address.trial} yet.", reload=True)
        return nowhere("There is no such page.")

    def live(self, name: str, where: dict[str, Any]) -> bits.Children:
        """A live section's content now."""
        address, watched = self.of(where)
        if watched is None:
            return index.content(self.library)
        pages: dict[str, Callable[[Watched, Address], Any]] = {}
        pages |= {OVERVIEW: self._overview, TRIAL: trial.TrialPage, COMPARE: compare.Compare}
        content: bits.Children = pages[name.partition("-")[0]](watched, address).sections[name]()
        return content

    def first(self, pathname: str, search: str) -> str:
        """A page as plain HTML, which the browser shows until its scripts have made the page itself."""
        address = self.address(pathname, search)
        try:
            about = self.where(address, pathname, search)
            shown = [head(self.library, address, about["name"], about["status"]), html.Main(self.content(address))]
        except Exception:  # the page itself will meet it too, and is where it is logged
            return ""
        return f'<div id="first">{markup(shown)}</div>'

    def where(self, address: Address, pathname: str | None, search: str | None) -> dict[str, Any]:
        """What an open page has to know of the study that it shows, and of its own address."""
        name, version, order = "flowsearch", "", None
        if address.page != INDEX:
            try:
                watched = self.library.study(address.study)
                view, version = watched.view(), watched.version
                name, (metric, more) = view.name, view.objective
                order = [[metric, "desc" if more else "asc"]]
            except (KeyError, ValueError):
                name = address.study
        return {
            "pathname": pathname,
            "search": search,
            "study": address.study,
            "page": address.page,
            "trial": address.trial,
            "name": name,
            "version": version,
            "status": self.state(address),
            "order": order,
            "base": Address(study=address.study).path if address.page != INDEX else "/",
        }

    def state(self, address: Address) -> str:
        """The study's state in a word."""
        if address.page == INDEX:
            return ""
        try:
            watched = self.library.study(address.study)
            return standing(watched.view(), watched.is_running).words
        except (KeyError, ValueError):
            return ""

    def places(self, address: Address) -> list[str] | None:
        """The figures that a study's page has by now, where that depends on the study's trials."""
        if address.page not in (OVERVIEW, FIGURES):
            return None
        try:
            found = plots.sections(self.library.study(address.study).view())
        except (KeyError, ValueError):
            return None
        return [piece.name for one in (found[:1] if address.page == OVERVIEW else found) for piece in one.pieces]

    def _overview(self, watched: Watched, address: Address) -> overview.Overview:
        return overview.Overview(watched, address, self._spent(watched.path, watched.is_running))
