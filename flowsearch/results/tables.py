"""Reads one table of a study from its part files, whatever else lies in the folder.

Everything that was left out is said: each function returns what it read and the sentences that name what it could not.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from flowsearch.results import schema

_TRIES = 5
_DTYPES = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
"""Whole numbers and truth values stay what they are beside a null."""

_ROW_OF: dict[str, list[str]] = {
    schema.TRIALS: ["trial_id"],
    schema.EPOCHS: ["trial_id", "phase", "epoch"],
    schema.FOLDS: ["trial_id", "epoch", "fold"],
    schema.IMAGES: ["trial_id", "split", "image"],
    schema.PANELS: ["trial_id", "split", "image", "kind", "fold"],
}
"""What tells two rows of a table apart, the attempt aside."""


def read_table(root: Path, table: str) -> tuple[pd.DataFrame, list[str]]:
    """All rows of `table` under `root`, each once, and what could not be read."""
    arrow, notes = _read_parts(root / table, table)
    frame = arrow.to_pandas(types_mapper=_DTYPES.get)
    return _last_attempts(frame, table), notes


def _read_parts(folder: Path, table: str) -> tuple[pa.Table, list[str]]:
    wanted = schema.arrow_schema(table)
    for _ in range(_TRIES):
        parts, notes = _list_parts(folder)
        if not parts:
            return wanted.empty_table(), notes
        try:
            arrow = ds.dataset([str(part) for part in parts], schema=wanted, format="parquet").to_table()
            foreign = arrow.column("trial_id").null_count or arrow.column("attempt").null_count
            if not foreign and _is_ours(parts[-1], table):
                return arrow, notes
        except FileNotFoundError:
            continue  # an earlier attempt's part went between the listing and the reading
        except (pa.ArrowException, OSError, ValueError):
            pass
        return _read_one_by_one(parts, table, notes)
    return _read_one_by_one(parts, table, notes)


def _list_parts(folder: Path) -> tuple[list[Path], list[str]]:
    if not folder.is_dir():
        return [], []
    parts, notes = [], []
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):
            continue
        if path.suffix == ".parquet" and path.is_file():
            parts.append(path)
        else:
            notes.append(f"{_short(path)} is no part of the table; left out")
    return parts, notes


def _is_ours(part: Path, table: str) -> bool:
    """Whether this flowsearch's version wrote the part; a study that a newer one went on with shows it in the last."""
    metadata = pq.read_schema(part).metadata or {}
    return metadata.get(schema.TABLE_KEY) == table.encode() and schema.version_of(metadata) == schema.VERSION


def _read_one_by_one(parts: Sequence[Path], table: str, notes: list[str]) -> tuple[pa.Table, list[str]]:
    wanted, read = schema.arrow_schema(table), []
    for part in parts:
        try:
            arrow = pq.ParquetFile(part).read()
        except FileNotFoundError:
            continue
        except (pa.ArrowException, OSError, ValueError) as error:
            what = str(error).splitlines()[0] if str(error) else type(error).__name__
            notes.append(f"{_short(part)} cannot be read ({what}); left out")
            continue
        metadata = arrow.schema.metadata or {}
        version = schema.version_of(metadata)
        if version is None or metadata.get(schema.TABLE_KEY) != table.encode():
            notes.append(f"{_short(part)} is not a part that flowsearch wrote; left out")
            continue
        if version > schema.VERSION:
            notes.append(
                f"{_short(part)} has schema version {version}, newer than {schema.VERSION}: columns that this "
                "flowsearch does not know are left out; update it to see them"
            )
        try:
            read.append(_conform(arrow, wanted))
        except (pa.ArrowException, ValueError) as error:
            notes.append(f"{_short(part)} does not fit the table ({str(error).splitlines()[0]}); left out")
    return pa.concat_tables(read) if read else wanted.empty_table(), notes


def _conform(arrow: pa.Table, wanted: pa.Schema) -> pa.Table:
    """`arrow` with exactly the wanted columns: missing ones null, unknown ones dropped."""
    names = set(arrow.column_names)
    columns = [
        arrow.column(field.name).cast(field.type) if field.name in names else pa.nulls(arrow.num_rows, field.type)
        for field in wanted
    ]
    return pa.table(columns, schema=wanted)


def _last_attempts(frame: pd.DataFrame, table: str) -> pd.DataFrame:
    """Each row once: the last attempt's, and the epochs before it where it went on from a checkpoint."""
    key = _ROW_OF[table]
    if frame.empty:
        return frame
    attempts = frame.groupby("trial_id", sort=False)["attempt"].transform("max")
    if (frame["attempt"] != attempts).any():
        frame = _keep_continued(frame, table) if "epoch" in key else frame[frame["attempt"] == attempts]
    frame = frame.drop_duplicates(key, keep="last")
    return frame.sort_values(key, kind="stable", ignore_index=True)


def _keep_continued(frame: pd.DataFrame, table: str) -> pd.DataFrame:
    """Of an earlier attempt, keep the epochs before the first of every later attempt of that trial and phase."""
    group = ["trial_id", "phase"] if table == schema.EPOCHS else ["trial_id"]
    firsts = frame.groupby([*group, "attempt"], sort=True)["epoch"].min().rename("first").reset_index()
    # Going from the last attempt back, the lowest first epoch of the attempts after each one.
    backwards = firsts.iloc[::-1]
    lowest = backwards.groupby(group, sort=False)["first"].cummin()
    firsts["before"] = lowest.groupby([backwards[name] for name in group], sort=False).shift(1)
    bound = frame.merge(firsts[[*group, "attempt", "before"]], on=[*group, "attempt"], how="left")["before"]
    keep = bound.isna() | (frame["epoch"].reset_index(drop=True) < bound).fillna(False)
    return frame[keep.to_numpy(dtype=bool)]


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
