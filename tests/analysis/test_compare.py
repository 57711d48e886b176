"""`Results.compare`: who is ahead, by how much, over what, and that the test images choose nothing."""

from pathlib import Path

import numpy as np
import pytest
from known_study import known_study

from flowsearch.analysis.comparisons import reached
from flowsearch.analysis.configurations_table import configurations_table
from flowsearch.analysis.findings import findings
from flowsearch.analysis.paper_tables import paper
from flowsearch.results import Results, load
from flowsearch.results.scores import Scores, non_finite
from flowsearch.statistics import holm

PROX = [({"prox": "glow"}, 29.0), ({"prox": "resnet"}, 28.0), ({"prox": "unet"}, 27.9)]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return known_study(tmp_path_factory.mktemp("known") / "single", PROX)


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return known_study(tmp_path_factory.mktemp("known") / "repeated", PROX, repeats=5, of_seed=0.2)


def test_each_pair_is_a_row_the_better_first(single: Results) -> None:
    table = single.compare("prox")
    assert list(zip(table["first"], table["second"], strict=True)) == [
        ("glow", "resnet"),
        ("glow", "unet"),
        ("resnet", "unet"),
    ]
    np.testing.assert_allclose(table["difference"], [1.0, 1.1, 0.1], atol=0.08)
    np.testing.assert_allclose(table["difference"], table["first_mean"] - table["second_mean"])
    assert set(table["images"]) == {30}
    assert set(table["seeds"]) == {1}
    assert set(table["over"]) == {"images"}
    assert ((table["low"] < table["difference"]) & (table["difference"] < table["high"])).all()
    np.testing.assert_allclose(table["p_holm"], holm(table["p"]))


def test_seeds_widen_what_images_alone_say(single: Results, repeated: Results) -> None:
    over_images, over_both = single.compare("prox"), repeated.compare("prox")
    assert set(over_both["over"]) == {"seeds and images"}
    assert set(over_both["seeds"]) == {5}
    assert ((over_both["high"] - over_both["low"]) > 3 * (over_images["high"] - over_images["low"])).all()
    assert over_both["low"][0] < 1.0 < over_both["high"][0]


def test_what_is_best_by_validation_is_compared_and_not_what_is_best_on_the_test_images(tmp_path: Path) -> None:
    worth = [
        ({"prox": "glow", "val_psnr": 30.0}, 25.0),
        ({"prox": "glow", "val_psnr": 20.0}, 35.0),
        ({"prox": "unet"}, 27.0),
    ]
    (row,) = known_study(tmp_path / "s", worth).compare("prox").to_dict("records")
    assert (row["first"], row["first_trial"]) == ("glow", "0000")
    assert row["difference"] == pytest.approx(-2.0, abs=0.1)


def test_the_best_is_by_the_mean_over_repeats_and_not_by_a_lucky_seed(tmp_path: Path) -> None:
    results = known_study(
        tmp_path / "s",
        [({"lr": 1e-3}, 28.0), ({"lr": 1e-4}, 27.8), ({"prox": "unet"}, 20.0)],
        repeats=3,
        of_seed=1.0,
        seed=2,
    )
    glow = results.completed[results.completed["prox"] == "glow"]
    means = glow.groupby("configuration")["val_psnr"].mean()
    lucky = glow.loc[glow["val_psnr"].idxmax(), "configuration"]
    assert means.idxmax() != lucky  # the simulation's point
    assert results.compare("prox")["first_trial"][0] == f"{3 * int(means.idxmax()):04d}"


def test_tasks_are_compared_each_for_itself_and_corrected_together(tmp_path: Path) -> None:
    worth = [
        ({"prox": prox, "task": task}, mean + easy)
        for task, easy in (("denoise-0.1", 0.0), ("inpaint-9", 5.0))
        for prox, mean in (("glow", 29.0), ("unet", 28.0))
    ]
    table = known_study(tmp_path / "s", worth).compare("prox", by="task")
    assert table["task"].tolist() == ["denoise-0.1", "inpaint-9"]
    np.testing.assert_allclose(table["difference"], 1.0, atol=0.1)
    assert (table["p_holm"] >= 2 * table["p"].min()).all()


@pytest.mark.parametrize(("versus", "pairs"), [("unet", ["glow", "resnet"]), ("best", ["resnet", "unet"])])
def test_versus_holds_the_others_against_one(single: Results, versus: str, pairs: list[str]) -> None:
    table = single.compare("prox", versus=versus)
    assert table["first"].tolist() == pairs
    assert set(table["second"]) == {"glow" if versus == "best" else versus}
    signs = {"unet": 1, "best": -1}
    assert (np.sign(table["difference"]) == signs[versus]).all()


def test_out_of_distribution_is_compared_by_its_own_images(single: Results) -> None:
    table = single.compare("prox", split="ood")
    assert set(table["split"]) == {"ood"}
    np.testing.assert_allclose(table["first_mean"][0], 27.0, atol=0.1)


def test_without_images_the_trials_means_are_compared_over_seeds(repeated: Results, tmp_path: Path) -> None:
    results = load(repeated.path)
    results.images = results.images.iloc[:0]
    table = results.compare("prox")
    assert set(table["over"]) == {"seeds"}
    assert set(table["images"]) == {0}
    with_images = repeated.compare("prox")
    np.testing.assert_allclose(table["difference"], with_images["difference"])
    # The images add next to nothing here, so both are Student's over five paired seeds.
    np.testing.assert_allclose(table["high"], with_images["high"], atol=0.12)


def test_seeds_that_only_one_side_has_are_not_paired(tmp_path: Path) -> None:
    worth = [({"prox": "glow"}, 29.0), ({"prox": "unet"}, 28.0)]
    results = known_study(tmp_path / "s", worth, repeats=4, of_seed=0.3)
    results.trials.loc[results.trials["trial_id"] == "0007", "status"] = "failed"
    (row,) = results.compare("prox").to_dict("records")
    assert row["seeds"] == 3
    assert row["low"] < 1.0 < row["high"]


LIMITED = 'constraints: ["parameters <= 10"]\n'


@pytest.mark.parametrize(
    ("worth", "study", "why"),
    [
        (PROX[:1], "", "of prox only glow was completed"),
        (PROX, LIMITED, "no configuration that has prox and task was completed and keeps to the constraints"),
        ([PROX[0], ({"prox": "unet", "task": "inpaint-9"}, 28.0)], "", r"no two values of prox \(glow, unet\)"),
        ([(config | {"test_psnr": None}, mean) for config, mean in PROX], "", "is not known"),
    ],
    ids=["one kind", "limits", "tasks", "no test images"],
)
def test_an_empty_table_says_why(
    tmp_path: Path, worth: list[tuple[dict[str, object], float]], study: str, why: str
) -> None:
    results = known_study(tmp_path / "s", worth, study=study)
    if "not known" in why:
        results.images = results.images.iloc[:0]
    with pytest.warns(UserWarning, match=f"nothing to compare: .*{why}"):
        table = results.compare("prox")
    assert table.empty
    assert {"difference", "low", "high", "p_holm"} <= set(table.columns)


def test_a_report_of_one_kind_warns_of_nothing(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    results = known_study(tmp_path / "s", PROX[:1])
    assert len(findings(results)) == 1
    assert paper(results).tables
    assert not recwarn.list


@pytest.mark.parametrize(
    ("differ", "named"),
    [({"task": "inpaint-9"}, "tasks"), ({"source": "celeba"}, "data sets"), ({"size": 64}, "image sizes")],
    ids=["task", "source", "size"],
)
def test_numbers_of_what_is_easier_are_not_compared(tmp_path: Path, differ: dict[str, object], named: str) -> None:
    ((column, _),) = differ.items()
    worth = [(config | {"prox": prox}, mean) for prox in ("glow", "unet") for config, mean in (({}, 28), (differ, 33))]
    results = known_study(tmp_path / "s", [(config, mean + ("glow" in str(config))) for config, mean in worth])
    groups = [name for name in ("task", "source", "size") if name != column]
    for asked in (lambda: results.compare("prox", by=groups), lambda: results.by("prox", *groups), results.best):
        with pytest.raises(ValueError, match=f"different {named} are not compared"):
            asked()
    table = results.compare("prox", by=["task", column])
    np.testing.assert_allclose(table["difference"], [1.0, 1.0], atol=0.1)
    assert sorted(results.by(column, "prox")["best_val_psnr"]) == [28, 29, 33, 34]


DATA = "data: {{source: faces, size: 32, test: 30, seed: {seed}, ood: {ood}}}\n"


@pytest.mark.parametrize(
    ("other", "paired"),
    [
        ({}, {"test": True, "ood": True}),
        ({"seed": 1}, {"test": False, "ood": False}),
        ({"ood": "cats"}, {"test": True, "ood": False}),
    ],
    ids=["the same", "another split", "others out of distribution"],
)
def test_only_the_same_images_of_two_studies_are_paired(
    tmp_path: Path, other: dict[str, object], paired: dict[str, bool]
) -> None:
    data = {"seed": 0, "ood": "anime"}
    known_study(tmp_path / "one", PROX[:1], study=DATA.format(**data))
    known_study(tmp_path / "two", PROX[1:2], study=DATA.format(**data | other), seed=1)
    both = load(tmp_path / "one", tmp_path / "two")
    for split, same in paired.items():
        (row,) = both.compare("prox", split=split).to_dict("records")
        assert (row["images"], row["over"]) == ((30, "images") if same else (0, ""))


def test_a_single_fold_stands_for_neither_tied_nor_untied_weights(tmp_path: Path) -> None:
    worth = [({"weights": "tied", "folds": 1}, 30.0), ({"weights": "tied"}, 28.0), ({"weights": "untied"}, 28.5)]
    (row,) = known_study(tmp_path / "s", worth).compare("weights", versus="tied").to_dict("records")
    assert (row["first_trial"], row["second_trial"]) == ("0002", "0001")
    assert row["difference"] == pytest.approx(0.5, abs=0.1)


def test_one_image_of_several_seeds_is_over_seeds(tmp_path: Path) -> None:
    (row,) = known_study(tmp_path / "s", PROX[:2], repeats=3, images=1).compare("prox").to_dict("records")
    assert (row["images"], row["seeds"], row["over"]) == (1, 3, "seeds")


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda r: r.compare("porx"), "did you mean prox"),
        (lambda r: r.compare("prox", by="tsk"), "did you mean task"),
        (lambda r: r.compare("prox", metric="pnsr"), "did you mean psnr"),
        (lambda r: r.compare("prox", split="train"), "test, ood"),
        (lambda r: r.compare("prox", versus="vit"), "a value of prox"),
    ],
    ids=["column", "by", "metric", "split", "versus"],
)
def test_what_is_not_there_is_refused_by_name(single: Results, call: object, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call(single)  # type: ignore[operator]


def test_configurations_are_means_over_their_repeats(repeated: Results) -> None:
    found = repeated.configurations
    assert found["repeats"].tolist() == [5, 5, 5]
    first = repeated.completed[repeated.completed["configuration"] == 0]
    assert found["val_psnr"][0] == pytest.approx(first["val_psnr"].mean())
    assert found["trials"][0] == tuple(first["trial_id"])
    assert found["trial_id"].tolist() == ["0000", "0005", "0010"]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Trial 0001, the second seed of the best configuration, has two test images that are not finite."""
    folder = tmp_path_factory.mktemp("known") / "broken"
    return known_study(folder, PROX, repeats=2, lost=[(1, 3), (1, 4)])


def test_a_mean_over_an_image_that_is_not_finite_is_unknown(broken: Results) -> None:
    chosen = broken.configurations
    assert chosen["test_psnr"].isna().tolist() == [True, False, False]
    assert chosen["ood_psnr"].notna().all()
    found = reached(broken, chosen)
    assert [score is None for score in found["score"]] == [True, False, False]
    assert [gain is None for gain in found["gain"]] == [True, False, False]
    table = broken.compare("prox")
    assert list(zip(table["first"], table["second"], strict=True)) == [("resnet", "unet")]
    assert len(broken.compare("prox", split="ood")) == 3
    scores = Scores(broken, chosen)
    assert np.isnan(scores.value(chosen.iloc[0]))


def test_how_many_are_not_finite_is_said_beside_what_is_unknown(broken: Results) -> None:
    assert non_finite(broken).to_dict("records") == [{"trial_id": "0001", "split": "test", "failed": 2, "images": 30}]
    said = " ".join(findings(broken))
    assert "leave means over their images unknown: trial 0001: 2 of 30 test images." in said
    assert "It reaches" not in said
    made = paper(broken)
    (table,) = [one for one in made.tables if one.title.startswith("Table I:")]
    assert [cell.text for cell in table.rows[0]][table.heads.index("glow")] == "unknown"
    assert "the notes at the end count these" in table.caption
    notes = dict(made.notes)
    assert notes["not finite"] == "trial 0001: 2 of 30 test images; means over them are unknown"
    assert "–" in configurations_table(broken)


def test_what_is_finite_is_not_said_to_be_otherwise(single: Results) -> None:
    assert non_finite(single).empty
    assert "not finite" not in " ".join(findings(single))
