"""Figures of searched names: axes, slices, cells, parallel coordinates, comparisons and effects."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from known_study import known_study
from made_up import make_study

from flowsearch.analysis.figures import comparison, contour, effects, importance, parallel, slices
from flowsearch.analysis.figures.axes import Axis, searched
from flowsearch.results import Results, load

LR = Axis(name="lr", title="lr", kind="log")
FOLDS = Axis(name="folds", title="folds")
PROX = Axis(name="prox", title="prox", kind="choice", choices=("glow", "resnet", "unet"))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Sixty trials, of one task."""
    return load(make_study(tmp_path_factory.mktemp("results") / "many", trials=60, epochs=2, images=3, panels=0))


def test_axes_are_the_study_files_in_its_order(many: Results) -> None:
    axes = {axis.name: axis for axis in searched(many)}
    assert list(axes) == ["prox", "folds", "weights", "lr", "depth", "levels", "pretrain"]
    assert axes["prox"] == PROX
    assert axes["lr"].kind == "log"  # as the file says
    assert axes["depth"].kind == "number"
    assert axes["pretrain"].choices == ("yes", "no")


def test_without_a_file_axes_are_what_differs(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=20, epochs=1, images=1, panels=0)
    (study / "study.yaml").unlink()
    axes = {axis.name: axis.kind for axis in searched(load(study))}
    assert "seed" not in axes
    assert "epochs" not in axes
    assert {"prox", "folds", "weights", "lr", "depth"} <= set(axes)
    assert axes["lr"] == "log"  # from its values


@pytest.mark.parametrize(
    ("axis", "values", "numbers", "texts"),
    [
        pytest.param(LR, [1e-4, 1e-2, None], [-4, -2, None], ["0.0001", "0.001", "0.01"], id="log"),
        pytest.param(LR, [1e-3, 3e-3], [-3, np.log10(3e-3)], ["0.001", "0.002", "0.003"], id="near"),
        pytest.param(FOLDS, [1, 3, None], [1, 3, None], ["1", "3"], id="few whole numbers"),
        pytest.param(FOLDS, [2e6, 25e6], [2e6, 25e6], ["10M", "20M"], id="many"),
        pytest.param(PROX, ["unet", "glow", None], [2, 0, None], ["glow", "resnet", "unet"], id="choice"),
        pytest.param(FOLDS, [4], [4], ["4"], id="one"),
    ],
)
def test_where_values_lie_on_an_axis(axis: Axis, values: list[Any], numbers: list[Any], texts: list[str]) -> None:
    placed = axis.numbers(pd.Series(values))
    assert placed.tolist() == pytest.approx([np.nan if one is None else one for one in numbers], nan_ok=True)
    places, said = axis.ticks(placed)
    assert said == texts
    assert len(places) == len(texts)


def test_a_slice_shows_the_trials_that_have_the_name(many: Results) -> None:
    axis = next(axis for axis in searched(many) if axis.name == "depth")
    frame = slices.data(many, axis)
    trials = many.completed.dropna(subset=["depth"]).set_index("trial_id")
    assert set(frame["trial_id"]) == set(trials.index)
    assert set(frame["label"]) == {"glow"}
    shown = frame.set_index("trial_id")
    assert shown["x"].to_dict() == trials["depth"].astype(float).to_dict()
    assert shown["value"].to_dict() == trials["val_psnr"].to_dict()


def test_points_of_a_choice_stay_with_it(many: Results) -> None:
    figure = slices.draw(slices.data(many, PROX), PROX)
    for trace in figure.data:
        place = PROX.choices.index(trace.name)
        assert np.abs(np.array(trace.x) - place).max() < 0.5
        assert len(set(np.round(trace.x, 4))) > 1


def test_cells_hold_means_of_what_fell_into_them(many: Results) -> None:
    frame = contour.data(many, FOLDS, LR)
    inside = frame["x"].between(frame["x_low"], frame["x_high"]) & frame["y"].between(frame["y_low"], frame["y_high"])
    assert inside.all()
    for _, cell in frame.groupby(["x_low", "y_low"]):
        assert cell["mean"].iloc[0] == pytest.approx(cell["value"].mean())
        assert cell["n"].iloc[0] == len(cell)
    heat, points = contour.draw(frame, FOLDS, LR).data
    filled = np.isfinite(np.array(heat.z, dtype=float))
    assert filled.sum() == len(frame.drop_duplicates(["x_low", "y_low"]))
    assert np.array(heat.customdata)[filled].sum() == len(points.x) == len(frame)
    assert len(heat.x) == filled.shape[1] + 1


def test_cells_follow_choices_and_whole_numbers(many: Results) -> None:
    frame = contour.data(many, PROX, FOLDS)
    assert (frame["x_high"] - frame["x_low"] == 1).all()
    assert (frame["y_low"] == frame["y"] - 0.5).all()


def test_a_single_cell_is_no_figure(many: Results) -> None:
    completed = many.completed
    one = completed[(completed["prox"] == "unet") & (completed["folds"] == completed["folds"].mode()[0])]
    assert len(one) > 1
    alone: Any = SimpleNamespace(completed=one)
    assert contour.data(alone, PROX, FOLDS, "val_psnr").empty
    assert len(contour.data(alone, LR, FOLDS, "val_psnr")) == len(one)


def test_pairs_take_numbers_first() -> None:
    assert contour.pairs([PROX, FOLDS, LR]) == [(FOLDS, LR), (FOLDS, PROX), (LR, PROX)]


def test_lines_run_from_name_to_name_and_say_where_one_is_absent(many: Results) -> None:
    shown = parallel.axes(many)
    assert shown[-1].name == "val_psnr"
    frame = parallel.data(many, shown)
    met = parallel.heights(frame, shown)
    has = frame["depth"].notna()
    assert met["depth"][has].between(0, 1).all()
    assert (met["depth"][~has] < -0.1).all()
    assert met["folds"].rank().corr(frame["folds"].astype(float).rank()) == pytest.approx(1)
    for prox, own in met["prox"].groupby(frame["prox"]):
        place = ("glow", "resnet", "unet").index(str(prox))
        assert own.between(place / 3, (place + 1) / 3).all()
    figure = parallel.draw(frame, shown)
    length = len(shown) + 1
    for trace in figure.data:
        lines = np.array(trace.y).reshape(-1, length)
        assert np.isnan(lines[:, -1]).all()
        assert np.isfinite(lines[:, :-1]).all()
        ids = np.array(trace.customdata).reshape(-1, length)
        assert (ids == ids[:, :1]).all()
    texts = [note.text for note in figure.layout.annotations]
    assert texts.count("<i>absent</i>") == 3
    assert figure.layout.xaxis.ticktext[-1] == "validation PSNR (dB)"


def test_lines_that_are_not_selected_are_faint(many: Results) -> None:
    shown = parallel.axes(many)
    frame = parallel.data(many, shown)
    chosen = set(frame["trial_id"].iloc[::5])
    figure = parallel.draw(frame, shown, selected=chosen)
    strong = {trial for trace in figure.data if trace.opacity > 0.1 for trial in trace.customdata}
    faint = {trial for trace in figure.data if trace.opacity <= 0.1 for trial in trace.customdata}
    assert strong == chosen
    assert faint == set(frame["trial_id"]) - chosen


def test_lines_need_two_axes(many: Results) -> None:
    assert parallel.data(many, (FOLDS,)).empty


@pytest.mark.parametrize("split", ["test", "ood"])
def test_methods_show_each_completed_trial_and_ring_the_best(results: Results, split: str) -> None:
    frame = comparison.data(results, "label", split)
    assert sorted(frame["trial_id"]) == sorted(results.completed["trial_id"])
    assert set(frame.loc[frame["best"], "trial_id"]) == set(results.by("prox")["best_trial"])


def test_means_have_their_interval_from_five_on(many: Results) -> None:
    frame = comparison.data(many, "weights")
    trials = many.completed[many.completed["folds"] > 1]
    assert len(frame) == len(trials)
    for (group, value), own in frame.groupby(["group", "value"]):
        psnr = trials.loc[(trials["label"] == group) & (trials["weights"] == value), "test_psnr"].astype(float)
        assert (own["mean"].iloc[0], own["n"].iloc[0]) == (pytest.approx(psnr.mean()), len(psnr))
        assert own["low"].isna().all() == (len(psnr) < 5)
    enough = frame.dropna(subset=["low"])
    assert len(enough)
    assert ((enough["low"] < enough["mean"]) & (enough["mean"] < enough["high"])).all()


def test_a_factor_without_a_choice_is_left_out(tmp_path: Path) -> None:
    results = load(make_study(tmp_path / "s", trials=8, folds=(3, 3), epochs=1, images=1, panels=0))
    assert comparison.data(results, "folds").empty
    assert len(comparison.data(results, "label"))


def test_effects_are_differences_to_a_reference(many: Results) -> None:
    frame = effects.data(many)
    assert set(frame["factor"]) == {"prox", "folds", "weights", "levels", "pretrain"}  # lr and depth have many values
    assert (frame["value"] != frame["reference"]).all()
    row = frame[(frame["factor"] == "prox") & (frame["value"] == "resnet")].iloc[0]
    means = many.completed.groupby("prox")["test_psnr"].mean()
    assert not row["matched"]
    assert row["difference"] == pytest.approx(means["resnet"] - means["glow"])
    assert row["low"] < row["difference"] < row["high"]
    assert {trace.name for trace in effects.draw(frame).data} == {"means"}


def test_importance_puts_what_decides_before_what_does_not(tmp_path: Path) -> None:
    results = load(make_study(tmp_path / "s", trials=160, epochs=1, images=1, panels=0, statuses=("completed",)))
    frame = importance.data(results)
    whole = frame[frame["scope"] == "all"].set_index("name")["share"]
    assert whole.sum() == pytest.approx(1)
    assert set(whole.nlargest(2).index) == {"prox", "folds"}
    figure = importance.draw(frame)
    assert sum(len(trace.x) for trace in figure.data) == len(frame)
    few = load(make_study(tmp_path / "few", trials=8, epochs=1, images=1, panels=0))
    assert importance.data(few).empty


GRID = [({"prox": prox, "lr": lr}, 28.0) for prox in ("glow", "unet") for lr in (1e-3, 1e-2)]


@pytest.mark.parametrize(
    ("worth", "said"),
    [
        (GRID, "The sides differ in nothing else."),
        (GRID[:3], "Other settings differ between the sides, so a difference is not the choice's alone."),
        ([*GRID, ({"prox": "glow", "pretrain": True, "lr": 1e-3}, 28.0)], "The sides differ in nothing else."),
        (GRID[:2], "from five configurations on."),
    ],
    ids=["a grid", "one is missing", "what only one side has", "one side"],
)
def test_the_comparison_says_whether_its_sides_differ_in_more(
    tmp_path: Path, worth: list[tuple[dict[str, object], float]], said: str
) -> None:
    caption = comparison.caption(known_study(tmp_path / "s", worth))
    assert caption.endswith(said)
