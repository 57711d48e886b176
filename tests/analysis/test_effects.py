"""Effects of single factors: matched where a study has matched configurations, and labelled where it has not."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from known_study import known_study

from flowsearch.analysis.findings import findings
from flowsearch.analysis.statistics import alone, effect
from flowsearch.results import load

GAIN = 0.4


def _grid(spread: float = 1.0) -> list[tuple[dict[str, object], float]]:
    """Untied weights are worth `GAIN`, whatever the folds and the rate, which matter far more."""
    return [
        (
            {"weights": weights, "folds": folds, "lr": lr},
            25 + spread * folds + (lr == 1e-3) + GAIN * (weights == "untied"),
        )
        for weights, folds, lr in product(("tied", "untied"), (2, 3, 4), (1e-4, 1e-3))
    ]


def test_a_grid_compares_what_differs_in_nothing_else(tmp_path: Path) -> None:
    table = effect(known_study(tmp_path / "s", _grid(), study="mode: grid\n"), "weights")
    assert table["value"].tolist() == ["tied", "untied"]
    assert table["matched"].all()
    untied = table.iloc[1]
    assert untied["pairs"] == 6
    assert untied["over"] == "configurations"
    assert untied["difference"] == pytest.approx(GAIN, abs=0.05)
    # The configurations' own spread, over 2 dB, is in the means and not in the difference.
    assert untied["difference_high"] - untied["difference_low"] < 0.2
    assert untied["high"] - untied["low"] > 1.0
    assert table["difference"].isna()[0]


def test_the_intervals_of_matched_effects_cover_the_known_one(tmp_path: Path) -> None:
    hits = 0
    for seed in range(20):
        results = known_study(tmp_path / str(seed), _grid(), seed=seed, rest=1.0, images=8, study="mode: grid\n")
        row = effect(results, "weights").iloc[1]
        hits += row["difference_low"] <= GAIN <= row["difference_high"]
    assert hits >= 17


def test_a_search_is_labelled_as_unmatched(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    worth = [
        ({"weights": ("tied", "untied")[i % 2], "lr": float(10 ** rng.uniform(-5, -3))}, 27 + GAIN * (i % 2))
        for i in range(20)
    ]
    table = effect(known_study(tmp_path / "s", worth), "weights")
    assert not table["matched"].any()
    assert table["n"].tolist() == [10, 10]
    assert table["difference"][1] == pytest.approx(GAIN, abs=0.05)
    assert table["pairs"][1] == 0


def test_what_the_network_adds_is_no_effect_of_what_a_search_tried_with_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    worth = []
    for _ in range(60):
        unet = rng.random() < 0.5
        untied = rng.random() < (0.8 if unet else 0.2)  # the sampler went on with untied U-Nets and tied Glows
        config = {"prox": "unet" if unet else "glow", "weights": "untied" if untied else "tied"}
        config |= {"lr": float(10 ** rng.uniform(-4, -2))}
        worth.append((config, 28 + 2.0 * unet + GAIN * untied + rng.normal(0, 0.2)))
    results = known_study(tmp_path / "s", worth)
    row = effect(results, "weights").iloc[1]
    assert row["mean"] - effect(results, "weights").iloc[0]["mean"] > GAIN + 0.5  # what plain means say
    assert row["difference_low"] < GAIN < row["difference_high"]
    assert row["difference"] == pytest.approx(GAIN, abs=0.2)
    (sentence,) = (text for text in findings(results) if text.startswith("Tied or untied"))
    assert "dB within the same network, of" in sentence


def test_one_pair_of_an_ablation_is_compared_by_its_images_or_seeds(tmp_path: Path) -> None:
    study = "mode: ablate\nbaseline: {folds: 5, weights: untied}\n"
    worth = [
        ({"folds": 5, "weights": "untied"}, 29.0),
        ({"folds": 1, "weights": "untied"}, 27.0),
        ({"folds": 5, "weights": "tied"}, 28.5),
    ]
    one = effect(known_study(tmp_path / "one", worth, study=study), "folds")
    assert one["value"].tolist() == [5, 1]  # the baseline first
    assert (one["pairs"][1], one["over"][1], one["images"][1]) == (1, "images", 30)
    assert one["difference"][1] == pytest.approx(-2.0, abs=0.1)
    three = effect(known_study(tmp_path / "three", worth, study=study, repeats=3, of_seed=0.1), "folds")
    assert (three["over"][1], three["seeds"][1]) == ("seeds and images", 3)
    assert three["difference_low"][1] < -2.0 < three["difference_high"][1]


def test_what_belongs_to_a_proximal_map_does_not_keep_it_from_its_match(tmp_path: Path) -> None:
    worth = [({"prox": "glow", "depth": depth, "folds": folds}, 28.0 + folds) for depth in (4, 8) for folds in (2, 3)]
    worth += [({"prox": "unet", "channels": 16, "folds": folds}, 27.0 + folds) for folds in (2, 3)]
    table = effect(known_study(tmp_path / "s", worth, study="mode: grid\n"), "prox")
    assert table["matched"].all()
    assert (table["value"][1], table["pairs"][1]) == ("unet", 2)
    assert table["difference"][1] == pytest.approx(-1.0, abs=0.1)


@pytest.mark.parametrize(("train", "matched"), [(100, True), (900, False)], ids=["the same images", "more images"])
def test_studies_of_other_images_do_not_differ_in_the_factor_alone(tmp_path: Path, train: int, matched: bool) -> None:
    rates, study = (1e-3, 1e-4), "mode: grid\ndata: {{source: faces, size: 32, train: {}}}\n"
    for weights, count in (("tied", 100), ("untied", train)):
        worth = [({"weights": weights, "lr": lr}, 28.0) for lr in rates]
        known_study(tmp_path / weights, worth, study=study.format(count))
    both = load(tmp_path / "tied", tmp_path / "untied")
    assert effect(both, "weights")["matched"].tolist() == [matched, matched]
    assert alone(both, "weights") == matched


def test_a_factor_that_does_not_vary_has_no_effect(tmp_path: Path) -> None:
    assert effect(known_study(tmp_path / "s", _grid()), "start").empty


def test_a_factor_that_is_a_methods_own_has_no_effect(tmp_path: Path) -> None:
    fresh = {"method": "unrolled", "prox": "glow", "pretrain": False}
    worth = [(fresh, 27.3), ({"method": "map", "pretrain": True}, 26.7)]
    results = known_study(tmp_path / "s", worth)
    assert effect(results, "pretrain").empty
    assert effect(results, "method")["difference"].notna().sum() == 1
    more = known_study(tmp_path / "more", [*worth, (fresh | {"pretrain": True}, 27.5)])
    assert effect(more, "pretrain")["difference"].dropna().tolist() == pytest.approx([0.2], abs=0.1)


def test_a_factor_that_a_proximal_map_does_not_vary_in_has_no_effect_of_that_map(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kinds = [({"prox": "glow", "pretrain": False}, 28.5), ({"prox": "glow", "pretrain": True}, 28.5 + GAIN)]
    kinds += [({"prox": "score", "pretrain": True}, 32.0)]  # always pre-trained, and better for another reason
    worth = [(config | {"lr": float(10 ** rng.uniform(-4, -2))}, mean) for _ in range(8) for config, mean in kinds]
    row = effect(known_study(tmp_path / "s", worth), "pretrain").iloc[1]
    assert not row["matched"]
    assert row["difference"] == pytest.approx(GAIN, abs=0.05)
    assert row["n"] == 8


@pytest.mark.parametrize("mode", ["grid", "search"])
@pytest.mark.parametrize("status", ["pruned", "failed", "diverged"])
def test_what_was_lost_on_each_side_is_counted_and_told(tmp_path: Path, mode: str, status: str) -> None:
    results = known_study(tmp_path / "s", _grid(), repeats=2, of_seed=0.01, study=f"mode: {mode}\n")
    gone = (results.trials["weights"] == "untied") & (results.trials["lr"] == 1e-3) & (results.trials["folds"] < 4)
    results.trials.loc[gone, "status"] = status
    half = results.trials["configuration"] == 0
    results.trials.loc[half & (results.trials["repeat"] == 1), "status"] = status  # of this one a repeat is left
    table = effect(results, "weights").set_index("value")
    assert table["lost"].to_dict() == {"tied": 0, "untied": 2}
    assert table["tried"].to_dict() == {"tied": 6, "untied": 6}
    (sentence,) = (text for text in findings(results) if text.startswith("Tied or untied"))
    assert "Without those that were pruned, failed or diverged: tied 0 of 6 and untied 2 of 6." in sentence


def test_of_a_study_that_lost_nothing_nothing_is_told(tmp_path: Path) -> None:
    told = findings(known_study(tmp_path / "s", _grid(), study="mode: grid\n"))
    assert not any("Without those" in text for text in told)


def test_findings_tell_a_matched_effect_with_its_pairs(tmp_path: Path) -> None:
    results = known_study(tmp_path / "s", _grid(), study="mode: grid\n")
    (sentence,) = (text for text in findings(results) if text.startswith("Tied or untied"))
    assert "differ in nothing else" in sentence
    assert "n = 6 pairs" in sentence
    assert "this is no finding" not in sentence


@pytest.mark.parametrize("tasks", [2, 9])
def test_findings_stay_short_however_many_tasks(tmp_path: Path, tasks: int) -> None:
    worth = [
        ({"task": f"denoise-0.{task}", "prox": prox, "weights": weights, "folds": folds}, 28.0 + folds)
        for task, prox, weights, folds in product(
            range(1, tasks + 1), ("glow", "resnet", "unet"), ("tied", "untied"), (2, 3)
        )
    ]
    told = findings(known_study(tmp_path / "s", worth, images=5))
    assert len(told) <= 10
    assert max(map(len, told)) < 1200


def test_several_objectives_have_a_front_and_no_single_best(tmp_path: Path) -> None:
    worth = [({"parameters": size, "lr": size * 1e-6}, mean) for size, mean in ((10, 25.0), (20, 27.0), (30, 26.0))]
    study = "objective: {val_psnr: maximize, parameters: minimize}\n"
    told = findings(known_study(tmp_path / "s", worth, study=study))
    assert told[0].startswith("No single best: of 3 completed configurations 2 (2 glow) are on the Pareto front")
    assert "25.00 dB and parameters 10" in told[0]
    assert not any("Best by" in text for text in told)
