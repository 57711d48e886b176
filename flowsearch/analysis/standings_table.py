"""The report's table of methods and tasks: the best configuration of each method on each task."""

from html import escape
from typing import Any

from flowsearch.analysis.wording import chosen_by, head
from flowsearch.results import Results
from flowsearch.results.configurations import ranked
from flowsearch.results.forms import written
from flowsearch.results.standings import SHOWN, in_order, measured, standings

CAPTION = (
    "For each method its best configuration on each task by {}, in which the test sets have no part. PSNR in dB and "
    "SSIM are means over the test images and over the configuration's seeds, OOD over the images out of distribution; "
    "time is of one image. The first row is what was measured, as an image."
)
_N = ' class="n"'


def standings_table(results: Results) -> str:
    """Methods as rows, tasks as columns; empty without completed trials."""
    metric, more = results.objective
    found = standings(ranked(results).to_dict("records"), metric, more=more)
    if not found:
        return ""
    groups = "".join(f'<th scope="colgroup" colspan="{len(SHOWN)}">{escape(task)}</th>' for task in found)
    heads = "".join(f'<th scope="col"{_N}>{head(name)}</th>' for name in SHOWN) * len(found)
    rows = [_row("measured", [{"test_psnr": measured(best)} for best in found.values()], list(found.values()))]
    rows += [
        _row(name, [best.get(name, {}) for best in found.values()], list(found.values())) for name in in_order(found)
    ]
    caption = escape(CAPTION.format(chosen_by(results)))
    return (
        f'<p class="caption">{caption}</p><div class="scroll standings" tabindex="0" role="region" '
        f'aria-label="Table of methods and tasks"><table><thead><tr><th></th>{groups}</tr>'
        f'<tr><th scope="col">method</th>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _row(name: str, trials: list[Any], bests: list[Any]) -> str:
    cells = []
    for trial, best in zip(trials, bests, strict=True):
        for column in SHOWN:
            text = escape(written(column, trial[column])) if column in trial else ""
            top = column in trial and _is_top(trial, best, column)
            cells.append(f"<td{_N}>{f'<b>{text}</b>' if top else text}</td>")
    return f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>'


def _is_top(trial: Any, best: Any, column: str) -> bool:
    """Whether no method's best trial reaches more; told of PSNR and SSIM only."""
    values = [other[column] for other in best.values() if isinstance(other.get(column), float)]
    known = column.endswith(("psnr", "ssim")) and len(values) > 1
    return known and isinstance(trial[column], float) and trial[column] >= max(values)
