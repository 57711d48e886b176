"""What a study leaves behind: Parquet tables, written while it runs and read at any time."""

from typing import TYPE_CHECKING, Any

from flowsearch.results.writer import Writer

if TYPE_CHECKING:
    from flowsearch.results.reader import Results, load

__all__ = ["Results", "Writer", "load"]


def __getattr__(name: str) -> Any:
    # The writer needs no pandas, and a study's driver imports the writer only.
    if name in ("Results", "load"):
        from flowsearch.results import reader

        return getattr(reader, name)
    raise AttributeError(f"module 'flowsearch.results' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
