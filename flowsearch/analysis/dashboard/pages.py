"""Which page an address shows, and what is known of it: made from a library's studies, kept until they change."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from dash import html

from flowsearch.analysis.dashboard import bits, compare, index, linked, overview, trial
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

    @contextmanager
    def of(self, where: dict[str, Any]) -> Iterator[tuple[Address, Watched | None]]:
        """The address that a page was made from, and its study, which is the caller's alone for the time; None of all
        studies, and where it is gone."""
        address, watched = self.address(where["pathname"], where["search"]), None
        if address.page != INDEX:
            with suppress(KeyError, ValueError):
                watched = self.library.study(address.study)
        with nullcontext() if watched is None else watched.turn:
            yield address, watched

    def content(self, address: Address) -> bits.Children:
        """The page, or a sentence that says why there is none."""
        if address.page == INDEX:
            return index.layout(self.library)
        try:
            watched = self.library.study(address.study)
            watched.view()
        except (KeyError, ValueError) as error:
            return nowhere(f"There is no study of this name here: {error}", reload=True)
        key = (address.href, watched.version)
        with self._lock:
            if key in self._made:
                return self._made[key]
        with watched.turn:
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

    def live(self, name: str, address: Address, watched: Watched | None) -> bits.Children:
        """A live section's content now: of a page of a study, or without one of the page of all studies."""
        if watched is None:
            return index.content(self.library)
        pages: dict[str, Callable[[Watched, Address], Any]] = {}
        pages |= {OVERVIEW: self._overview, TRIAL: trial.TrialPage, COMPARE: compare.Compare, FIGURES: linked.Figures}
        try:
            page = pages[name.partition("-")[0]](watched, address)
        except KeyError:  # of a trial, when its study was removed and made again meanwhile
            gone = bits.empty(f"This study has no trial {address.trial} any more.")
            return gone if name == "trial-head" else None
        content: bits.Children = page.sections[name]()
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
        name, version, order = "flowsearch", self.library.version(address.study), None
        if address.page != INDEX:
            try:
                watched = self.library.study(address.study)
                with watched.turn:
                    view = watched.view()
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
            "several": self.library.several,
            "base": Address(study=address.study).path if address.page != INDEX else "/",
        }

    def state(self, address: Address) -> str:
        """The study's state in a word."""
        if address.page == INDEX:
            return ""
        try:
            watched = self.library.study(address.study)
            with watched.turn:
                return standing(watched.view(), watched.is_running).words
        except (KeyError, ValueError):
            return ""

    def _overview(self, watched: Watched, address: Address) -> overview.Overview:
        return overview.Overview(watched, address, self._spent(watched.path, watched.is_running))
