"""Search spaces: conditions, corners and the balanced start."""

from collections import Counter

import pytest

from flowsearch.study.parameter import SpaceError
from flowsearch.study.samplers import startup_design
from flowsearch.study.space import Space


def test_conditions_decide_what_is_searched(study_of):
    space = study_of().parsed_space()
    for prox in ("glow", "resnet", "unet"):
        point = space.fill(lambda one, prox=prox: prox if one.name == "prox" else one.corners[0])
        assert ("depth" in point) == ("pretrain" in point) == (prox == "glow")


def test_a_name_of_one_proximal_map_needs_no_condition():
    space = Space({"depth": {"int": [2, 6]}, "prox": ["glow", "unet"], "channels": [8, 16]}, {})
    assert next(iter(space.parameters)) == "prox"
    assert set(space.fill(lambda one: one.corners[-1])) == {"prox", "channels"}
    assert space.conditional


def test_every_corner_is_visited(study_of):
    space = study_of().parsed_space()
    seen = {(name, value) for name, point in space.corners() for name, value in point.items()}
    for name, parameter in space.parameters.items():
        assert {(name, corner) for corner in parameter.corners} <= seen


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (
            {
                "folds": {"int": [1, 2], "when": {"weights": "tied"}},
                "weights": {"choice": ["tied"], "when": {"folds": 1}},
            },
            "wait for each other",
        ),
        ({"folds": {"int": [1, 2], "when": {"folds": 1}}}, "space.folds waits for itself"),
        ({"folds": {"int": [1, 2], "when": {"nothing": 1}}}, "neither in space nor in fixed"),
        ({"prox": ["glow"], "folds": {"int": [1, 2], "when": {"prox": "unet"}}}, "never proposed"),
        ({}, "at least one name"),
    ],
    ids=["cycle", "itself", "unknown", "impossible", "empty"],
)
def test_impossible_conditions_are_refused(entries, words):
    with pytest.raises(SpaceError, match=words):
        Space(entries, {})


def test_a_condition_on_a_fixed_name_is_settled_at_once(study_of):
    study = study_of("space={folds: [1, 2], depth: {int: [2, 4], when: {prox: glow}}}", "fixed.prox=glow")
    assert "depth" in study.parsed_space().fill(lambda one: one.corners[0])


def test_a_name_that_is_never_searched_is_refused(study_of):
    with pytest.raises(ValueError, match="never searched"):
        study_of("space={folds: [1, 2], depth: {int: [2, 4]}}", "fixed.prox=unet")


def test_conditions_of_conditions_are_reached(study_of):
    study = study_of("space.hidden={int: [8, 16], when: {pretrain: true}}")
    space = study.parsed_space()
    assert any("hidden" in point for _, point in space.corners())
    point = space.fill(lambda one: False if one.name == "pretrain" else one.corners[0])
    assert "hidden" not in point


@pytest.mark.parametrize("seed", range(20))
def test_ten_startup_trials_contain_every_choice(study_of, seed):
    design = startup_design(study_of().parsed_space(), seed, 10)
    assert sorted(Counter(point["prox"] for point in design).values()) == [3, 3, 4]
    for prox in ("glow", "resnet", "unet"):
        assert {point["weights"] for point in design if point["prox"] == prox} == {"tied", "untied"}
    assert {point["pretrain"] for point in design if point["prox"] == "glow"} == {True, False}
    assert {point["folds"] for point in design} == {1, 2, 3, 4}


def test_startup_ranges_are_evenly_covered(study_of):
    design = startup_design(study_of().parsed_space(), 0, 10)
    rates = sorted(point["lr"] for point in design)
    edges = [1e-4 * 10 ** (k / 10) for k in range(11)]
    assert all(low <= rate <= high for rate, low, high in zip(rates, edges[:-1], edges[1:], strict=True))


@pytest.mark.parametrize(
    ("entry", "values"),
    [
        ({"int": [1, 4]}, {1, 2, 3, 4}),
        ({"int": [2, 9], "step": 3}, {2, 5, 8}),
        ({"int": [1, 4], "log": True}, {1, 2, 3, 4}),
    ],
    ids=["int", "step", "log"],
)
def test_whole_numbers_of_a_range(entry, values):
    parameter = Space({"folds": entry}, {}).parameters["folds"]
    assert {parameter.at(k / 1000) for k in range(1000)} == values


METHODS = {
    "task": ["denoise-0.1", "inpaint-9"],
    "method": ["unrolled", "tv", "map", "feedforward"],
    "prox": {"choice": ["glow", "resnet"], "when": {"method": "unrolled"}},
    "folds": [1, 2],
    "depth": {"int": [2, 4], "when": {"prox": "glow"}},
    "tv_weight": {"float": [0.01, 0.1], "log": True},
}


def test_a_method_decides_what_is_searched():
    space = Space(METHODS, {})
    points = {}
    for kind in space.kinds():
        point = space.fill(lambda one, kind=kind: kind.get(one.name, one.corners[0]))
        points[kind["method"], kind.get("prox")] = set(point) - {"task", "method"}
    assert points == {
        ("unrolled", "glow"): {"prox", "folds", "depth"},
        ("unrolled", "resnet"): {"prox", "folds"},
        ("tv", None): {"tv_weight"},
        ("map", None): {"depth"},  # its prior is a glow
        ("feedforward", None): set(),
    }


def test_every_kind_starts_on_every_task():
    space = Space({name: METHODS[name] for name in ("task", "method", "prox")}, {})
    for seed in range(10):
        design = startup_design(space, seed, 10)
        kinds = Counter((point["method"], point.get("prox"), point["task"]) for point in design)
        assert len(kinds) == 10


def test_a_study_of_methods_is_checked_corner_by_corner(study_of):
    fixed = "fixed={epochs: 4, depth: 2, levels: 5}"
    study = study_of("space={method: [unrolled, tv], lr: {float: [1e-4, 1e-3]}}", fixed)
    assert study.config({"method": "tv"}).lr is None
    with pytest.raises(ValueError, match=r"levels.* not 6 \(at .*method: map"):
        study_of("space={method: [tv, map]}", "fixed={depth: 2, levels: 6}")
    with pytest.raises(ValueError, match="prox of method pnp is one of resnet, unet"):
        study_of("space={method: [unrolled, pnp], prox: [glow, unet]}", fixed)
    with pytest.raises(ValueError, match="folds is never searched"):
        study_of("space={folds: [1, 2], method: [tv, map]}", fixed)


def test_all_names_that_are_never_searched_are_said_at_once(study_of):
    out = " ".join(f"--set space.{name}=null" for name in ("depth", "levels", "pretrain"))
    with pytest.raises(ValueError, match=rf"are never searched: .* take them out \({out}\)"):
        study_of("fixed.prox=unet")
