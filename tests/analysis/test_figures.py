"""Figures: what they show is asserted on their data; that they draw, with a unit on every axis, on their pictures."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from known_study import known_study
from made_up import make_study

from flowsearch.analysis import theme
from flowsearch.analysis.figures import (
    GRIDS,
    SECTIONS,
    GridSection,
    Plot,
    Section,
    best_so_far,
    curves,
    fold_by_fold,
    shift,
    tradeoffs,
)
from flowsearch.analysis.figures.marks import bars, light
from flowsearch.analysis.findings import findings
from flowsearch.analysis.selection import by_task
from flowsearch.results import Results, load

PLOTS = {"best-so-far", "curves", "by-label-test", "by-folds-ood", "effects", "shift", "parallel", "slice-lr"}
PLOTS |= {"contour-folds-lr", "cost-parameters-val_psnr", "cost-peak_memory_bytes-val_psnr", "folds-mu", "slice-prox"}


def plots_of(results: Results) -> list[Plot]:
    return [plot for section in SECTIONS for plot in section.plots(results)]


def two_objectives(study: Path) -> Results:
    """The study as one that also wants few parameters."""
    file = study / "study.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(
        text.replace("{val_psnr: maximize}", "{val_psnr: maximize, parameters: minimize}"), encoding="utf-8"
    )
    return load(study)


@pytest.fixture(
    scope="module", params=["empty", "failed only", "one running", "one completed", "all", "repeated tasks"]
)
def any_results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Results:
    root = tmp_path_factory.mktemp("results") / "s"
    options: dict[str, dict] = {
        "empty": {"trials": 0},
        "failed only": {"trials": 2, "statuses": ("failed",)},
        "one running": {"trials": 1, "unfinished": True},
        "one completed": {"trials": 1},
        "all": {"trials": 14},
        "repeated tasks": {"trials": 40, "repeats": 2, "tasks": ("denoise-0.1", "inpaint-9"), "epochs": 3, "images": 4},
    }
    return two_objectives(make_study(root, **options[request.param]))


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.anchor)
def test_every_figure_draws_whatever_the_study(any_results: Results, section: Section) -> None:
    for plot in section.plots(any_results):
        frame = plot.data(any_results)
        figure = plot.draw(frame)
        marks = sum(len(values) for trace in figure.data if (values := getattr(trace, "x", None)) is not None)
        assert bool(len(frame)) == bool(marks), plot.name
        if section.anchor != "parallel-coordinates":  # whose axes are drawn, each with its own title
            assert figure.layout.xaxis.title.text, plot.name
            assert figure.layout.yaxis.title.text, plot.name
        assert all(trace.type not in ("parcoords", "scattergl", "splom") for trace in figure.data), plot.name


def test_every_figure_is_there(results: Results) -> None:
    plots = {plot.name: plot for plot in plots_of(results)}
    assert set(plots) >= PLOTS
    assert all(len(plots[name].data(results)) for name in PLOTS)


def test_decibels_are_named_where_they_are_shown(results: Results) -> None:
    for plot in plots_of(results):
        layout = plot.draw(plot.data(results)).layout
        titles = [axis.title.text or "" for axis in (layout.xaxis, layout.yaxis)]
        assert all(("(dB)" in title) == ("PSNR" in title) for title in titles), plot.name


def test_several_tasks_have_each_their_own_figures(any_results: Results) -> None:
    known = list(by_task(any_results))
    plots = plots_of(any_results)
    assert len({plot.name for plot in plots}) == len(plots)
    assert {plot.task for plot in plots} <= set(known)
    for plot in plots:
        frame = plot.data(any_results)
        if plot.task is not None and "task" in frame:
            assert set(frame["task"]) <= {plot.task}, plot.name


def test_a_mark_of_a_trial_carries_its_id(results: Results) -> None:
    known = set(results.trials["trial_id"])
    for plot in plots_of(results):
        if plot.name.startswith(("best", "curves", "shift", "slice", "contour", "cost", "parallel", "folds")):
            figure = plot.draw(plot.data(results))
            marks = [trace for trace in figure.data if trace.type == "scatter" and trace.hoverinfo != "skip"]
            found = {trial for trace in marks if trace.customdata is not None for trial in trace.customdata}
            assert found, plot.name
            assert found <= known, plot.name


def test_best_so_far_never_falls_and_ends_at_the_best(results: Results) -> None:
    frame = best_so_far.data(results)
    assert frame["best"].is_monotonic_increasing
    assert frame["best"].iloc[-1] == results.best()["val_psnr"]
    assert len(frame) == len(results.completed)
    ended = results.trials.set_index("trial_id")["ended"][frame["trial_id"]]
    assert ended.is_monotonic_increasing
    assert frame["low"].isna().all()


def test_best_so_far_of_repeats_goes_by_means_with_their_intervals(tmp_path: Path) -> None:
    results = load(make_study(tmp_path / "s", trials=24, repeats=3, statuses=("completed",), epochs=2, images=2))
    frame = best_so_far.data(results)
    assert frame["repeats"].tolist() == [3] * 8
    for row in frame.itertuples():
        configuration = int(row.trial_id) // 3
        values = results.trials.loc[results.trials["configuration"] == configuration, "val_psnr"].astype(float)
        assert row.value == pytest.approx(values.mean())
        half = 4.302653 * values.std(ddof=1) / np.sqrt(3)  # Student's t, two degrees of freedom
        assert (row.low, row.high) == pytest.approx((values.mean() - half, values.mean() + half))
    leader = frame.loc[frame["value"].idxmax()]
    assert frame.iloc[-1][["best", "best_low", "best_high"]].tolist() == leader[["value", "low", "high"]].tolist()


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


def test_of_many_curves_a_fair_sample_is_drawn_over_a_band(tmp_path: Path) -> None:
    results = load(make_study(tmp_path / "many", trials=60, epochs=3, images=2, panels=0))
    frame = curves.data(results)
    shown = curves.sample(frame, 20)
    assert set(frame.loc[frame["role"] == "best", "trial_id"]) <= set(shown["trial_id"])
    count = shown["trial_id"].nunique()
    assert 20 <= count <= 24  # rounded up for each method
    last = frame.groupby("trial_id").tail(1)
    shares = last["group"].value_counts(normalize=True)
    drawn = shown.groupby("trial_id").tail(1)["group"].value_counts(normalize=True)
    assert (shares - drawn).abs().max() < 0.1
    for group, own in last.groupby("group"):  # from the worst to the best
        ends = shown.groupby("trial_id").tail(1)
        ends = ends[ends["group"] == group]["val_psnr"]
        assert (ends.min(), ends.max()) == (own["val_psnr"].min(), own["val_psnr"].max())
    figure = curves.draw(frame, lines=20)
    assert f"({count} of {frame['trial_id'].nunique()} trials drawn)" in figure.layout.xaxis.title.text
    assert sum(trace.fill == "tonexty" for trace in figure.data) == 3
    assert curves.sample(frame, 1000) is frame


def test_curves_are_cut_off_below_not_above(results: Results) -> None:
    frame = curves.data(results)
    frame.loc[0, "val_psnr"] = -40.0
    low, high = curves.draw(frame).layout.yaxis.range
    assert low > 15
    assert high > frame["val_psnr"].max()


def test_costs_are_those_of_the_trials_and_the_front_is_unbeaten(results: Results) -> None:
    frame = tradeoffs.data(results, "parameters", "val_psnr").set_index("trial_id")
    trials = results.completed.set_index("trial_id")
    assert frame["x"].to_dict() == trials["parameters"].astype(float).to_dict()
    assert frame["y"].to_dict() == trials["val_psnr"].to_dict()
    for trial_id, one in frame.iterrows():
        others = frame.drop(index=str(trial_id))
        beaten = ((others["x"] <= one["x"]) & (others["y"] >= one["y"])).any()
        assert beaten != one["front"]
    assert frame.loc[frame["front"], "text"].str.contains("learning rate").all()
    assert (frame.loc[~frame["front"], "text"] == "").all()


def test_what_a_method_without_parameters_beats_is_not_on_the_front(tmp_path: Path) -> None:
    worth = [({"method": "tv", "prox": None, "parameters": 0}, 25.0)]
    worth += [({"parameters": 10}, 24.0), ({"parameters": 20}, 26.0)]
    frame = tradeoffs.data(known_study(tmp_path / "s", worth), "parameters", "val_psnr")
    assert frame["x"].tolist() == [10, 20]  # 0 has no place on a logarithmic axis
    assert frame["front"].tolist() == [False, True]


def test_the_front_of_a_study_keeps_to_its_limits_and_its_directions(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=30, epochs=2, images=2)
    free = tradeoffs.data(two_objectives(study), "parameters", "val_psnr")
    bound = float(free["x"].median())
    with (study / "study.yaml").open("a", encoding="utf-8") as file:
        file.write(f"constraints: ['parameters <= {bound}']\n")
    kept = tradeoffs.data(load(study), "parameters", "val_psnr")
    assert sorted(kept["x"]) == sorted(free["x"][free["x"] <= bound])
    names = [plot.name for plot in plots_of(load(study))]
    assert "front-parameters-val_psnr" in names
    assert "cost-parameters-val_psnr" not in names  # the study's own front shows the same


def test_what_is_lost_out_of_distribution_is_a_difference(results: Results) -> None:
    frame = shift.data(results).set_index("trial_id")
    trials = results.completed.set_index("trial_id")
    assert frame["lost"].to_dict() == pytest.approx((trials["test_psnr"] - trials["ood_psnr"]).to_dict())
    (line, *_) = shift.draw(shift.data(results)).data
    assert np.subtract(line.x, line.y) == pytest.approx(frame["lost"].mean())


@pytest.mark.parametrize(("quantity", "maps"), [("mu", 3), ("lambda", 1), ("psnr", 3)])
def test_folds_are_those_of_the_best_epoch(results: Results, quantity: str, maps: int) -> None:
    frame = fold_by_fold.data(results, quantity)
    trials = results.trials.set_index("trial_id")
    assert frame["label"].nunique() == maps
    for trial_id, rows in frame.groupby("trial_id"):
        assert rows["fold"].tolist() == list(range(1, trials.loc[trial_id, "folds"] + 1))
        assert set(rows["epoch"]) == {trials.loc[trial_id, "best_epoch"]}


def test_folds_of_a_configuration_with_repeats_are_its_first_trials_at_its_own_best_epoch(tmp_path: Path) -> None:
    results = load(make_study(tmp_path / "s", trials=18, repeats=3, epochs=8, images=2, panels=0))
    results.trials["best_epoch"] = 3 + 2 * (results.trials["index"] % 3)  # 3, 5 and 7
    frame = fold_by_fold.data(results)
    assert set(frame["label"]) == {"glow", "resnet", "unet"}
    assert set(frame["epoch"]) == {3}


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_every_colour_stands_out_on_the_ground(mode: str) -> None:
    """Contrast of 3:1, what WCAG 2 asks of graphics."""
    ground = theme.MODES[mode].ground
    for name, style in theme.styles(["glow", "a", "b", "c", "d"]).items():
        assert _contrast(style.color, ground) >= 3, name


def test_maps_differ_in_their_marker_too() -> None:
    styles = theme.styles(["glow", "resnet", "unet", "new", "newer"])
    assert len({style.symbol for style in styles.values()}) == len(styles) == 5


def test_without_an_interval_there_is_no_bar() -> None:
    rows = pd.DataFrame({"mean": [1.0, 2.0], "low": [0.5, np.nan], "high": [2.0, np.nan]})
    found = bars(rows, "mean")
    np.testing.assert_array_equal(found["array"], [1.0, np.nan])
    np.testing.assert_array_equal(found["arrayminus"], [0.5, np.nan])


def test_many_maps_of_ones_own_differ_in_colour_or_marker() -> None:
    styles = theme.styles(f"mylab.nets:N{number}" for number in range(28))
    assert len(set(styles.values())) == len(styles) == 28


@pytest.mark.parametrize("column", ["source", "size"])
def test_studies_of_different_images_have_no_figure_together(tmp_path: Path, column: str) -> None:
    images = {"source": ("faces", "cats"), "size": (32, 64)}[column]
    for place, kind in enumerate(images):
        worth = [({"prox": prox, column: kind}, 28.0 + 3 * place) for prox in ("glow", "unet")]
        objective = "objective: {val_psnr: maximize, parameters: minimize}\n"
        known_study(tmp_path / f"study{place}", worth, images=3, study=objective)
    both = load(tmp_path / "study0", tmp_path / "study1")
    for section in (*SECTIONS, *GRIDS):
        with pytest.raises(ValueError, match="are not compared, and study0, study1 has"):
            _shown(section, both)
    with pytest.raises(ValueError, match="are not compared"):
        findings(both)
    assert both.compare("prox", by=column)[column].tolist() == sorted(images)


def test_studies_of_different_images_are_shown_together_where_each_task_has_its_own(tmp_path: Path) -> None:
    kinds = {"denoise-0.1": "faces", "inpaint-9": "cats"}
    for task, source in kinds.items():
        worth = [({"prox": prox, "task": task, "source": source}, 28.0) for prox in ("glow", "unet")]
        known_study(tmp_path / source, worth, images=3)
    both = load(*(tmp_path / source for source in kinds.values()))
    assert all(both.best(task=task)["source"] == source for task, source in kinds.items())
    assert sum(map(len, (_shown(section, both) for section in SECTIONS))) > 10
    assert findings(both)


def test_trials_that_do_not_say_whose_they_are_have_figures(tmp_path: Path) -> None:
    worth = [({"prox": prox, "study": None}, 28.0) for prox in ("glow", "unet")]
    results = known_study(tmp_path / "s", worth, images=3)
    assert sum(map(len, (_shown(section, results) for section in SECTIONS))) > 10


def test_names_are_no_markup(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=10, epochs=2, images=2)
    evil = "<a href='x' id=\"y\">glow</a>"
    results = load(study)
    labelled = results.labelled.assign(prox=evil, label=evil, task=evil, weights=pd.Series([evil, "tied"] * 5))
    results.__dict__["labelled"] = results.__dict__["trials"] = labelled
    found = 0
    for plot in plots_of(results):
        text = json.dumps(json.loads(plot.draw(plot.data(results)).to_json()))  # Plotly's writer hides what it holds
        assert "<a href" not in text, plot.name
        assert "&quot;" not in text, plot.name  # Plotly would show it as it stands
        found += "&lt;a href" in text
    assert found > 10


def _shown(section: Section | GridSection, results: Results) -> list[pd.DataFrame]:
    shown = section.grids(results) if isinstance(section, GridSection) else section.plots(results)
    return [one.data(results) for one in shown]


def _contrast(one: str, two: str) -> float:
    bright, dim = sorted((_luminance(one), _luminance(two)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def _luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([25_771_457.0, 850.0], np.int32),  # float32 holds no odd number as large as that
        ([29.065, 28.0], np.float32),
        ([4e9, 1.0], np.float32),
        ([1.0, np.nan], np.float32),
        ([], np.int32),
    ],
)
def test_whole_numbers_are_carried_as_they_are(values: list[float], kind: type) -> None:
    carried = light(pd.Series(values, dtype=float))
    assert carried.dtype == kind
    assert np.allclose(carried, values, rtol=1e-7 if kind is np.float32 else 0, atol=0, equal_nan=True)
