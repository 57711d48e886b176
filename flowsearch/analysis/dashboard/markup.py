"""A page as plain HTML, to be looked at while the browser still reads the scripts that make it live."""

import re
from html import escape
from typing import Any

from dash.development.base_component import Component

_ELEMENTS = "dash_html_components"
_NAMES = {"className": "class", "tabIndex": "tabindex", "colSpan": "colspan", "rowSpan": "rowspan"}
_KEPT = re.compile(r"class|tabindex|colspan|rowspan|id|role|href|src|alt|title|scope|style|hidden|open|aria-[a-z]+")
_EMPTY = ("Img", "Br", "Hr")
_CAPITAL = re.compile(r"[A-Z]")


def markup(made: Any) -> str:
    """HTML of a component, of text, or of a sequence of them; every text is escaped.

    A link is one without scripts too. What only scripts can show (a figure, the table of trials) keeps its place.
    """
    if made is None:
        return ""
    if isinstance(made, list | tuple):
        return "".join(map(markup, made))
    if not isinstance(made, Component):
        return escape(str(made))
    props = made.to_plotly_json()["props"]
    element = "a" if made._type == "Link" else made._type.lower()
    if made._namespace != _ELEMENTS and element != "a":
        element, props = "div", {name: value for name, value in props.items() if name == "className"}
    attributes = "".join(_attribute(_NAMES.get(name, name), value) for name, value in props.items())
    if made._type in _EMPTY:
        return f"<{element}{attributes}>"
    return f"<{element}{attributes}>{markup(props.get('children'))}</{element}>"


def _attribute(name: str, value: Any) -> str:
    if not _KEPT.fullmatch(name) or value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    if isinstance(value, dict):
        value = ";".join(f"{_CAPITAL.sub(lambda c: '-' + c[0].lower(), key)}:{one}" for key, one in value.items())
    return f' {name}="{escape(str(value))}"'
