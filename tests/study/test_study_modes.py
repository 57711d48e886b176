"""Grids, ablations, tasks and repeats: which trials a study has, in which order, and what a file may say of them."""

from collections import Counter
from pathlib import Path

import pytest
from small_study import TEXT

from flowsearch.results.objective import constraint
from flowsearch.study import Study, load
from flowsearch.study.enumeration import ablation, grid
from flowsearch.study.file import read
from flowsearch.study.layout import Layout
from flowsearch.study.modes import check_enough, window
from flowsearch.study.parameter import SpaceError
from flowsearch.study.source import Source, StudyFileError, dump
from flowsearch.study.space import Space

GRID = """\
name: grid
data: {source: faces, size: 32}
fixed: {epochs: 4}
mode: grid
space:
  depth: {int: [2, 6], step: 2, when: {prox: glow}}
  prox: [glow, resnet]
  weights: [tied, untied]
  lr: {float: [1.0e-4, 1.0e-2], log: true, points: 3}
"""

ABLATE = """\
name: ablate
data: {source: faces, size: 32}
fixed: {epochs: 4}
mode: ablate
baseline: {prox: glow, folds: 3, depth: 4, channels: 8, lr: 1.0e-4}
space:
  prox: [glow, unet]
  folds: {int: [1, 3]}
  depth: {choice: [2, 6], when: {prox: glow}}
  channels: [8]
  lr: [1.0e-3]
pairs: [[folds, lr], [prox, depth]]
"""


def study(text: str, *sets: str) -> Study:
    return read(Source("x.yaml", text, sets))


def points(text: str, *sets: str) -> list[dict]:
    found = study(text, *sets).points()
    assert found is not None
    return found


def test_a_grid_has_each_combination_once():
    found = points(GRID)
    assert Counter(point["prox"] for point in found) == {"glow": 3 * 2 * 3, "resnet": 2 * 3}
    assert all(("depth" in point) == (point["prox"] == "glow") for point in found)
    assert len({tuple(sorted(point.items())) for point in found}) == len(found) == 24
    assert {point["depth"] for point in found if "depth" in point} == {2, 4, 6}
    assert sorted({point["lr"] for point in found}) == pytest.approx([1e-4, 1e-3, 1e-2])


def test_a_grid_is_in_the_order_of_its_file():
    space = Space({"weights": ["untied", "tied"], "folds": {"int": [1, 2]}}, {})
    order = [(point["weights"], point["folds"]) for _, point in grid(space)]
    assert order == [("untied", 1), ("untied", 2), ("tied", 1), ("tied", 2)]


@pytest.mark.parametrize(("ends", "values"), [((0.0, 1.0, 5), (0, 0.25, 0.5, 0.75, 1)), ((0.5, 2.0, 1), (0.5,))])
def test_points_of_a_range_are_evenly_spaced(ends, values):
    low, high, count = ends
    parameter = Space({"gamma": {"float": [low, high], "points": count}}, {"method": "map"}).parameters["gamma"]
    assert parameter.values == pytest.approx(values)


def test_an_ablation_varies_one_name_at_a_time_and_the_pairs():
    first, *others = points(ABLATE)
    assert first == {"prox": "glow", "folds": 3, "depth": 4, "lr": 1e-4}
    assert others == [
        {"prox": "unet", "folds": 3, "channels": 8, "lr": 1e-4},  # depth means nothing there, channels does now
        first | {"folds": 1},
        first | {"folds": 2},
        first | {"depth": 2},
        first | {"depth": 6},
        first | {"lr": 1e-3},
        first | {"folds": 1, "lr": 1e-3},
        first | {"folds": 2, "lr": 1e-3},  # prox with depth is prox alone, which came before
    ]


def test_a_factor_that_means_nothing_beside_the_baseline_is_refused():
    space = Space({"prox": ["glow", "unet"], "channels": [8, 16]}, {}, {"prox": "glow", "channels": 8})
    with pytest.raises(SpaceError, match="channels means nothing beside the baseline"):
        ablation(space, ["prox", "channels"], [])
    assert len(ablation(space, ["prox", "channels"], [["prox", "channels"]])) == 3


def test_trials_are_numbered_by_configuration_task_and_repeat():
    layout = Layout.of(study(GRID, "tasks=[denoise-0.1, inpaint-9]", "repeats=3"))
    assert layout.total == 24 * 2 * 3
    positions = [layout.position(number) for number in range(8)]
    assert [(one.branch, one.local, one.repeat) for one in positions[:7]] == [
        (0, 0, 0), (0, 0, 1), (0, 0, 2), (1, 0, 0), (1, 0, 1), (1, 0, 2), (0, 1, 0),
    ]  # fmt: skip
    assert [one.configuration for one in positions] == [0, 0, 0, 1, 1, 1, 2, 2]
    with pytest.raises(ValueError, match="gives it 144 where trial 0144 was planned"):
        layout.position(layout.total)


def test_more_trials_renumber_none():
    few, more = (
        Layout.of(study(TEXT, f"search.trials={count}", "tasks=[denoise-0.1, inpaint-9]", "scheduler=none"))
        for count in (3, 5)
    )
    assert more.configurations[: len(few.configurations)] == few.configurations


@pytest.mark.parametrize(
    ("text", "sets"),
    [
        (GRID, ["tasks=[denoise-0.1, {deblur: {sigma: 3}}]", "repeats=2"]),
        (ABLATE, []),
        (TEXT, ["objective={val_psnr: maximize, parameters: minimize}", "scheduler=none"]),
        (TEXT, ["constraints=[parameters<=3e7, val_psnr >= 20]"]),
        (TEXT, ["enqueue=[{prox: glow, depth: 3}]", "start_from=results/other"]),
    ],
    ids=["grid", "ablate", "objectives", "constraints", "enqueue"],
)  # fmt: skip
def test_each_mode_survives_its_own_file(tmp_path: Path, text, sets):
    first = study(text, *sets)
    (tmp_path / "study.yaml").write_text(dump(first.to_dict()))
    again = load(tmp_path / "study.yaml")
    assert again == first
    assert Layout.of(again) == Layout.of(first)


REFUSED = {
    "grid over a range": (GRID, "space.lr={float: [1e-4, 1e-2]}", "space.lr has endlessly many values"),
    "grid on a log scale": (GRID, "space.depth={int: [1, 9], log: true}", "space.depth.log says nothing"),
    "too large a grid": (GRID, "space={seed: {int: [0, 10_000]}}", "more than 10,000 combinations"),
    "far too large a grid": (GRID, "space={seed: {int: [0, 2_000_000_000]}}", "more than 10,000 combinations"),
    "an impossible point": (GRID, "space.depth=[0, 2]", "depth is at least 1, not 0"),
    "trials of a grid": (GRID, "search.trials=5", "search.trials says nothing in mode: grid"),
    "sampler of a grid": (GRID, "search.sampler=gp", "search.sampler says nothing in mode: grid"),
    "points of a search": (TEXT, "space.lr={float: [1e-4, 1e-3], points: 3}", "points belongs to mode: grid"),
    "points": (GRID, "space.lr={float: [1e-4, 1e-3], points: 0}", "points is a whole number of at least 1, not 0"),
    "enqueue in a grid": (GRID, "enqueue=[{prox: glow}]", "enqueue belongs to mode: search, not to mode: grid"),
    "baseline in a search": (TEXT, "baseline={prox: glow}", "baseline belongs to mode: ablate"),
    "no baseline": (ABLATE, "baseline={prox: glow}", "baseline.folds is missing"),
    "a baseline's name": (ABLATE, "baseline.fold=2", "baseline.fold is no name of space; did you mean folds?"),
    "a baseline's value": (ABLATE, "baseline.folds=0", "folds is at least 1, not 0"),
    "a baseline's map": (ABLATE, "baseline.prox=glwo", "did you mean glow?"),
    "a pair of one": (ABLATE, "pairs=[[folds]]", "two names, such as [folds, weights]"),
    "a pair's name": (ABLATE, "pairs=[[folds, lrr]]", "pairs: lrr is no name of space; did you mean lr?"),
    "a pair with itself": (ABLATE, "pairs=[[lr, lr]]", "lr makes no pair with itself"),
    "no tasks": (GRID, "tasks=[]", "tasks lists at least one task"),
    "a task's name": (GRID, "tasks=[denose-0.1]", "did you mean denoise?"),
    "a task twice": (GRID, "tasks=[deblur-3, {deblur: {sigma: 3.0}}]", "tasks lists deblur-3 twice"),
    "a task too large": (GRID, "tasks=[deblur-1, {deblur: {sigma: 9}}]", "8 pixels, not 9"),
    "seed in space": (GRID, "space.seed=[1, 2]", "repeats chooses the seeds"),
    "repeats with a scheduler": (TEXT, "repeats=2", "write scheduler: none"),
    "a scheduler for two": (TEXT, "scheduler={asha: {grace: 1}}", "stopped early by one objective"),
    "constraint on a test": (TEXT, "constraints=[test_psnr >= 30]", "test images judge what was chosen without them"),
    "constraint's metric": (TEXT, "constraints=[parameter <= 30]", "did you mean parameters?"),
    "constraint without a number": (TEXT, "constraints=[parameters <= many]", "many is no such number"),
    "constraint that is none": (TEXT, "constraints=[__import__('os')]", "a constraint is a metric, <= or >="),
    "strict constraint": (TEXT, "constraints=[parameters < 3]", "not < as in"),
    "cmaes for two": (TEXT, "search.sampler=cmaes", "cmaes knows one objective"),
    "enqueued name": (TEXT, "enqueue=[{fold: 2}]", "enqueue: fold is no name of space; did you mean folds?"),
    "enqueued value": (TEXT, "enqueue=[{folds: 9}]", "enqueue: folds is 1 to 4, not 9"),
    "enqueued choice": (
        TEXT,
        "enqueue=[{weights: tide}]",
        "weights is one of tied, untied, not tide; did you mean tied?",
    ),
    "enqueued without meaning": (TEXT, "enqueue=[{prox: unet, depth: 3}]", "depth means nothing beside prox: unet"),
    "too many enqueued": (TEXT, "enqueue=[{}, {}, {}, {}, {}, {}, {}, {}, {}]", "9 configurations, and search.trials"),
}
BESIDE = {
    "seed in space": ["repeats=2"],
    "a scheduler for two": ["objective={val_psnr: maximize, val_loss: minimize}"],
    "cmaes for two": ["scheduler=none", "objective={val_psnr: maximize, val_loss: minimize}"],
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_refused_by_its_own_name(case):
    text, override, words = REFUSED[case]
    with pytest.raises(StudyFileError) as caught:
        study(text, *BESIDE.get(case, []), override)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"--set {override}: ")


def test_a_task_beside_tasks_is_refused():
    with pytest.raises(StudyFileError, match=r"x.yaml, line 3: tasks says which tasks there are"):
        study(GRID.replace("fixed: {", "fixed: {task: denoise-0.1, ") + "tasks: [denoise-0.1]\n")


@pytest.mark.parametrize("where", ["fixed.task=denoise-0.2", "space.task=[denoise-0.2]", "fixed={task: denoise-0.2}"])
def test_of_a_task_and_tasks_the_last_word_counts(where):
    tasks = "tasks=[denoise-0.1, deblur-1]"
    assert [str(one) for one in study(GRID, where, tasks).tasks] == ["denoise-0.1", "deblur-1"]
    assert study(GRID, tasks, where).tasks is None
    assert study(GRID, where, tasks, "tasks=null").tasks is None


def test_a_mistake_is_named_with_its_line():
    with pytest.raises(StudyFileError, match=r"x.yaml, line 12: pairs: lrr is no name"):
        study(ABLATE.replace("[folds, lr]", "[folds, lrr]"))


@pytest.mark.parametrize(
    ("text", "metrics", "violation"),
    [
        ("parameters <= 30e6", {"parameters": 33_000_000}, 0.1),
        ("parameters<=30e6", {"parameters": 27_000_000}, -0.1),
        ("train_seconds <= 2", {"train_seconds": 2.5}, 0.25),
        ("val_psnr >= 30", {"val_psnr": 24.0}, 0.2),
        ("val_loss <= 0", {"val_loss": 0.5}, 0.5),
        ("val_psnr >= 30", {"val_psnr": float("nan")}, None),
        ("peak_memory_bytes <= 1e9", {}, None),
    ],
)
def test_how_far_a_constraint_is_broken_as_a_share_of_its_bound(text, metrics, violation):
    assert constraint(text).violation(metrics) == violation


@pytest.mark.parametrize(
    ("text", "settled"),
    [
        ("parameters <= 31043521", "parameters <= 31043521"),
        ("parameters<=3.1043521e7", "parameters <= 31043521"),
        ("parameters <= 30e6", "parameters <= 3e+07"),
        ("val_psnr >= 28.123456789", "val_psnr >= 28.123456789"),
        ("val_loss <= 0.1", "val_loss <= 0.1"),
    ],
)
def test_a_constraint_keeps_all_digits_of_its_bound(text, settled):
    known = constraint(text)
    assert known.text == settled
    assert constraint(known.text) == known


@pytest.mark.parametrize(
    ("space", "trials", "has"),
    [("{prox: [glow, unet]}", 3, 2), ("{prox: [unet]}", 2, 1), ("{folds: {int: [1, 4]}, lr: [1.0e-3, 2.0e-3]}", 9, 8)],
    ids=["choices", "one", "whole numbers"],
)
def test_a_search_of_more_configurations_than_there_are_is_refused(study_of, space, trials, has):
    sets = [f"space={space}", "search.startup=1", "scheduler=none"]
    check_enough(study_of(*sets, f"search.trials={has}"))
    with pytest.raises(StudyFileError, match=rf"^--set search.trials={trials}: space has {has} conf.*: {has}, or mode"):
        check_enough(study_of(*sets, f"search.trials={trials}"))


def test_a_range_of_real_numbers_has_no_end(study_of):
    check_enough(study_of("space={lr: {float: [1.0e-4, 1.0e-3]}}", "search.trials=5000"))


@pytest.mark.parametrize(
    ("sets", "at_once", "expected"),
    [
        (["search.trials=20"], 2, 5),
        (["search.trials=20"], 1, 4),
        (["search.trials=40"], 8, 16),
        (["search.trials=80"], 8, 20),
        (["search.trials=500"], 8, 32),
        (["mode=grid", "search={}", "scheduler=none", "space={folds: [1, 2]}"], 8, 32),
        (["search.trials=20", "tasks=[denoise-0.1, inpaint-9, deblur-1]"], 8, 6),
        (["search.trials=20", "repeats=3", "scheduler=none"], 8, 6),
        (["search.trials=500", "repeats=3", "scheduler=none", "tasks=[denoise-0.1, inpaint-9]"], 8, 6),
        (["search.trials=4", "repeats=50", "scheduler=none"], 1, 2),
    ],
    ids=[
        *("short", "one at once", "short for eight", "a quarter", "long", "nothing to learn"),
        *("three tasks", "three repeats", "long with both", "many repeats"),
    ],
)
def test_a_search_is_not_proposed_blind_for_long(study_of, sets, at_once, expected):
    assert window(study_of(*sets), at_once) == expected


def test_the_most_epochs_are_those_of_the_baseline_too():
    text = "name: x\nmode: ablate\nbaseline: {prox: unet, epochs: 50}\nspace: {prox: [resnet], epochs: [10]}\n"
    assert study(text).most_epochs == 50
