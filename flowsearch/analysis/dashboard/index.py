"""The page of a folder of studies: how each of them stands."""

from typing import Any

from dash import dcc
from dash.development.base_component import Component

from flowsearch.analysis.dashboard import bits
from flowsearch.analysis.dashboard.address import Address
from flowsearch.analysis.dashboard.library import Library
from flowsearch.analysis.dashboard.places import live
from flowsearch.analysis.dashboard.standing import standing
from flowsearch.analysis.wording import counted
from flowsearch.results.configurations import objectives
from flowsearch.results.forms import duration, written


def content(library: Library) -> bits.Children:
    """A row a study; one that cannot be read says so."""
    names = library.names
    if not names:
        return bits.empty(f"There are no studies in {library.where} yet. They appear here when they begin.")
    rows = [_row(library, name) for name in names]
    return bits.table(
        ("study", "state", "done", "trials", "best", "trial", "time left"), rows, numeric=(2,), label="Studies"
    )


def layout(library: Library) -> Component:
    """The page."""
    return bits.cards(bits.section("Studies", live("index-studies", content(library)), wide=True))


def _row(library: Library, name: str) -> tuple[Any, ...]:
    address = Address(study=name)
    link = dcc.Link(name, href=address.href)
    try:
        watched = library.study(name)
        view = watched.view()
        now = standing(view, watched.is_running)
        (metric, *others) = objectives(view)
        ranked = view.ranked().head(0 if others or len(view.tasks) > 1 else 1)
        best = ranked.iloc[0] if len(ranked) else None
    except (ValueError, KeyError, OSError) as error:
        return (link, bits.badge("unreadable"), "", str(error), "", "", "")
    value = "" if best is None else written(metric, best[metric], unit=True)
    of = "" if best is None else bits.trial_link(address, str(best["trial_id"]))
    left = "" if now.seconds_left is None else f"about {duration(now.seconds_left)}"
    return (link, bits.badge(now.words), f"{now.done:,} of {now.total:,}", counted(now.counts), value, of, left)
