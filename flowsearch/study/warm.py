"""`start_from`: what a sampler learns from earlier studies before the first trial of a new one.

What was taken is written to the new study's ledger, so that a resume needs the other folders no more.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

from flowsearch.results import schema
from flowsearch.results.objective import EPOCH_METRICS
from flowsearch.study import ledger as events
from flowsearch.study import modes
from flowsearch.study.ends import Earlier, End, end_of
from flowsearch.study.ledger import Ledger
from flowsearch.study.parameter import SpaceError, Values
from flowsearch.study.place import Place
from flowsearch.study.sections import Study
from flowsearch.study.space import Space

_log = logging.getLogger(__name__)

_TAKEN = (schema.COMPLETED, schema.PRUNED, schema.DIVERGED)


def learned(study: Study, ledger: Ledger) -> list[list[Earlier]]:
    """What each task's sampler is given: as the ledger says, or taken from the earlier studies and written there."""
    noted = next((event for event in ledger.events if event.event == events.LEARNED), None)
    if noted is None and study.start_from:
        noted = ledger.add(events.LEARNED, events.STUDY, tasks=[_taken(study, branch) for branch in study.branches])
    if noted is None:
        return []
    return [[_read(entry) for entry in entries] for entries in noted.content["tasks"]]


def _taken(study: Study, branch: Study) -> list[dict[str, Any]]:
    """The trials of the earlier studies that fit one task's space, as the ledger holds them; says what did not fit."""
    space, task = branch.parsed_space(), branch.fixed.get("task")
    taken: list[dict[str, Any]] = []
    for index, folder in enumerate(study.start_from):
        found, why = [], Counter[str]()
        for entry in _trials(study, index):
            try:
                found.append(_fitting(branch, space, entry))
            except ValueError as error:
                why[str(error)] += 1
        of = f" for {task}" if study.tasks is not None else ""
        _log.log(logging.WARNING if why else logging.INFO, "start_from: %s", _said(folder, of, len(found), why))
        taken += found
    return taken


def _said(folder: str, of: str, count: int, why: Counter[str]) -> str:
    line = f"{count} of {count + why.total()} ended trials of {folder} are given to the sampler{of}"
    if why:
        listed = "; ".join(f"{number} x {reason}" for reason, number in why.most_common(3))
        line += f"; the others do not fit: {listed}" + ("; ..." if len(why) > 3 else "")
    return line


def _trials(study: Study, index: int) -> list[dict[str, Any]]:
    """The trials of an earlier study of which a sampler learns: configuration, status, metrics, epoch by epoch."""
    from flowsearch.results import load as load_results
    from flowsearch.study.progress import replay

    modes.check_start(study)
    place = Place(study.start_from[index])
    progress = replay(place.study(), Ledger(place.store.at(schema.LEDGER)))
    epochs = load_results(place.where).epochs
    epochs = epochs[epochs["phase"] == schema.TRAIN_PHASE]
    return [
        {
            "config": trial.config,
            "values": trial.values,
            "status": trial.status,
            "reason": trial.reason,
            "metrics": trial.metrics,
            "epochs": epochs[epochs["trial_id"] == trial.id],
        }
        for trial in sorted(progress.trials.values(), key=lambda one: one.number)
        if trial.status in _TAKEN
    ]


def _fitting(study: Study, space: Space, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The trial as a point of the space; ValueError where it is none."""
    configured = dict(entry["config"]) | dict(entry["values"])
    chosen: Values = {}
    for name, parameter in space.parameters.items():
        if not space.active(parameter, chosen):
            continue
        if configured.get(name) is None:
            raise ValueError(f"no {name}")
        try:
            chosen[name] = parameter.read(configured[name])
        except SpaceError as error:  # nobody mistyped anything, so without a nearest name
            raise ValueError(str(error).partition("; did you mean")[0]) from None
    task = study.config(chosen).task
    if configured["task"] != task:
        raise ValueError(f"task is {task}, not {configured['task']}")
    method, prox = study.config(chosen).method, study.config(chosen).prox
    for name, mine in (("method", method), ("prox", prox)):
        if configured.get(name) != mine and name not in chosen:
            raise ValueError(f"{name} is {mine}, not {configured.get(name)}")
    end = end_of(study, entry["status"], entry["reason"], entry["metrics"])
    if end.values is None and entry["status"] == schema.COMPLETED:
        raise ValueError("no value of an objective or a constraint")
    assert not isinstance(end.value, float)
    steps = {}
    if study.metric in EPOCH_METRICS:
        rows = entry["epochs"].dropna(subset=[study.metric])
        steps = {int(epoch): float(value) for epoch, value in zip(rows["epoch"], rows[study.metric], strict=True)}
    return {
        "values": chosen,
        "status": end.status,
        "reason": end.reason,
        "objectives": list(end.value or ()),
        "constraints": dict(end.constraints),
        "steps": [[epoch, value] for epoch, value in sorted(steps.items())],
    }


def _read(entry: Mapping[str, Any]) -> Earlier:
    end = End(entry["status"], entry["reason"], tuple(entry["objectives"]), entry["constraints"])
    return Earlier(entry["values"], end, {int(epoch): value for epoch, value in entry["steps"]})
