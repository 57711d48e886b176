"""Text and tables as LaTeX has them."""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

_GREEK: Final = "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ"
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
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "≠": r"$\neq$",
    "∞": r"$\infty$",
    "→": r"$\to$",
    "…": r"\dots{}",
}
_KNOWN: Final = frozenset("ßæœøłıÆŒØŁ¡¿§¶£©®°·µ“”‘’—™")
_ACCENTS: Final = frozenset("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327")
"""From grave to cedilla: those that are set over a letter in every font."""


def escape(text: str) -> str:
    """`text` so that LaTeX prints it, pdfTeX in its oldest font encoding too, which stops at a letter that it does not
    have: such a one becomes its number, `(U+65E5)`. A line's end becomes a space."""
    line = unicodedata.normalize("NFC", " ".join(text.split()))
    return "".join(_SPECIAL.get(letter) or _printed(letter) for letter in line)


def _printed(letter: str) -> str:
    if letter in _GREEK:
        name = unicodedata.name(letter).rpartition(" ")[2].replace("LAMDA", "LAMBDA")
        return f"$\\{name.lower() if letter.islower() else name.capitalize()}$"
    parts = unicodedata.normalize("NFD", letter)
    base, accents = parts[0], parts[1:]
    has = letter <= "\u017f" and base.isascii() and base.isprintable() and _ACCENTS.issuperset(accents)
    return letter if has or letter in _KNOWN else f"(U+{ord(letter):04X})"


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
