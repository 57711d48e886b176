"""A study's tables, figures and notes, and how they are written: as Markdown and as LaTeX."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from flowsearch.analysis.paper_figures import Figure
from flowsearch.results.latex import bold, escape, tabular

_MARKDOWN: Final = str.maketrans({letter: f"\\{letter}" for letter in "\\`*_{}<>[]|#~$"})
_FITTED: Final = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


@dataclass(frozen=True)
class Cell:
    """A cell's text, and whether it is the best of its row."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A table with its title, what its numbers are, and how many of its first columns are text."""

    title: str
    caption: str
    heads: list[str]
    rows: list[list[Cell]]
    text_columns: int = 1


@dataclass(frozen=True)
class Paper:
    """All tables of a study, its figures, and notes: a name and a text each."""

    name: str
    lead: str
    tables: list[Table] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)


def to_markdown(found: Paper) -> str:
    """Tables in the form that GitHub and Pandoc read."""
    lines = [f"# {_escaped(found.name)}", "", _escaped(found.lead), ""]
    for table in found.tables:
        lines += [f"## {_escaped(table.title)}", "", _escaped(table.caption), ""]
        aligned = ["---" if place < table.text_columns else "---:" for place in range(len(table.heads))]
        lines += [_piped([_escaped(head) for head in table.heads]), _piped(aligned)]
        for row in table.rows:
            lines.append(_piped([f"**{_escaped(cell.text)}**" if cell.best else _escaped(cell.text) for cell in row]))
        lines.append("")
    for figure in found.figures:
        title, caption = _escaped(figure.title), _escaped(figure.caption)
        lines += [f"## {title}", "", caption, "", f"![{title}]({figure.file})", ""]
    if found.notes:
        lines += ["## Provenance", "", *(f"- {name}: {_escaped(text)}" for name, text in found.notes), ""]
    return "\n".join(lines)


def to_latex(found: Paper) -> str:
    """Floating tables to be included by `\\input`; the comment at the top says which packages they need."""
    lines = [
        f"% {_one_line(found.name)}: {_one_line(found.lead)}",
        "% Needs \\usepackage[utf8]{inputenc}, \\usepackage{booktabs} and \\usepackage{graphicx}.",
        *(f"% {name}: {_one_line(text)}" for name, text in found.notes),
    ]
    for table in found.tables:
        lines += ["", *_float("table", table.title, table.caption, _tabular(table))]
    for figure in found.figures:
        picture = f"\\includegraphics[width=\\linewidth]{{{figure.file}}}"
        lines += ["", *_float("figure", figure.title, figure.caption, [picture])]
    return "\n".join([*lines, ""])


FORMATS: Final[dict[str, tuple[Callable[[Paper], str], str]]] = {"md": (to_markdown, "md"), "latex": (to_latex, "tex")}
"""How tables are written, and the suffix of their file."""


def _tabular(table: Table) -> list[str]:
    """A table's lines, made smaller where it is wider than the page."""
    align = "l" * table.text_columns + "r" * (len(table.heads) - table.text_columns)
    rows = [[bold(escape(cell.text)) if cell.best else escape(cell.text) for cell in row] for row in table.rows]
    body = tabular(align, [escape(head) for head in table.heads], [rows])
    return [_FITTED, *body[:-1], body[-1] + "}"]


def _float(kind: str, title: str, caption: str, body: list[str]) -> list[str]:
    title = title.split(": ", 1)[-1]  # LaTeX numbers tables and figures itself
    said = f"\\caption{{{escape(title[0].upper() + title[1:])}. {escape(caption)}}}"
    return [f"\\begin{{{kind}}}", "\\centering", said, *body, f"\\end{{{kind}}}"]


def _escaped(text: str) -> str:
    return _one_line(text).translate(_MARKDOWN)


def _piped(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _one_line(text: str) -> str:
    return " ".join(text.split())
