"""What the stored results say: statistics, figures and the report. Knows neither torch nor Ray."""

from collections.abc import Sequence
from pathlib import Path

Studies = Path | str | Sequence[Path | str]
"""The folder of a study, or those of several."""


def write_report(
    studies: Studies, out: Path | None = None, form: str = "html", pictures: bool | None = None
) -> Path | str:
    """Write the report of a study, or the tables of several; see `flowsearch.analysis.report.write_report`."""
    from flowsearch.analysis.report import write_report as write

    return write(_listed(studies), out, form, pictures)


def report_text(studies: Studies, form: str = "html") -> str:
    """What `write_report` would write, tables without figures."""
    from flowsearch.analysis.report import rendered

    return rendered(_listed(studies), form)


def _listed(studies: Studies) -> list[Path | str]:
    return [studies] if isinstance(studies, Path | str) else list(studies)


__all__ = ["report_text", "write_report"]
