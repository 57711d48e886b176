"""A source of Parquet: one file or a folder of shards, with the bytes of image files in a column.

Two layouts: a column of struct<bytes: binary, path: string>, as the `datasets` library writes it, and a plain column of
binary.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flowsearch.checks import check_choice
from flowsearch.data.source import Member, Read, Source, is_hidden, mark_of

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_BATCH = 32
"""Rows that are in memory at once; with what is buffered of their column."""
_BUFFER = 1 << 20


def shards_of(root: Path) -> list[Path]:
    """The Parquet files below a folder."""
    return [
        path
        for path in sorted(root.rglob("*.parquet"))
        if path.is_file() and not is_hidden(path.relative_to(root).as_posix())
    ]


class ParquetSource(Source):
    """The rows of Parquet files. A row is named by its `path` where each row has its own, else `FILE:ROW`."""

    def __init__(self, path: Path, column: str | None) -> None:
        root = path if path.is_dir() else path.parent
        paths = shards_of(path) if path.is_dir() else [path]
        self._paths = {shard.relative_to(root).as_posix(): shard for shard in paths}
        self.skipped = []
        if path.is_dir():
            others = [file.relative_to(root).as_posix() for file in sorted(root.rglob("*")) if file.is_file()]
            self.skipped = [
                (name, "not a Parquet file, as others here are")
                for name in others
                if name not in self._paths and not is_hidden(name)
            ]
        self._rows: list[int] = []
        self._column = column
        names: list[str | None] = []
        places: list[str] = []
        marks: list[str] = []
        for name, shard in self._paths.items():
            with _opened(shard) as file:
                self._column = _column(file, shard, self._column)
                rows = file.metadata.num_rows
                names += _paths_in(file, shard, self._column)
            self._rows.append(rows)
            places += [f"{name}:{row}" for row in range(rows)]
            marks += [mark_of(shard)] * rows
        named = Counter(names)
        own = None not in named and all(count == 1 for count in named.values())
        chosen = [str(name) for name in names] if own else places
        self.members = [Member(name, mark) for name, mark in zip(chosen, marks, strict=True)]

    def digest(self, *settings: str | None) -> str:
        """The column is part of which images these are."""
        return super().digest(self._column, *settings)

    def read(self, wanted: Sequence[int]) -> Iterator[tuple[int, Read]]:
        """Rows are read here, a few at a time; row groups with none of the wanted rows are passed over."""
        assert self._column is not None
        asked = set(wanted)
        start = 0
        for shard, rows in zip(self._paths.values(), self._rows, strict=True):
            if any(place in asked for place in range(start, start + rows)):
                with _opened(shard) as file:
                    for row, content in _contents(file, shard, self._column, start, asked):
                        yield row, partial(_content, content)
            start += rows


def _contents(
    file: "pq.ParquetFile", shard: Path, column: str, start: int, asked: set[int]
) -> Iterator[tuple[int, bytes | None]]:
    import pyarrow as pa

    place = start
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if not any(row in asked for row in range(place, place + rows)):
            place += rows
            continue
        try:
            for batch in file.iter_batches(_BATCH, row_groups=[group], columns=[column]):
                for value in batch.column(0):
                    if place in asked:
                        content = value.as_py()
                        yield place, content["bytes"] if isinstance(content, dict) else content
                    place += 1
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{shard} is damaged ({_line(error)}); fetch or make it again") from None


def _content(content: bytes | None) -> bytes:
    if content is None:
        raise ValueError("no bytes in its row")
    return content


def _opened(shard: Path) -> "pq.ParquetFile":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(shard, buffer_size=_BUFFER)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{shard} is no readable Parquet file ({_line(error)})") from None


def _column(file: "pq.ParquetFile", shard: Path, column: str | None) -> str:
    """The column of images: the one asked for, or the only one that may be it."""
    import pyarrow as pa

    schema = file.schema_arrow
    fitting = [field.name for field in schema if _holds_bytes(field.type)]
    if column is None:
        structs = [name for name in fitting if pa.types.is_struct(schema.field(name).type)]
        fitting = structs or fitting
        if len(fitting) != 1:
            rule = "which of them are the images? give --column" if fitting else "none holds the bytes of images"
            raise ValueError(f"{shard} has the columns {', '.join(fitting or schema.names)}: {rule}")
        return fitting[0]
    if column not in fitting:
        try:
            check_choice("column", column, fitting)
        except ValueError as error:
            raise ValueError(f"{shard}: {error}") from None
    return column


def _holds_bytes(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _paths_in(file: "pq.ParquetFile", shard: Path, column: str) -> list[str | None]:
    """Each row's `path`, without its bytes being read; None where the column has none."""
    import pyarrow as pa

    kind = file.schema_arrow.field(column).type
    if not pa.types.is_struct(kind) or all(field.name != "path" for field in kind):
        return [None] * file.metadata.num_rows
    try:
        table = file.read(columns=[f"{column}.path"])
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{shard} is damaged ({_line(error)}); fetch or make it again") from None
    return [None if row is None else row["path"] for row in table.column(0).to_pylist()]


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
