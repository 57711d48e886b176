"""What a study file says of modes, repeats and configurations to try first: its checks."""

import math

from flowsearch.checks import nearest
from flowsearch.results import schema
from flowsearch.storage import store_at
from flowsearch.study.enumeration import grid
from flowsearch.study.parameter import SpaceError, Values, parse, show
from flowsearch.study.sections import OF_EVERY_MODE, Study
from flowsearch.study.space import Space

_OF_MODE = {"baseline": "ablate", "pairs": "ablate", "enqueue": "search", "start_from": "search"}


def window(study: Study, at_once: int) -> int:
    """How far proposals run ahead of results, in configurations of a task, where the file does not say: for each trial
    that runs `at_once`, those of 2 to 4 trials, over all tasks and repeats.

    A trial that takes four times as long as others then holds none of them up. But what is proposed within the first
    window is proposed blind, so that in a short search it is a quarter of the trials, if 2 for each leave so much.
    """

    def of(trials: int) -> int:
        # All repeats of the configuration that is waited for have to end, the last one too.
        return math.ceil((trials + study.repeats - 1) / (study.repeats * len(study.branches)))

    widest = of(4 * at_once)
    return min(widest, max(of(2 * at_once), study.search.trials // 4)) if study.mode == "search" else widest


def settled(study: Study) -> Study:
    """The study with the values of its mode as it knows them; StudyFileError for what does not go together."""
    _check_names(study)
    _check_repeats(study)
    if study.mode == "ablate":
        baseline = _baseline(study)
        _check_pairs(study)
        return study.model_copy(update={"baseline": baseline})
    if study.mode == "search":
        _check_sampler(study)
        return study.model_copy(update={"enqueue": _enqueued(study)})
    return study


def _check_names(study: Study) -> None:
    """Each name of the file belongs to the mode."""
    for name, mode in _OF_MODE.items():
        if getattr(study, name) and study.mode != mode:
            raise study.error((name,), f"{name} belongs to mode: {mode}, not to mode: {study.mode}; take it away")
    for name in study.search.model_dump(exclude_unset=True) if study.mode != "search" else ():
        if name not in OF_EVERY_MODE:
            raise study.error(("search", name), f"search.{name} says nothing in mode: {study.mode}; take it away")
    for name, entry in study.space.items():
        if study.mode == "search" and isinstance(entry, dict) and "points" in entry:
            raise study.error(
                ("space", name, "points"),
                f"space.{name}.points belongs to mode: grid and mode: ablate; a search takes any value of the range",
            )


def _check_repeats(study: Study) -> None:
    if study.repeats == 1:
        return
    if "seed" in study.space:
        raise study.error(("space", "seed"), "repeats chooses the seeds; take seed out of space, or repeats away")
    if study.scheduler is not None:
        raise study.error(
            ("repeats",), "each repeat runs to its end, so that their mean is one of equals; write scheduler: none"
        )


def _baseline(study: Study) -> Values:
    """The baseline with each value as the study knows it."""
    for name in study.baseline:
        if name not in study.space:
            hint = nearest(name, study.space) or "; what is the same for every trial belongs in fixed"
            raise study.error(("baseline", name), f"baseline.{name} is no name of space{hint}")
    settled = {}
    for name in study.space:
        if name not in study.baseline:
            raise study.error(
                ("baseline",), f"baseline.{name} is missing: every name of space has its value at the baseline"
            )
        try:
            settled[name] = parse(name, [study.baseline[name]]).choices[0]
        except SpaceError as error:
            message = str(error).replace(f"space.{name}", f"baseline.{name}")
            raise study.error(("baseline", name), message) from None
    return settled


def _check_pairs(study: Study) -> None:
    for index, pair in enumerate(study.pairs):
        for place, name in enumerate(pair):
            if name not in study.space:
                raise study.error(
                    ("pairs", index, place), f"pairs: {name} is no name of space{nearest(name, study.space)}"
                )
        if pair[0] == pair[1]:
            raise study.error(("pairs", index), f"pairs: {pair[0]} makes no pair with itself")


def _check_sampler(study: Study) -> None:
    if study.search.sampler != "cmaes":
        return
    for name, several in (("objective", len(study.objective) > 1), ("constraints", bool(study.constraints))):
        if several:
            what = "several objectives" if name == "objective" else "constraints"
            raise study.error(
                ("search", "sampler"), f"cmaes knows one objective, and not {what}; write sampler: tpe, gp or nsga2"
            )


def _enqueued(study: Study) -> list[Values]:
    """The configurations to try first, with each value as the study knows it."""
    if len(study.enqueue) > study.search.trials:
        raise study.error(
            ("enqueue",), f"enqueue has {len(study.enqueue)} configurations, and search.trials is {study.search.trials}"
        )
    try:
        spaces = [branch.parsed_space() for branch in study.branches]
    except SpaceError:
        return study.enqueue  # which the check of the space says better
    found = []
    for index, values in enumerate(study.enqueue):
        try:
            for space in spaces:
                settled = checked(space, values)
        except SpaceError as error:
            raise study.error(("enqueue", index, *error.names[:1]), f"enqueue: {error}") from None
        found.append(settled)
    return found


def checked(space: Space, values: Values) -> Values:
    """`values` as the space knows them; SpaceError for a name or value that it does not have, or not beside the others.

    Names may be left open, and then what depends on them may be given or not.
    """
    for name in values:
        if name not in space.parameters:
            raise SpaceError(f"{name} is no name of space{nearest(name, space.parameters)}", name)
    settled = {name: space.parameters[name].read(value) for name, value in values.items()}
    chosen: Values = {}
    for name, parameter in space.parameters.items():
        if name not in settled:
            continue
        chosen[name] = settled[name]
        waits = [other for other in space.above(name) if other not in settled]
        if not waits and not space.active(parameter, chosen):
            beside = ", ".join(f"{other}: {show(settled[other])}" for other in space.above(name))
            raise SpaceError(f"{name} means nothing beside {beside}; take it away", name)
    return settled


def check_enough(study: Study) -> None:
    """Refuse a search of more configurations than its space has; StudyFileError with the line that says how many."""
    if study.mode != "search":
        return
    try:
        most = len(grid(study.branches[0].parsed_space()))
    except SpaceError:  # there is no end to them
        return
    asked = study.search.trials
    if asked > most:
        raise study.error(
            ("search", "trials"),
            f"space has {most} {'configuration' if most == 1 else 'configurations'}, and search.trials is {asked}: the "
            f"same ones again would give the same numbers; write search.trials: {most}, or mode: grid, which takes "
            "each once (repeats: 3 runs each with three seeds)",
        )


def check_start(study: Study) -> None:
    """Refuse earlier studies that are not there; StudyFileError with the line that names one."""
    for index, where in enumerate(study.start_from):
        try:
            there = schema.STUDY_FILE in store_at(where).names()
        except ValueError as error:
            raise study.error(("start_from", index), f"start_from: {error}") from None
        if not there:
            raise study.error(
                ("start_from", index),
                f"start_from: {where} holds no study (there is no {schema.STUDY_FILE}); name a study's folder, such "
                "as results/quickstart",
            )
