"""Pieces of pages that several of them share. Dash escapes every text that it is given."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from flowsearch.analysis.dashboard.address import Address

Child = Component | str | None
Children = Component | str | Sequence[Any] | None


def badge(status: str) -> Component:
    """A status with its colour and its name."""
    return html.Span(status, className=f"badge {status.replace(' ', '-')}")


def section(title: str, *children: Any, note: str = "", anchor: str = "", wide: bool = False) -> Component:
    """A section under a heading."""
    heading = [html.H2(title), *([html.P(note, className="note")] if note else [])]
    kind = "card wide" if wide else "card"
    named = {"id": anchor} if anchor else {}
    return html.Section([*heading, *children], className=kind, **named)


def facts(pairs: Mapping[str, Any] | Iterable[tuple[str, Any]], kind: str = "") -> Component:
    """Names and values."""
    entries = pairs.items() if isinstance(pairs, Mapping) else pairs
    rows = [html.Div([html.Dt(name), html.Dd(value)]) for name, value in entries]
    return html.Dl(rows, className=f"facts {kind}".strip())


def table(heads: Sequence[Any], rows: Iterable[Sequence[Any]], *, numeric: Sequence[int] = (), label: str = "") -> Component:
    """A plain table; `numeric` columns are set to the right."""
    right = set(numeric)

    def cell(made: type[Component], place: int, value: Any, **more: Any) -> Component:
        return made(value, className="n" if place in right else None, **more)

    head = html.Tr([cell(html.Th, place, name, scope="col") for place, name in enumerate(heads)])
    body = [html.Tr([cell(html.Td, place, value) for place, value in enumerate(row)]) for row in rows]
    return html.Div(
        html.Table([html.Thead(head), html.Tbody(body)]),
        className="scroll",
        tabIndex=0,
        role="region",
        **{"aria-label": label or "Table"},
    )


def trial_link(address: Address, trial_id: str) -> Component:
    """A link to a trial's page."""
    return dcc.Link(trial_id, href=address.at("trial", trial_id).href, className="id")


def notice(*children: Any) -> Component:
    """Something that has to be said about what is shown."""
    return html.P(list(children), className="notice")


def command(text: str) -> Component:
    """A command line to be copied."""
    return html.Div([html.Pre(text, tabIndex=0), dcc.Clipboard(content=text, title="Copy")], className="command")


def meter(share: float, label: str) -> Component:
    """A bar that is filled to a share of 1."""
    filled = max(0.0, min(1.0, share))
    return html.Div(
        html.Span(style={"width": f"{100 * filled:.1f}%"}),
        className="meter",
        role="progressbar",
        **{"aria-label": label, "aria-valuenow": f"{100 * filled:.0f}", "aria-valuemin": "0", "aria-valuemax": "100"},
    )
