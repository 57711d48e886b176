"""Grids of pictures: reconstructions, images fold by fold, and what priors look like."""

from pathlib import Path

import pytest
from made_up import make_study

from flowsearch.analysis.figures import GRIDS, fold_images, prior_pictures, reconstructions
from flowsearch.results import Results, load


@pytest.mark.parametrize("split", ["test", "ood"])
def test_the_grid_goes_from_measurement_to_truth(results: Results, split: str) -> None:
    frame = reconstructions.data(results, "denoise-0.1", split, images=3)
    for _, rows in frame.groupby("image"):
        assert rows["column"].tolist() == ["measurement", "glow", "resnet", "unet", "truth"]
        assert rows["psnr"].isna().tolist() == [False, False, False, False, True]
    assert frame["image"].nunique() == 3
    best = results.by("prox")["best_trial"]
    made = frame[frame["kind"] == "reconstruction"]
    assert (made["trial_id"] == made["column"].map(best)).all()


def test_the_grid_keeps_to_its_bytes_but_shows_one_image(results: Results) -> None:
    one = reconstructions.data(results, "denoise-0.1", limit=1)
    assert len(set(one["image"])) == 1
    assert reconstructions.draw(one).count("<img") == 5
    assert reconstructions.draw(one.iloc[:0]) == ""


def test_the_best_of_an_image_is_bold(results: Results) -> None:
    frame = reconstructions.data(results, images=2)
    drawn = reconstructions.draw(frame)
    assert drawn.count("<b>") == 2
    for _, rows in frame.groupby("image"):
        assert f"<b>{rows['psnr'].max():.2f}</b>" in drawn


def test_folds_go_from_the_start_to_the_last_one(results: Results) -> None:
    frame = fold_images.data(results)
    best = results.by("prox")["best_trial"]
    assert list(frame["trial_id"].unique()) == [best[name] for name in frame["label"].unique()]
    assert set(frame["trial_id"]) == set(best)
    folds = results.trials.set_index("trial_id")["folds"]
    for trial_id, own in frame.groupby("trial_id"):
        kinds = ["measurement", *["fold"] * (folds[trial_id] + 1), "truth"]
        assert own["kind"].tolist() == kinds
        assert own["fold"].dropna().tolist() == list(range(folds[trial_id] + 1))
    drawn = fold_images.draw(frame)
    assert drawn.count("<img") == len(frame)
    most = folds[frame["trial_id"].unique()].max()
    assert [f"fold {fold}" in drawn for fold in range(most + 2)] == [False, *[True] * most, False]


def test_as_many_networks_as_fit_the_best_first(results: Results) -> None:
    frame = fold_images.data(results, limit=1)
    assert frame["trial_id"].unique().tolist() == [results.best()["trial_id"]]


def test_priors_show_their_mode_and_samples_with_what_they_are(results: Results) -> None:
    frame = prior_pictures.data(results)
    trials = results.trials.dropna(subset=["prior"])
    assert set(frame["prior"]) == set(trials["prior"])
    for prior, own in frame.groupby("prior"):
        assert own["kind"].tolist() == ["mode", "sample", "sample", "sample"]
        users = trials[trials["prior"] == prior]
        assert set(own["trials"]) == {len(users)}
        assert set(own["flow"]) == {
            f"depth {users['depth'].iloc[0]}, levels {users['levels'].iloc[0]}, hidden 32, last depth 1"
        }
    drawn = prior_pictures.draw(frame)
    assert drawn.count("<img") == len(frame)
    assert drawn.count('scope="row"') == frame["prior"].nunique()
    assert "4.40 bits/dim" in drawn


@pytest.mark.parametrize("section", GRIDS, ids=lambda section: section.anchor)
@pytest.mark.parametrize("options", [{"trials": 0}, {"trials": 2, "statuses": ("failed",)}, {"trials": 3, "panels": 0}])
def test_what_has_no_pictures_has_no_grid(section, options: dict, tmp_path: Path) -> None:
    results = load(make_study(tmp_path / "s", **options))
    for grid in section.grids(results):
        frame = grid.data(results)
        assert frame.empty
        assert grid.draw(frame) == ""


def test_a_table_of_before_there_were_folds_and_priors_shows_the_rest(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    study = make_study(tmp_path / "s", trials=5, epochs=2, images=2)
    for table, column in (("panels", "fold"), ("trials", "prior")):
        for path in (study / table).glob("*.parquet"):
            rows = pq.read_table(path)
            if table == "panels":
                rows = rows.filter([kind.as_py() != "fold" for kind in rows["kind"]])
            pq.write_table(rows.drop_columns([column]), path)
    results = load(study)
    assert len(reconstructions.data(results))
    assert fold_images.data(results).empty
    assert prior_pictures.data(results).empty
