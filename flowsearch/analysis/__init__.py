"""What the stored results say: statistics, figures and the report. Knows neither torch nor Ray."""

from pathlib import Path


def write_report(study_dir: Path | str, out: Path | None = None, form: str = "html") -> Path | str:
    """Write the report of the study in `study_dir`; see `flowsearch.analysis.report.write_report`."""
    from flowsearch.analysis.report import write_report as write

    return write(study_dir, out, form)


def report_text(study_dir: Path | str, form: str = "html") -> str:
    """The report of the study in `study_dir`, as `write_report` would write it."""
    from flowsearch.analysis.report import rendered
    from flowsearch.results import load

    return rendered(load(study_dir), form)


__all__ = ["report_text", "write_report"]
