"""What the stored results say: statistics, figures and the report. Knows neither torch nor Ray."""

from pathlib import Path


def write_report(study_dir: Path | str, out: Path | None = None) -> Path | str:
    """Write the report of the study in `study_dir`; see `flowsearch.analysis.report.write_report`."""
    from flowsearch.analysis.report import write_report as write

    return write(study_dir, out)


__all__ = ["write_report"]
