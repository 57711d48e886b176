"""The tables are plain Parquet: pandas, Polars and DuckDB read them without flowsearch, types and all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from made_up import make_study

from flowsearch.results import Results, load, schema

TABLES = list(schema.TABLES)


@pytest.fixture(scope="module", params=["small parts", "merged"])
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results") / "x"
    return make_study(root, trials=12, compacted=request.param == "merged")


def _pandas(folder: Path) -> pa.Table:
    return pa.Table.from_pandas(pd.read_parquet(folder, dtype_backend="pyarrow"), preserve_index=False)


def _polars(folder: Path) -> pa.Table:
    return pl.read_parquet(folder).to_arrow()


def _polars_lazily(folder: Path) -> pa.Table:
    return pl.scan_parquet(folder / "*.parquet").collect().to_arrow()


def _duckdb(folder: Path) -> pa.Table:
    found: Any = duckdb.sql(f"select * from '{folder}/*.parquet'").to_arrow_table()
    return found.read_all() if isinstance(found, pa.RecordBatchReader) else found


READERS: list[Callable[[Path], pa.Table]] = [_pandas, _polars, _polars_lazily, _duckdb]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("read", READERS)
def test_every_reader_finds_the_same_rows_and_types(study: Path, read: Callable[[Path], pa.Table], table: str) -> None:
    found = read(study / table)
    wanted = schema.arrow_schema(table)
    assert found.column_names == wanted.names
    expected = getattr(load(study), table)
    # Polars keeps text as large_string and duckdb names UTC otherwise; the kind and the values are what counts.
    for field in wanted:
        kind = found.schema.field(field.name).type
        for same_kind in (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_timestamp):
            assert same_kind(kind) == same_kind(field.type), field.name
    again = found.cast(wanted).to_pandas()
    key = [name for name in ("trial_id", "phase", "split", "epoch", "fold", "image", "kind") if name in again]
    again = again.sort_values(key, ignore_index=True)
    for name in ("trial_id", "psnr", "lr", "status", "png", "started", "epoch"):
        if name in again:
            assert again[name].tolist() == expected[name].tolist() or again[name].equals(expected[name].astype(float))


def test_no_column_holds_anything_but_plain_values() -> None:
    allowed = {pa.string(), pa.int32(), pa.int64(), pa.float64(), pa.bool_(), pa.binary(), pa.timestamp("us", "UTC")}
    assert {column.type for columns in schema.TABLES.values() for column in columns} <= allowed


def test_the_readmes_sql(study: Path, results: Results) -> None:
    found = duckdb.sql(f"select prox, max(val_psnr) from '{study}/trials/*.parquet' group by prox").fetchall()
    assert dict(found) == results.trials.groupby("prox")["val_psnr"].max().to_dict()


@pytest.fixture
def results(study: Path) -> Results:
    return load(study)
