"""Text and tables as LaTeX has them."""

from collections.abc import Iterable, Sequence
from typing import Final

_SPECIAL: Final = {
    **{letter: f"\\{letter}" for letter in "_&%#${}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "−": "$-$",
    "–": "--",
    "×": r"$\times$",
    "±": r"$\pm$",
    "λ": r"$\lambda$",
    "μ": r"$\mu$",
    "σ": r"$\sigma$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "…": r"\dots{}",
}


def escape(text: str) -> str:
    """`text` so that LaTeX prints it; a line's end becomes a space."""
    return "".join(_SPECIAL.get(letter, letter) for letter in " ".join(text.split()))


def bold(text: str) -> str:
    """`text`, which is LaTeX already, in bold."""
    return f"\\textbf{{{text}}}"


def tabular(align: str, heads: Sequence[str], groups: Iterable[Sequence[Sequence[str]]]) -> list[str]:
    """The lines of a booktabs table of cells that are LaTeX already, with a rule above each group of rows."""
    lines = [f"\\begin{{tabular}}{{{align}}}", "\\toprule", _row(heads)]
    for rows in groups:
        lines += ["\\midrule", *map(_row, rows)]
    return [*lines, "\\bottomrule", "\\end{tabular}"]


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
