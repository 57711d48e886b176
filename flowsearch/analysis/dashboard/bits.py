"""Pieces of pages that several of them share. Dash escapes every text that it is given."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from flowsearch.analysis.dashboard.address import Address

Children = Component | str | Sequence[Any] | None

_LONG = 40
"""Characters of a text in a table, a reason or a path, from which on it takes several lines."""


def tagged(component: Component, **names: str) -> Component:
    """The component with attributes whose names have a dash: `aria_label` becomes `aria-label`."""
    for name, value in names.items():
        setattr(component, name.replace("_", "-"), value)
    return component


def badge(status: str) -> Component:
    """A status with its colour and its name; nothing to see where it is empty."""
    return html.Span(status, className=f"badge {status.replace(' ', '-')}" if status else None)


def section(title: str, *children: Any, note: str = "", anchor: str = "", wide: bool = False) -> Component:
    """A section under a heading."""
    heading = [html.H2(title), *([html.P(note, className="note")] if note else [])]
    made = html.Section([*heading, *children], className="card wide" if wide else "card")
    if anchor:
        setattr(made, "id", anchor)  # noqa: B010 (Dash makes its attributes as it runs)
    return made


def facts(pairs: Mapping[str, Any] | Iterable[tuple[str, Any]], kind: str = "") -> Component:
    """Names and values."""
    entries = pairs.items() if isinstance(pairs, Mapping) else pairs
    rows = [html.Div([html.Dt(name), html.Dd(value)]) for name, value in entries]
    return html.Dl(rows, className=f"facts {kind}".strip())


def table(
    heads: Sequence[Any], rows: Iterable[Sequence[Any]], *, numeric: Sequence[int] = (), label: str = ""
) -> Component:
    """A plain table, whose cells are a line each, long texts aside; `numeric` columns are set to the right."""
    right = set(numeric)

    def cell(made: Callable[..., Component], place: int, value: Any, **more: Any) -> Component:
        long = isinstance(value, str) and len(value) > _LONG
        return made(value, className="n" if place in right else "long" if long else None, **more)

    head = html.Tr([cell(html.Th, place, name, scope="col") for place, name in enumerate(heads)])
    body = [html.Tr([cell(html.Td, place, value) for place, value in enumerate(row)]) for row in rows]
    return scrolled(html.Table([html.Thead(head), html.Tbody(body)]), label or "Table")


def scrolled(content: Component, label: str) -> Component:
    """What may be wider than the window, to be scrolled by keys too."""
    return tagged(html.Div(content, className="scroll", tabIndex=0, role="region"), aria_label=label)


def cards(*sections: Any) -> Component:
    """A page of sections."""
    return html.Div(list(sections), className="cards")


def empty(text: str) -> Component:
    """What is said where there is nothing to show."""
    return html.P(text, className="empty")


def note(text: Any) -> Component:
    """What is said beside what is shown, in small."""
    return html.P(text, className="note")


def trial_links(address: Address, trials: Iterable[Any]) -> list[Any]:
    """Links to trials' pages, one after the other."""
    return [part for trial_id in trials for part in (trial_link(address, str(trial_id)), " ")]


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
    bar = html.Div(
        html.Span(style={"width": f"{100 * filled:.1f}%"}),
        className="meter",
        role="progressbar",
    )
    return tagged(bar, aria_label=label, aria_valuenow=f"{100 * filled:.0f}", aria_valuemin="0", aria_valuemax="100")
