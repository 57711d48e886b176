"""Figures: what they show is asserted on their data; that they draw, with a unit on every axis, on their pictures."""

from pathlib import Path

import pytest
from made_up import make_study

from flowsearch.analysis import theme
from flowsearch.analysis.figures import (
    PROGRESS,
    SECTIONS,
    Plot,
    best_so_far,
    curves,
    fold_by_fold,
    methods,
    parameters,
    reconstructions,
)
from flowsearch.results import Results, load

PLOTS = [plot for section in (PROGRESS, *SECTIONS) for plot in section.plots]


@pytest.fixture(scope="module", params=["empty", "failed only", "one running", "one completed", "all"])
def any_results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Results:
    root = tmp_path_factory.mktemp("results") / "s"
    made: dict[str, Path] = {
        "empty": make_study(root / "a", trials=0),
        "failed only": make_study(root / "b", trials=2, statuses=["failed"]),
        "one running": make_study(root / "c", trials=1, unfinished=True),
        "one completed": make_study(root / "d", trials=1),
        "all": make_study(root / "e", trials=14),
    }
    return load(made[request.param])


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)
def test_every_figure_draws_whatever_the_study(any_results: Results, plot: Plot) -> None:
    frame = plot.data(any_results)
    figure = plot.draw(frame)
    assert figure.layout.xaxis.title.text
    assert figure.layout.yaxis.title.text
    assert bool(len(frame)) == bool(sum(len(trace.x) for trace in figure.data if trace.x is not None))


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)
def test_decibels_are_named_where_they_are_shown(results: Results, plot: Plot) -> None:
    title = plot.draw(plot.data(results)).layout.yaxis.title.text
    assert ("(dB)" in title) == ("PSNR" in title)


def test_best_so_far_never_falls_and_ends_at_the_best(results: Results) -> None:
    frame = best_so_far.data(results)
    assert frame["best"].is_monotonic_increasing
    assert frame["best"].iloc[-1] == results.best()["val_psnr"]
    assert len(frame) == len(results.completed)
    ended = results.trials.set_index("trial_id")["ended"][frame["trial_id"]]
    assert ended.is_monotonic_increasing


def test_curves_hold_every_epoch_and_one_best_of_each_map(results: Results) -> None:
    frame = curves.data(results)
    assert len(frame) == (results.epochs["phase"] == "train").sum()
    best = frame[frame["role"] == "best"].groupby("label")["trial_id"].unique()
    assert {prox: list(trials) for prox, trials in best.items()} == {
        prox: [row["best_trial"]] for prox, row in results.by("prox").iterrows()
    }
    stopped = set(frame.loc[frame["role"] == "stopped", "trial_id"])
    assert stopped == set(results.trials.loc[results.trials["status"].isin(("pruned", "diverged")), "trial_id"])


def test_curves_stay_few_traces_for_many_trials(tmp_path: Path) -> None:
    results = load(make_study(tmp_path / "many", trials=40, epochs=3, images=2))
    figure = curves.draw(curves.data(results))
    assert len(figure.data) <= 9


def test_curves_are_cut_off_below_not_above(results: Results) -> None:
    frame = curves.data(results)
    frame.loc[0, "val_psnr"] = -40.0
    low, high = curves.draw(frame).layout.yaxis.range
    assert low > 15
    assert high > frame["val_psnr"].max()


@pytest.mark.parametrize("split", ["test", "ood"])
def test_methods_show_each_completed_trial_and_ring_the_best(results: Results, split: str) -> None:
    frame = methods.data(results, split)
    assert sorted(frame["trial_id"]) == sorted(results.completed["trial_id"])
    assert set(frame.loc[frame["best"], "trial_id"]) == set(results.by("prox")["best_trial"])


def test_parameters_are_those_of_the_trials(results: Results) -> None:
    frame = parameters.data(results).set_index("trial_id")
    trials = results.completed.set_index("trial_id")
    assert frame["parameters"].to_dict() == trials["parameters"].astype(float).to_dict()
    assert frame["test_psnr"].to_dict() == trials["test_psnr"].to_dict()


@pytest.mark.parametrize(("quantity", "maps"), [("mu", 3), ("lambda", 1), ("psnr", 3)])
def test_folds_are_those_of_the_best_epoch(results: Results, quantity: str, maps: int) -> None:
    frame = fold_by_fold.data(results, quantity)
    trials = results.trials.set_index("trial_id")
    assert frame["label"].nunique() == maps
    for trial_id, rows in frame.groupby("trial_id"):
        assert rows["fold"].tolist() == list(range(1, trials.loc[trial_id, "folds"] + 1))
        assert set(rows["epoch"]) == {trials.loc[trial_id, "best_epoch"]}


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


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_every_colour_stands_out_on_the_ground(mode: str) -> None:
    """Contrast of 3:1, what WCAG 2 asks of graphics."""
    ground = theme.MODES[mode].ground
    for name, style in theme.styles(["glow", "a", "b", "c", "d"]).items():
        assert _contrast(style.color, ground) >= 3, name


def test_maps_differ_in_their_marker_too() -> None:
    styles = theme.styles(["glow", "resnet", "unet", "new", "newer"])
    assert len({style.symbol for style in styles.values()}) == len(styles) == 5


def test_names_are_no_markup(results: Results) -> None:
    frame = best_so_far.data(results).assign(group="<a href='x'>glow</a>", label="new")
    assert "<a href" not in best_so_far.draw(frame).to_json()


def _contrast(one: str, two: str) -> float:
    bright, dim = sorted((_luminance(one), _luminance(two)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def _luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
