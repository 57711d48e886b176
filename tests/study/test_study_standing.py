"""Which configuration is best, what lies on the front, and the tables that show it."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console
from small_study import TEXT

from flowsearch.cli.live import left_text, summarize
from flowsearch.study.file import read
from flowsearch.study.moment import Moment
from flowsearch.study.priors import PriorState
from flowsearch.study.progress import Progress
from flowsearch.study.sections import Study
from flowsearch.study.source import Source

Rows = list[tuple[dict, dict]]
TWO = "objective={val_psnr: maximize, parameters: minimize}"


def study_of(*sets: str) -> Study:
    return read(Source("small.yaml", TEXT, ["scheduler=none", *sets]))


def progress_of(study: Study, rows: Rows, status: str = "completed") -> Progress:
    progress = Progress(study=study)
    for number, (values, metrics) in enumerate(rows):
        trial = progress.planned(number, values)
        trial.status, trial.metrics = status, metrics
    return progress


def net(folds: int, **more) -> dict:
    return {"prox": "unet", "folds": folds, "weights": "tied", "lr": 5e-4} | more


def printed(progress: Progress) -> str:
    console = Console(file=io.StringIO(), width=80)
    summarize(console, progress)
    return console.file.getvalue()


def running_for(progress: Progress, number: int, minutes: float, epoch: int, earlier: float = 0.0) -> None:
    """A trial that has run for so many minutes, and before it was interrupted for so many `earlier` ones."""
    trial = progress.planned(number, net(1))
    trial.status, trial.epoch, trial.phase, trial.earlier_seconds = "running", epoch, "train", 60 * earlier
    trial.started = Moment(datetime.now(UTC) - timedelta(minutes=minutes))


def ended_after(progress: Progress, minutes: list[float]) -> None:
    for number, took in enumerate(minutes):
        trial = progress.planned(number, net(1))
        trial.status, trial.started = "completed", Moment(datetime(2026, 1, 1, tzinfo=UTC))
        trial.ended = Moment(trial.started.time + timedelta(minutes=took))


def minutes_left(progress: Progress) -> float:
    assert progress.seconds_left is not None
    return progress.seconds_left / 60


def test_the_last_trial_takes_as_long_as_its_own_epochs_say():
    progress = Progress(study=study_of("search.trials=8"))
    ended_after(progress, [1.0] * 7)
    running_for(progress, 7, 10, epoch=2)  # of 4; the others took a tenth of it
    assert minutes_left(progress) == pytest.approx(10, rel=0.01)


def test_a_trial_that_was_interrupted_needs_only_its_rest():
    progress = Progress(study=study_of("search.trials=8"))
    ended_after(progress, [10.0] * 7)
    trial = progress.planned(7, net(1))
    trial.status, trial.earlier_seconds = "interrupted", 60 * 8
    assert minutes_left(progress) == pytest.approx(2)
    running_for(progress, 7, 1, epoch=3, earlier=8)
    assert minutes_left(progress) == pytest.approx(3, rel=0.01)


def test_a_trial_whose_epochs_are_done_leaves_no_less_than_nothing():
    progress = Progress(study=study_of("search.trials=8"))
    ended_after(progress, [1.0] * 7)
    running_for(progress, 7, 10, epoch=4)  # of 4
    assert left_text(progress) == ""


def test_a_pre_training_that_trials_wait_for_counts():
    progress = Progress(study=study_of("search.trials=8"), slots=2)
    ended_after(progress, [1.0] * 7)
    config = progress.trials[0].config | {"prior": progress.trials[0].config["prior"] | {"epochs": 100}}
    prior = PriorState("abc", config, status="running", epoch=40, current={"seconds": 30.0})
    progress.priors = {"abc": prior}
    assert minutes_left(progress) == pytest.approx(30)


FOUR: Rows = [
    (net(1), {"val_psnr": 25.0, "parameters": 1000}),
    (net(2), {"val_psnr": 27.0, "parameters": 2000}),
    (net(3), {"val_psnr": 26.5, "parameters": 3000}),
    (net(4), {"val_psnr": 28.0, "parameters": 4000}),
]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([FOUR[0], FOUR[3]], None),
        ([FOUR[3], FOUR[0], FOUR[3]], "trial 0002 reaches the same"),
        ([FOUR[0], *[FOUR[3]] * 7], "trials 0002, 0003, 0004, 0005 and others reach the same"),
    ],
    ids=["one best", "two", "many"],
)
def test_what_else_is_as_good_as_the_best_is_said(rows, said):
    text = " ".join(printed(progress_of(study_of(), rows)).split())
    assert (said in text) if said else ("the same" not in text)


def test_the_front_is_what_nothing_beats():
    progress = progress_of(study_of(TWO), FOUR)
    assert [one.number for one in progress.front()] == [3, 1, 0]
    assert progress.best is None
    text = printed(progress)
    for words in ("the Pareto front", "0003", "28.00", "4,000", "3 of the 4 completed configurations"):
        assert words in text
    assert "0002" not in text


def test_two_equal_configurations_stand_on_the_front_once():
    assert [one.number for one in progress_of(study_of(TWO), [FOUR[0], FOUR[0]]).front()] == [0]


def test_what_breaks_a_limit_is_never_best():
    progress = progress_of(study_of("constraints=[parameters <= 2500]"), FOUR)
    assert progress.best.id == "0001"
    assert [one.number for one in progress_of(study_of(TWO, "constraints=[parameters <= 2500]"), FOUR).front()] == [
        1,
        0,
    ]
    nothing = progress_of(study_of("constraints=[parameters <= 10]"), FOUR)
    assert nothing.best is None
    assert "none of the completed trials keeps to parameters <= 10" in printed(nothing)


def test_a_cost_as_the_objective_is_written_as_in_every_table():
    rows = [(net(1), {"parameters": 25_771_456, "seconds_per_image": 152.0}), (net(2), {"parameters": 30_000_000})]
    text = printed(progress_of(study_of("objective={parameters: minimize}"), rows))
    assert "best: trial 0000, 25,771,456: " in text
    assert text.count("25,771,456") == 3  # the best line, and the table's best and parameters
    assert "e+07" not in text


def test_what_is_not_known_keeps_no_limit():
    progress = progress_of(study_of("constraints=[peak_memory_bytes <= 1e9]"), FOUR)
    assert progress.best is None


@pytest.mark.parametrize("status", ["pruned", "failed", "running"])
def test_only_completed_trials_are_best(status):
    progress = progress_of(study_of(), FOUR, status)
    assert (progress.best, progress.front()) == (None, [])


def test_the_best_is_the_one_with_the_best_mean_over_its_repeats():
    study = study_of("repeats=3", "search.trials=2")
    scores = [20.0, 30.0, 25.0, 26.0, 26.0, 26.0]
    rows = [(net(1 + number // 3, seed=number % 3), {"val_psnr": score}) for number, score in enumerate(scores)]
    progress = progress_of(study, rows)
    assert progress.total == 6
    assert progress.best_of(None).number == 1
    assert progress.best.id == "0003"
    assert [(trial.configuration, trial.repeat) for trial in progress.trials.values()][2:4] == [(0, 2), (1, 0)]
    text = printed(progress)
    # Student's t with 2 degrees of freedom: 4.303 * 5 / sqrt(3)
    for words in ("25.00 ±12.42", "26.00 ±0.00", "Student's t", "mean of 3 repeats"):
        assert words in text


def test_each_task_has_a_best_of_its_own():
    study = study_of("tasks=[denoise-0.1, inpaint-9]", "search.trials=2")
    tasks = ["denoise-0.1", "inpaint-9"] * 2
    progress = progress_of(
        study, [({"task": task} | row, found) for task, (row, found) in zip(tasks, FOUR, strict=True)]
    )
    assert progress.total == 4
    text = " ".join(printed(progress).split())
    assert "best on denoise-0.1: trial 0002, 26.50 dB" in text
    assert "best on inpaint-9: trial 0003, 28.00 dB" in text


def test_an_ablation_is_a_table_of_differences():
    study = study_of(
        "mode=ablate", "search={}", "space={folds: [1, 3], weights: [tied]}", "baseline={folds: 2, weights: untied}",
        "fixed={prox: unet, epochs: 4}", "repeats=2",
    )  # fmt: skip
    points = study.points()
    scores = [27.0, 27.2, 25.0, 25.4, 28.0, 28.0, 27.0, None]
    rows = [
        (points[number // 2] | {"seed": number % 2}, {} if score is None else {"val_psnr": score, "parameters": 5000})
        for number, score in enumerate(scores)
    ]
    progress = progress_of(study, rows)
    progress.trials[7].status = "failed"
    lines = [" ".join(line.split()) for line in printed(progress).splitlines()]
    # Two repeats: t with 1 degree of freedom is 12.706; paired by seed, the differences of folds 1 are -2.0 and -1.8.
    assert "baseline 27.10 ±1.27 5,000 2" in lines
    assert "folds 1 25.20 ±2.54 -1.90 ±1.27 5,000 2" in lines
    assert "folds 3 28.00 ±0.00 +0.90 ±1.27 5,000 2" in lines
    assert "weights tied 27.00 +0.00 5,000 1" in lines


def test_a_grid_lists_its_best():
    study = study_of(
        "mode=grid", "search={}", "fixed={prox: unet, epochs: 4}", "space={folds: [1, 2], weights: [tied, untied]}"
    )
    rows = [({"folds": 1 + k // 2, "weights": ("tied", "untied")[k % 2]}, {"val_psnr": 20.0 + k}) for k in range(4)]
    text = printed(progress_of(study, rows))
    assert text.index("0003") < text.index("0000")
    assert "±" not in text


@pytest.mark.parametrize(
    "sets",
    [(), (TWO,), ("repeats=2",), ("tasks=[denoise-0.1, inpaint-9]",)],
    ids=["one objective", "two objectives", "repeats", "tasks"],
)
def test_a_study_of_failed_trials_has_no_empty_table(sets):
    text = printed(progress_of(study_of(*sets), FOUR[:2], "failed"))
    assert "no trial was completed, so there is no table" in text
    assert "configuration" not in text
    assert "prox" not in text


def test_a_best_that_lost_repeats_says_of_how_many():
    rows = [(net(1 + number // 3, seed=number % 3), {"val_psnr": 25.0 + number}) for number in range(6)]
    progress = progress_of(study_of("repeats=3", "search.trials=2"), rows)
    for lost in (4, 5):
        progress.trials[lost].status = "diverged"
    assert "mean of 1 of 3 repeats" in printed(progress)


@pytest.mark.parametrize("sets", [("repeats=2",), ("tasks=[denoise-0.1, inpaint-9]",)], ids=["ranking", "standings"])
def test_a_table_within_limits_names_them(sets):
    tasks = ["denoise-0.1", "inpaint-9"] if sets[0].startswith("tasks") else ["denoise-0.1"] * 2
    rows = [(row | {"task": task}, found) for task, (row, found) in zip(tasks, FOUR, strict=False)]
    progress = progress_of(study_of("constraints=[parameters <= 2500]", *sets), rows)
    assert "that keep to parameters <= 2500" in " ".join(printed(progress).split())


def test_an_ablation_with_a_metric_that_is_not_finite_has_its_table():
    study = study_of(
        "mode=ablate", "search={}", "space={folds: [1]}", "baseline={folds: 2}", "fixed={prox: unet, epochs: 4}",
    )  # fmt: skip
    progress = progress_of(study, [(point, {"val_psnr": 27.0}) for point in study.points()])
    progress.trials[1].metrics["val_psnr"] = float("nan")
    assert "baseline" in printed(progress)
