"""Importance on made functions of which it is known what matters."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from known_study import known_study

from flowsearch.analysis.importance import FEWEST, importance
from flowsearch.results import Results


def _study(root: Path, count: int, seed: int = 0) -> Results:
    """The rate matters for all; among Glows the depth too; folds and weights do not."""
    rng = np.random.default_rng(seed)
    worth = []
    for _ in range(count):
        glow = bool(rng.integers(2))
        lr, depth = float(10 ** rng.uniform(-5, -2)), int(rng.integers(2, 10))
        config = {"prox": "glow" if glow else "unet", "lr": lr, "folds": int(rng.integers(1, 9))}
        config |= {"weights": ("tied", "untied")[rng.integers(2)]} | ({"depth": depth} if glow else {})
        worth.append((config, 28 - (np.log10(lr) + 3.5) ** 2 + (0.4 * (depth - 5) if glow else 0.0)))
    return known_study(root, worth, images=2)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return _study(tmp_path_factory.mktemp("known") / "s", 160)


def test_what_matters_is_found_and_what_does_not_is_not(known: Results) -> None:
    table = importance(known).set_index(["scope", "name"])
    every = table.loc["all"]
    assert every.index[0] == "lr"
    assert every.loc["lr", "share"] > 0.6
    assert every.loc["lr", "above_chance"]
    assert every.loc[["folds", "weights"], "share"].max() < 0.15
    assert every["share"].sum() == pytest.approx(1)
    assert set(table["method"]) == {"PED-ANOVA"}
    assert set(every["n"]) == {160}


def test_a_conditional_name_is_judged_where_it_is_used(known: Results) -> None:
    table = importance(known)
    assert "depth" not in set(table[table["scope"] == "all"]["name"])
    glow = table[table["scope"] == "prox = glow"].set_index("name")
    assert set(glow.index) == {"lr", "folds", "weights", "depth"}
    assert set(glow["n"]) == {int((known.completed["prox"] == "glow").sum())}
    assert glow.loc["depth", "share"] > 2 * max(glow.loc["folds", "share"], glow.loc["weights", "share"])
    assert glow.loc["depth", "above_chance"]
    assert ((glow["low"] <= glow["share"]) & (glow["share"] <= glow["high"])).all()


def test_a_name_that_is_searched_for_some_only_is_not_judged_by_its_default_elsewhere(tmp_path: Path) -> None:
    """The map is all that matters. Folds are searched for Glows alone, and those of a U-Net are always 5, so that among
    all configurations the folds tell the map; the rate's condition is that of the folds'."""
    rng = np.random.default_rng(0)
    worth = []
    for _ in range(160):
        glow = bool(rng.integers(2))
        config = {"prox": "glow" if glow else "unet", "folds": int(rng.integers(1, 5)) if glow else 5}
        chosen = glow and config["folds"] in (1, 2)
        config |= {"lr": float(10 ** rng.uniform(-5, -2)) if chosen else 1e-5}
        worth.append((config | {"batch_size": int(rng.integers(1, 9))}, 28 + 3 * glow + float(rng.normal(0, 0.3))))
    space = "space:\n  prox: [glow, unet]\n  folds: {int: [1, 4], when: {prox: glow}}\n  batch_size: {int: [1, 8]}\n"
    space += "  lr: {float: [1.0e-5, 1.0e-2], when: {folds: [1, 2, 5]}}\n"
    table = importance(known_study(tmp_path / "s", worth, images=2, study=space))
    scopes = {scope: set(own["name"].dropna()) for scope, own in table.groupby("scope")}
    assert scopes["all"] == {"prox", "batch_size"}
    assert scopes["prox = glow"] == {"folds", "batch_size"}
    assert scopes["with lr"] == {"folds", "batch_size", "lr"}
    assert set(table[table["above_chance"].fillna(False)]["name"]) == {"prox"}


@pytest.mark.parametrize(
    ("when", "asked"),
    [
        pytest.param("{patience: null}", {"patience": None}, id="null"),
        pytest.param("{prox: {mylab.nets:DnCNN: {layers: 5}}}", {"prox": "mylab.nets:DnCNN"}, id="map as a mapping"),
        pytest.param("{prox: 'mylab.nets:DnCNN(layers=5)'}", {"prox": "mylab.nets:DnCNN"}, id="map as text"),
    ],
)
def test_a_condition_may_be_null_or_a_map_of_ones_own(when: str, asked: dict[str, Any], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    worth = []
    for _ in range(80):
        config: dict[str, Any] = {"prox": "glow", "patience": 3, "folds": 5, "batch_size": int(rng.integers(1, 9))}
        if rng.integers(2):
            config |= asked | {"folds": int(rng.integers(1, 5))}
        worth.append((config, float(rng.normal(28, 1))))
    space = f"space:\n  folds: {{int: [1, 4], when: {when}}}\n  batch_size: {{int: [1, 8]}}\n"
    table = importance(known_study(tmp_path / "s", worth, images=2, study=space))
    scopes = {scope: set(own["name"].dropna()) for scope, own in table.groupby("scope")}
    assert scopes.pop("all") == {"batch_size"}
    assert list(scopes.values()) == [{"folds", "batch_size"}]


def test_of_nothing_that_matters_little_is_above_chance(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    worth = [
        ({"lr": float(10 ** rng.uniform(-5, -2)), "folds": int(rng.integers(1, 9))}, float(rng.normal(28, 1)))
        for _ in range(60)
    ]
    table = importance(known_study(tmp_path / "s", worth, images=2))
    assert table["above_chance"].sum() == 0


def test_too_few_trials_have_no_importance_and_are_told(tmp_path: Path) -> None:
    table = importance(_study(tmp_path / "s", FEWEST - 5))
    assert table["importance"].isna().all()
    assert f"{FEWEST - 5} of the {FEWEST} configurations" in table["note"].iloc[0]


def test_a_minimized_metric_turns_what_is_good_round(known: Results) -> None:
    up, down = (importance(known, metric).set_index("name") for metric in ("val_psnr", "parameters"))
    assert up.iloc[0]["share"] > 0.5
    assert not down["above_chance"].any()  # all have the same number of parameters


def test_only_what_the_study_varies_is_judged(tmp_path: Path) -> None:
    results = _study(tmp_path / "s", 40)
    results.study["space"] = {"lr": {}, "folds": {}}
    assert set(importance(results)["name"]) == {"lr", "folds"}


def test_nothing_is_loaded_before_it_is_needed() -> None:
    code = (
        "import sys, flowsearch.analysis.importance, flowsearch.analysis.statistics, flowsearch.analysis.paper_tables;"
        "print([name for name in ('optuna', 'torch', 'ray', 'scipy.stats') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
