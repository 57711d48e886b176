"""Runs a study, or goes on with one: what is refused, what is noted, and then `driving` it."""

import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flowsearch.data.config import DataConfig, way_back
from flowsearch.results import schema
from flowsearch.results.lock import LOCK
from flowsearch.storage import inside
from flowsearch.study import changes, machines, modes, own_parts, provenance, retrying
from flowsearch.study import ledger as events
from flowsearch.study.driving import RUN_TRIAL, CheckData, Ending, Means, drive
from flowsearch.study.file import checked, load, read
from flowsearch.study.holding import held
from flowsearch.study.layout import Layout
from flowsearch.study.lease import LEASE
from flowsearch.study.ledger import Ledger
from flowsearch.study.local import gpus_here, joined_ray
from flowsearch.study.place import Place
from flowsearch.study.progress import Event, Listener, Progress, replay
from flowsearch.study.sections import Study
from flowsearch.study.source import Source, dump


def check_data(config: DataConfig) -> str:
    """Open the study's images (built-in ones are drawn and kept now, once) and return their fingerprint."""
    from flowsearch.data import load as load_images

    return load_images(config).fingerprint


def run(
    study: Study,
    results: Path | str = "results",
    listener: Listener | None = None,
    *,
    run_trial: str = RUN_TRIAL,
    run_prior: str | None = None,
    images: CheckData = check_data,
    cpus: int | None = None,
    address: str | None = None,
    verbose: bool = False,
) -> Ending:
    """Run `study` and leave everything in `results/<name>`; go on with it where it was begun before.

    `results` is a folder, or a URI of an object store such as `s3://bucket/results`.

    Ray is started on this machine with `cpus` cores (default: all that the process may use), unless `address` names a
    cluster to join (`auto`: the one that this machine is part of).

    `run_trial` is the import path of the generator that runs a trial, `run_prior` of the one that pre-trains a prior
    for all trials that need it (by default flowsearch's own for its own trials, and none for a stand-in), `images` what
    opens the data and gives its fingerprint. A study made in Python is checked as one that is read from a file.

    Raises ValueError where it cannot be run, the folder is taken by another study, the images are not to be had or the
    machine is too small.
    """
    if not study.was_read:
        study = checked(study)
    root, means = (
        Place(inside(results, study.name)),
        Means(listener, run_trial, run_prior, images, cpus, address, verbose),
    )
    if root.exists:
        _check_same(root, study)
        return _go_on(root, means, like=study)
    _check_free(root)
    modes.check_enough(study)
    modes.check_start(study)
    with own_parts.importable(study, {}):
        return _run(root, study, means)


def _run(root: Place, study: Study, means: Means) -> Ending:
    fingerprint = means.images(study.data_config)
    parts = own_parts.provenance(study, {}, own_parts.check(study))
    if means.address is None:
        machines.slots(study, {"CPU": means.cores, "GPU": gpus_here()})
    window = study.search.window or modes.window(study, study.resources.concurrent or _at_once(study, means))
    study = study.model_copy(update={"search": study.search.model_copy(update={"window": window})})
    known = provenance.gather(fingerprint) | parts | {"trials": Layout.of(study).total}
    with held(root) as hold:
        _check_free(root)
        root.store.put(schema.PROVENANCE_FILE, _json(known))
        root.store.put(schema.STUDY_FILE, dump(study.to_dict()).encode())
        carried = own_parts.carried(study, parts, means.address is not None)
        return drive(root, study, means, carried, hold, fingerprint)


def resume(
    path: Path | str,
    listener: Listener | None = None,
    *,
    file: Path | str | None = None,
    sets: Sequence[str] = (),
    run_trial: str = RUN_TRIAL,
    run_prior: str | None = None,
    images: CheckData = check_data,
    cpus: int | None = None,
    address: str | None = None,
    verbose: bool = False,
) -> Ending:
    """Go on with the study at `path` (a folder or a URI): unfinished trials first, from their checkpoints.

    Finished trials are left alone. `file` is the study file as it is now, `sets` are overrides; what they change is
    taken over if that spoils no results (see `changes`). Raises ValueError where it would, where there is no study,
    another process runs it, or its images have changed.
    """
    root, like = Place(path), None
    if file is not None or sets:
        like = load(file, sets) if file is not None else root.study(sets)
    return _go_on(root, Means(listener, run_trial, run_prior, images, cpus, address, verbose), like=like)


def retry(
    path: Path | str,
    listener: Listener | None = None,
    *,
    ids: Sequence[str] = (),
    reason: str | None = None,
    run_trial: str = RUN_TRIAL,
    run_prior: str | None = None,
    images: CheckData = check_data,
    cpus: int | None = None,
    address: str | None = None,
    verbose: bool = False,
) -> Ending:
    """Go on with the study in the folder `path`, its failed and diverged trials first: all, or those that are meant.

    They keep their configuration and id. Where nothing was wrong with the trial itself (memory, a lost worker) it goes
    on from its checkpoint, else it begins anew. Raises ValueError as `resume` does, and where there is none to retry.
    """
    means = Means(listener, run_trial, run_prior, images, cpus, address, verbose)
    return _go_on(Place(path), means, retried=(ids, reason))


def _go_on(
    root: Place,
    means: Means,
    *,
    like: Study | None = None,
    retried: tuple[Sequence[str], str | None] | None = None,
) -> Ending:
    """Go on with a study: changed to be `like` another, with the failed trials that are to be `retried`."""
    study = root.study()
    known = own_parts.moved(root.provenance, like)
    with own_parts.importable(study, known):
        fingerprint, then = means.images(study.data_config), known.get("data_fingerprint") or _begun_with(root)
        if then is not None and fingerprint != then:
            source = study.data_config.source
            raise ValueError(
                f"the images of {source} are not those that {root} was begun with (fingerprint {fingerprint}, then "
                f"{then}); {way_back(source)}, or begin a new study"
            )
        own_parts.provenance(study, known, own_parts.check(study))  # says what has changed
        with held(root) as hold:
            ledger = Ledger(root.store.at(schema.LEDGER))
            progress = replay(study, ledger)
            _check_unedited(root, study, progress)
            before = _noted(root, ledger)
            if before is not None:
                study = _changed(root, before, study, ledger, progress, means.listener)
            if retried is not None:
                retrying.note(ledger, retrying.chosen(progress, *retried))
            if like is not None:
                study = _changed(root, study, like, ledger, progress, means.listener)
            carried = own_parts.carried(study, known, means.address is not None)
            return drive(root, study, means, carried, hold, fingerprint)


def _begun_with(root: Place) -> str | None:
    """The fingerprint of a study's images as its ledger has it, for where the provenance is lost; None where nothing
    ran yet."""
    found = (event.content.get("data_fingerprint") for event in Ledger(root.store.at(schema.LEDGER)).events)
    return next((one for one in found if one), None)


def _noted(root: Place, ledger: Ledger) -> Study | None:
    """The study as the ledger has it, whatever was done to its file since; None where nothing ran yet."""
    found = [event.content["study"] for event in ledger.events if "study" in event.content]
    return read(Source(inside(root.where, schema.STUDY_FILE), dump(found[-1]))) if found else None


def _changed(
    root: Place, study: Study, like: Study, ledger: Ledger, progress: Progress, listener: Listener | None
) -> Study:
    """The `study` with what is different in `like`, noted and said; refused where results would be spoilt."""
    found, planned = changes.changes(study, like), _configurations(study, progress.trials)
    refused = changes.unsafe(found, planned)
    if refused:
        raise ValueError(
            f"the study in {root} has begun, and its results would not belong together with this: "
            f"{'; '.join(map(str, refused))}. What may change is search.trials (not below the "
            f"{planned} that are planned), budget, resources and failures; else put it back, or begin a new study, "
            "which may learn from this one (start_from)"
        )
    if not found:
        return study
    changed = root.study([one.override for one in found])
    if changed.search.trials > study.search.trials:
        modes.check_enough(changed)
    ledger.add(events.CHANGED, events.STUDY, changes=[asdict(one) for one in found], study=changed.to_dict())
    known = root.provenance | {"trials": Layout.of(changed).total}
    root.store.put(schema.PROVENANCE_FILE, _json(known))
    root.store.put(schema.STUDY_FILE, dump(changed.to_dict()).encode())
    if listener is not None:
        listener(Event("changed", progress, note=f"changed: {'; '.join(map(str, found))}"))
    return changed


def _at_once(study: Study, means: Means) -> int:
    """How many trials will run at once, here or on the cluster; at least 1."""
    if means.address is None:
        return means.cores // study.resources.cpu or 1
    with joined_ray(address=means.address):
        return machines.Machines(study).slots()


def _check_free(root: Place) -> None:
    """Refuse to write into a folder that holds anything but what is left of a driver that was killed at its start."""
    names = set(root.store.names()) - {LOCK, LEASE, schema.PROVENANCE_FILE}
    if not names and (root.remote or not root.local.is_file()):
        return
    what = "a study that was begun just now" if schema.STUDY_FILE in names else "something other than a study"
    raise ValueError(f"{root} exists and holds {what}; give another --name or --results")


def _configurations(study: Study, numbers: Iterable[int]) -> int:
    """How many configurations the trials of these numbers are of, of each task; what `search.trials` counts."""
    layout = Layout.of(study)
    return max((layout.position(number).local + 1 for number in numbers), default=0)


def _check_unedited(root: Place, study: Study, progress: Progress) -> None:
    """Refuse to go on with a study whose stored file gives its trials other configurations than they were run with."""
    for trial in progress.trials.values():
        found = changes.differing(trial.config, study.config(trial.values).to_dict())
        if found:
            raise ValueError(
                f"{inside(root.where, schema.STUDY_FILE)} is no longer what trial {trial.id} was planned with "
                f"({'; '.join(map(str, found))}), and results would not belong together after this; put it back, or "
                "begin a new study"
            )


def _check_same(root: Place, study: Study) -> None:
    """Refuse to go on with another study than the one that is there; one that has only grown is the same."""
    try:
        then, ledger = root.study(), Ledger(root.store.at(schema.LEDGER))
        planned = _configurations(then, (int(one) for one in ledger.planned if one.isdigit()))
        other = "; ".join(map(str, changes.unsafe(changes.changes(then, study), planned)))
    except ValueError as error:
        other = str(error)
    if other:
        resume = f"flowsearch study resume {shlex.quote(str(root))}"
        raise ValueError(
            f"{root} is taken: another study of that name is there ({other}), and nothing is overwritten. Go on with "
            f"that one by `{resume}`, or give this run another --name or --results"
        )


def _json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()
