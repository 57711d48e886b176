"""Pictures of chosen trials: what `panels` has of them, without reading the others into memory."""

from pathlib import Path

import pandas as pd
import pytest
from made_up import make_study

from flowsearch.results import Writer, load


@pytest.mark.parametrize("compacted", [False, True], ids=["parts", "merged"])
def test_they_are_the_rows_of_panels(compacted: bool, tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=9, epochs=1, images=2, compacted=compacted)
    panels = load(study).panels
    results = load(study)
    chosen = ["0000", "0003", next(name for name in panels["trial_id"] if name.startswith("prior-"))]
    expected = panels[panels["trial_id"].isin(chosen)].reset_index(drop=True)
    assert len(expected)
    pd.testing.assert_frame_equal(results.pictures(chosen), expected)
    pd.testing.assert_frame_equal(results.pictures(chosen[:1]), expected[expected["trial_id"] == "0000"])
    assert set(results.pictures(["0001", "0003"])["trial_id"]) == {"0001", "0003"}
    assert results.pictures([]).empty
    assert results.pictures(["9999"]).empty
    assert "panels" not in results.__dict__


def test_of_attempts_the_last_counts(tmp_path: Path) -> None:
    panel = {"split": "test", "image": 0, "kind": "truth", "psnr": None}
    with Writer(tmp_path / "s") as writer:
        for attempt, png in ((1, b"first"), (2, b"second")):
            writer.final("0000", attempt, {"panels": [panel | {"png": png}]})
        writer.final("0001", 1, {"panels": [panel | {"png": b"other"}]})
    assert load(tmp_path / "s").pictures({"0000"})["png"].tolist() == [b"second"]


def test_of_several_studies_they_are_called_as_trials_are(tmp_path: Path) -> None:
    one, two = (make_study(tmp_path / name, trials=3, seed=seed, epochs=1, images=1) for seed, name in enumerate("ab"))
    results = load(one, two)
    found = results.pictures(["a/0000", "b/0001"])
    assert set(found["trial_id"]) == {"a/0000", "b/0001"}
    assert set(load(two).pictures(["0001"])["png"]) == set(found.loc[found["trial_id"] == "b/0001", "png"])


def test_a_torn_part_of_a_chosen_trial_is_said_once(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=4, epochs=1, images=1)
    (study / "panels" / "0001-1.parquet").write_bytes(b"PAR1")
    results = load(study)
    assert len(results.pictures(["0000"]))
    assert results.notes == []
    with pytest.warns(UserWarning, match="0001-1.parquet"):
        assert results.pictures(["0001"]).empty
    results.pictures(["0001"])
    assert len(results.notes) == 1
