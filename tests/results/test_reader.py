"""The reader: everything once, whatever attempts, torn files and strangers lie in the folder."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up import epoch_record, make_study

import flowsearch
from flowsearch.results import Results, Writer, load, schema

TABLES = list(schema.TABLES)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(tmp_path_factory.mktemp("results") / "quickstart", trials=12)


@pytest.mark.parametrize("table", TABLES)
def test_tables_have_the_schemas_columns_and_each_row_once(study: Path, table: str) -> None:
    frame = getattr(load(study), table)
    assert list(frame.columns) == [column.name for column in schema.TABLES[table]]
    assert len(frame) == len(pd.read_parquet(study / table))
    assert set(frame["study"]) == {"quickstart"}


@pytest.mark.parametrize("table", TABLES)
def test_tables_are_read_once(study: Path, table: str) -> None:
    results = load(study)
    assert getattr(results, table) is getattr(results, table)


def test_whole_numbers_and_truth_values_stay_themselves_beside_nulls(study: Path) -> None:
    trials = load(study).trials
    assert str(trials["depth"].dtype) == "Int32"
    assert str(trials["pretrain"].dtype) == "boolean"
    assert trials["depth"].isna().any()
    assert str(trials["started"].dt.tz) == "UTC"


def test_flowsearch_load_is_the_readers(study: Path) -> None:
    assert flowsearch.load is load
    assert len(flowsearch.load(str(study)).trials) == 12


def test_best_is_the_best_completed_by_the_objective(study: Path) -> None:
    results = load(study)
    completed = results.trials[results.trials["status"] == "completed"]
    assert results.best()["val_psnr"] == completed["val_psnr"].max()
    assert results.best("ood_psnr")["ood_psnr"] == completed["ood_psnr"].max()
    assert results.best("val_loss")["val_loss"] == completed["val_loss"].min()
    assert results.best("seconds")["seconds"] == completed["seconds"].min()


def test_a_minimized_objective_turns_best_round(study: Path, tmp_path: Path) -> None:
    copy = make_study(tmp_path / "copy", trials=6)
    text = (copy / "study.yaml").read_text().replace("val_psnr: maximize", "val_loss: minimize")
    (copy / "study.yaml").write_text(text)
    results = load(copy)
    assert results.objective == ("val_loss", False)
    assert results.best()["val_loss"] == results.completed["val_loss"].min()


@pytest.mark.parametrize("limit", ["parameters <= {}", "parameters >= {}"], ids=["at most", "at least"])
def test_what_breaks_a_constraint_is_never_best(tmp_path: Path, limit: str) -> None:
    copy = make_study(tmp_path / "copy", trials=9)
    bound = int(load(copy).completed["parameters"].median())
    (copy / "study.yaml").write_text((copy / "study.yaml").read_text() + f'constraints: ["{limit.format(bound)}"]\n')
    results = load(copy)
    kept = results.completed.query(limit.format(bound))
    assert 0 < len(kept) < len(results.completed)
    assert set(results.ranked()["trial_id"]) == set(kept["trial_id"])


def test_best_refuses_an_unknown_metric_by_its_nearest_name(study: Path) -> None:
    with pytest.raises(ValueError, match="did you mean test_psnr"):
        load(study).best("test_pnsr")


def test_best_says_why_there_is_none(tmp_path: Path) -> None:
    results = load(make_study(tmp_path / "s", trials=3, statuses=["failed"]))
    with pytest.raises(ValueError, match=r"s has none \(3 failed\)"):
        results.best()


def test_by_counts_every_trial_and_takes_the_best_by_validation(study: Path) -> None:
    results = load(study)
    summary = results.by("prox")
    assert list(summary.index) == ["glow", "resnet", "unet"]
    assert summary["trials"].sum() == 12
    for prox, row in summary.iterrows():
        own = results.completed[results.completed["prox"] == prox]
        assert row["completed"] == len(own)
        assert row["best_val_psnr"] == own["val_psnr"].max()
        assert row["mean_val_psnr"] == pytest.approx(own["val_psnr"].mean())
        assert row["best_test_psnr"] == own.set_index("trial_id").loc[row["best_trial"], "test_psnr"]


def test_by_several_columns(study: Path) -> None:
    summary = load(study).by("task", "prox")
    assert summary.index.names == ["task", "prox"]


def test_by_refuses_an_unknown_column(study: Path) -> None:
    with pytest.raises(ValueError, match="did you mean prox"):
        load(study).by("porx")


@pytest.mark.parametrize(
    ("second", "kept"),
    [
        pytest.param([4, 5], [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2)], id="goes on from a checkpoint"),
        pytest.param([3, 4], [(1, 1), (2, 1), (3, 2), (4, 2)], id="repeats the last epoch"),
        pytest.param([1, 2], [(1, 2), (2, 2)], id="starts again and is shorter"),
        pytest.param([], [(1, 1), (2, 1), (3, 1)], id="has no epoch yet"),
    ],
)
def test_of_two_attempts_the_last_wins_where_they_overlap(
    second: list[int], kept: list[tuple[int, int]], tmp_path: Path
) -> None:
    with Writer(tmp_path, strict=True) as writer:
        writer.epoch("0001", 1, epoch_record(9))  # another trial is not touched
        for attempt, epochs in ((1, [1, 2, 3]), (2, second)):
            writer.epoch("0000", 1, epoch_record(1, phase="prior"))
            for epoch in epochs:
                writer.epoch("0000", attempt, epoch_record(epoch, folds=2))
    results = load(tmp_path)
    epochs = results.epochs[(results.epochs["trial_id"] == "0000") & (results.epochs["phase"] == "train")]
    assert list(zip(epochs["epoch"], epochs["attempt"], strict=True)) == kept
    folds = results.folds[results.folds["trial_id"] == "0000"]
    assert list(zip(folds["epoch"], folds["attempt"], strict=True)) == [pair for pair in kept for _ in range(2)]
    assert len(results.epochs[results.epochs["phase"] == "prior"]) == 1
    assert len(results.epochs[results.epochs["trial_id"] == "0001"]) == 1


def test_three_attempts(tmp_path: Path) -> None:
    with Writer(tmp_path, strict=True) as writer:
        for attempt, epochs in ((1, [1, 2, 3, 4]), (2, [4, 5, 6]), (3, [3, 4])):
            for epoch in epochs:
                writer.epoch("0000", attempt, epoch_record(epoch))
    epochs = load(tmp_path).epochs
    assert list(zip(epochs["epoch"], epochs["attempt"], strict=True)) == [(1, 1), (2, 1), (3, 3), (4, 3)]


def test_images_are_those_of_the_last_attempt(tmp_path: Path) -> None:
    with Writer(tmp_path, strict=True) as writer:
        for attempt, count in ((1, 3), (2, 2)):
            rows = [{"split": "test", "image": i, "psnr": 20.0 + attempt, "ssim": 0.5} for i in range(count)]
            writer.final("0000", attempt, {"images": rows, "panels": []})
    images = load(tmp_path).images
    assert images[["image", "psnr"]].to_numpy().tolist() == [[0, 22.0], [1, 22.0]]


def _torn(folder: Path) -> str:
    part = sorted((folder / "trials").glob("*.parquet"))[3]
    part.write_bytes(part.read_bytes()[:500])
    return part.name


def _empty_file(folder: Path) -> str:
    (folder / "trials" / "0100-1.parquet").touch()
    return "0100-1.parquet"


def _foreign(folder: Path) -> str:
    pq.write_table(pa.table({"trial_id": ["x"], "status": ["completed"]}), folder / "trials" / "0000.parquet")
    return "0000.parquet"


def _foreign_columns(folder: Path) -> str:
    pq.write_table(pa.table({"apples": [1]}), folder / "trials" / "0000-foreign.parquet")
    return "0000-foreign.parquet"


def _other_table(folder: Path) -> str:
    part = next((folder / "epochs").glob("*.parquet"))
    (folder / "trials" / "zzz.parquet").write_bytes(part.read_bytes())
    return "zzz.parquet"


def _no_parquet(folder: Path) -> str:
    (folder / "trials" / "notes.txt").write_text("hello")
    return "notes.txt"


@pytest.mark.parametrize("harm", [_torn, _empty_file, _foreign, _foreign_columns, _other_table, _no_parquet])
def test_a_torn_or_foreign_file_is_named_and_the_rest_is_read(harm: Callable[[Path], str], tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=6)
    name = harm(study)
    results = load(study)
    with pytest.warns(UserWarning, match=name):
        trials = results.trials
    assert len(trials) == (5 if harm is _torn else 6)
    assert len(results.notes) == 1
    assert len(results.epochs)


def test_a_newer_version_is_read_as_far_as_it_is_known(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=3)
    part = sorted((study / "trials").glob("*.parquet"))[-1]
    table = pq.ParquetFile(part).read()
    newer = table.append_column("flavour", pa.array(["sweet"])).drop_columns(["clip"])
    metadata = {schema.TABLE_KEY: b"trials", schema.VERSION_KEY: b"99"}
    pq.write_table(newer.replace_schema_metadata(metadata), part)
    results = load(study)
    with pytest.warns(UserWarning, match="schema version 99"):
        trials = results.trials
    assert len(trials) == 3
    assert trials["clip"].isna().sum() == 1


def test_an_older_version_is_said_and_what_it_lacks_is_empty(tmp_path: Path) -> None:
    """A study begun by an older flowsearch and gone on with by this one."""
    study = make_study(tmp_path / "s", trials=5)
    expected = load(study).trials
    old = [
        column for column in schema.TABLES["trials"] if column.name not in ("method", "micro_batch", "test_residual")
    ]
    fields = [pa.field(one.name, pa.int64() if one.name == "folds" else one.type) for one in old]
    metadata = {schema.TABLE_KEY: b"trials", schema.VERSION_KEY: str(schema.VERSION - 1).encode()}
    for part in sorted((study / "trials").iterdir())[:3]:
        row = pq.ParquetFile(part).read([one.name for one in old])
        pq.write_table(row.cast(pa.schema(fields)).replace_schema_metadata(metadata), part)
    with pytest.warns(UserWarning, match=r"0000-1.parquet and 2 more has schema version 0, older than 1"):
        trials = load(study).trials
    assert trials["method"].isna().tolist() == [True, True, True, False, False]
    kept = [one.name for one in old]
    pd.testing.assert_frame_equal(trials[kept], expected[kept])
    assert len(load(study).epochs)
    Writer(study).compact()
    merged = load(study)
    pd.testing.assert_frame_equal(merged.trials, trials)
    assert merged.notes == []


def test_a_study_with_failed_trials_only_shows_them(tmp_path: Path) -> None:
    results = load(make_study(tmp_path / "s", trials=3, statuses=["failed"]))
    assert results.counts == {"failed": 3}
    assert set(results.trials["reason"]) == {"out of memory"}
    assert results.by()["completed"].sum() == 0
    assert results.ranked().empty
    assert results.images.empty
    assert results.notes == []


def test_a_study_that_has_not_begun_is_empty(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("name: begun\n")
    results = load(tmp_path)
    for table in TABLES:
        assert len(getattr(results, table)) == 0
    assert results.counts == {}
    assert results.by().empty
    assert "no trials yet" in repr(results)
    assert results.provenance == {}


def test_a_running_trials_epochs_show(tmp_path: Path) -> None:
    results = load(make_study(tmp_path / "s", trials=3, unfinished=True))
    assert results.counts["running"] == 1
    assert "0002" in set(results.epochs["trial_id"])


@pytest.mark.parametrize("name", ["absent", "other"])
def test_a_folder_that_is_no_study_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match="a study"):
        load(tmp_path / name)


@pytest.mark.parametrize(("name", "content"), [("study.yaml", "a: ["), ("provenance.json", '{"a"')])
def test_a_torn_side_file_is_named(name: str, content: str, tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=2)
    (study / name).write_text(content)
    results: Results = load(study)
    with pytest.warns(UserWarning, match=name):
        assert (results.study if name == "study.yaml" else results.provenance) == {}
