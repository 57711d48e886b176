"""Several studies as one: whose each row is, and which trial, whatever they are called."""

from pathlib import Path

import pandas as pd
import pytest
from made_up import make_study

import flowsearch
from flowsearch.results import Results, load, schema

TABLES = list(schema.TABLES)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    make_study(root / "one", trials=8)
    make_study(root / "two", trials=5, seed=1)
    make_study(root / "elsewhere" / "one", trials=3, seed=2)
    return root


@pytest.fixture(scope="module")
def both(root: Path) -> Results:
    return load(root / "one", root / "two")


@pytest.mark.parametrize("table", TABLES)
def test_the_tables_lie_one_below_the_other(root: Path, both: Results, table: str) -> None:
    frame = getattr(both, table)
    for name in ("one", "two"):
        own, alone = frame[frame["study"] == name], getattr(load(root / name), table)
        assert own["trial_id"].tolist() == [f"{name}/{trial}" for trial in alone["trial_id"]]
        rest = [column for column in frame if column != "trial_id"]
        pd.testing.assert_frame_equal(own[rest].reset_index(drop=True), alone[rest])


def test_a_trials_id_names_one_trial(both: Results) -> None:
    assert both.trials["trial_id"].is_unique
    assert both.trials["index"].duplicated().any()
    assert both.best()["trial_id"] in set(both.trials["trial_id"])
    assert set(both.images["trial_id"]) <= set(both.trials["trial_id"])


def test_a_list_is_taken_as_well(root: Path, both: Results) -> None:
    again = flowsearch.load([str(root / "one"), root / "two"])
    pd.testing.assert_frame_equal(again.trials, both.trials)


def test_studies_of_one_name_are_told_apart_by_their_folders(root: Path) -> None:
    results = load(root / "one", root / "elsewhere" / "one", root / "two")
    names = list(results.studies)
    assert names == [f"{root.name}/one", "elsewhere/one", "two"]
    assert results.trials["study"].value_counts().to_dict() == dict(zip(names, (8, 3, 5), strict=True))


def test_what_the_study_files_agree_on_holds_for_all(root: Path, tmp_path: Path, both: Results) -> None:
    assert both.objective == ("val_psnr", True)
    assert "name" not in both.study
    assert both.name == "one, two"
    other = make_study(tmp_path / "other", trials=2)
    text = (other / "study.yaml").read_text().replace("val_psnr: maximize", "val_ssim: maximize")
    (other / "study.yaml").write_text(text)
    mixed = load(root / "one", other)
    with pytest.warns(UserWarning, match="differ in their objective"):
        assert mixed.objective == ("val_psnr", True)


def test_provenance_is_each_ones(both: Results) -> None:
    assert set(both.provenance) == {"one", "two"}
    assert both.provenance["two"]["trials"] == 5


def test_a_traceback_is_found_by_the_trials_id(root: Path, both: Results) -> None:
    failed = both.trials.loc[both.trials["status"] == "failed", "trial_id"].iloc[0]
    assert "out of memory" in both.traceback(failed)
    assert load(root / "one").traceback(failed.partition("/")[2]) == both.traceback(failed)
    assert both.traceback("one/0000") == ""


def test_notes_say_whose_they_are(root: Path, tmp_path: Path) -> None:
    torn = make_study(tmp_path / "torn", trials=3)
    (torn / "trials" / "0001-1.parquet").write_bytes(b"PAR1")
    results = load(root / "one", torn)
    with pytest.warns(UserWarning, match=r"torn: trials/0001-1\.parquet cannot be read"):
        assert len(results.trials) == 10


@pytest.mark.parametrize("where", [(), ("one", "one")], ids=["none", "the same twice"])
def test_what_makes_no_sense_is_refused(root: Path, where: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"load takes|given once"):
        load(*(root / name for name in where))


def test_a_uri_of_a_folder_is_the_folder(root: Path) -> None:
    results = load((root / "one").as_uri())
    pd.testing.assert_frame_equal(results.trials, load(root / "one").trials)
    with pytest.raises(ValueError, match="no folder"):
        load((root / "none").as_uri())
