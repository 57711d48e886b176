"""Runs a study on Ray Tune, or goes on with one: the only module that drives Ray."""

import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flowsearch.results import schema
from flowsearch.results.lock import LOCK
from flowsearch.storage import inside
from flowsearch.study import changes, machines, modes, own_parts, packing, provenance, retrying
from flowsearch.study import ledger as events
from flowsearch.study.budget import Meter
from flowsearch.study.file import DataConfig, Study, dump, load
from flowsearch.study.holding import Hold, Signal, Why, held, signals, watched
from flowsearch.study.layout import Layout
from flowsearch.study.lease import LEASE, Lease
from flowsearch.study.ledger import Ledger
from flowsearch.study.local import ENVIRONMENT, broken, joined_ray
from flowsearch.study.place import Place
from flowsearch.study.progress import Event, Listener, Progress, replay

_log = logging.getLogger(__name__)

RUN_TRIAL = "flowsearch.training:run_trial"
RUN_PRIOR = "flowsearch.training.prior:run_prior"
_TICK_SECONDS = 0.25

CheckData = Callable[[DataConfig], str]


@dataclass(frozen=True)
class Ending:
    """How a run or resume of a study ended."""

    root: Path | str
    """The path or URI of its results."""
    progress: Progress
    stopped: Why = ""
    """What stopped it before its last trial."""
    reason: str = ""
    """The same in words."""
    seconds: float = 0.0
    nothing_left: bool = False
    """Whether all trials had ended before it began."""


class _Stop(BaseException):
    """Leaves Ray Tune's loop at once. Not an Exception: Tune would wait for the trials' current epochs."""


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
    opens the data and gives its fingerprint. Raises ValueError where the folder is taken by another study, the images
    are not to be had or the machine is too small.
    """
    root = Place(inside(results, study.name))
    if root.exists:
        _check_same(root, study)
        return _go_on(root, listener, run_trial, run_prior, images, cpus, address, verbose, like=study)
    _check_free(root)
    modes.check_start(study)
    with own_parts.importable(study, {}):
        return _run(root, study, listener, run_trial, run_prior, images, cpus, address, verbose)


def _run(
    root: Place,
    study: Study,
    listener: Listener | None,
    run_trial: str,
    run_prior: str | None,
    images: CheckData,
    cpus: int | None,
    address: str | None,
    verbose: bool,
) -> Ending:
    fingerprint = images(study.data_config)
    own_parts.check(study)
    parts = own_parts.provenance(study, {})
    cpus = cpus or _cpus()
    if address is None:
        machines.slots(study, {"CPU": cpus, "GPU": float("inf")})
    window = study.search.window or 4 * (study.resources.concurrent or _at_once(study, cpus, address))
    study = study.model_copy(update={"search": study.search.model_copy(update={"window": window})})
    known = provenance.gather(fingerprint) | parts | {"trials": Layout.of(study).total}
    with held(root) as hold:
        _check_free(root)
        root.store.put(schema.PROVENANCE_FILE, _json(known))
        root.store.put(schema.STUDY_FILE, dump(study.to_dict()).encode())
        carried = own_parts.carried(study, parts, address is not None)
        return _drive(root, study, listener, run_trial, run_prior, cpus, address, verbose, carried, hold)


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
    root = Place(path)
    like = None
    if file is not None or sets:
        like = load(file, sets) if file is not None else root.study(sets)
    return _go_on(root, listener, run_trial, run_prior, images, cpus, address, verbose, like=like)


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
    return _go_on(Place(path), listener, run_trial, run_prior, images, cpus, address, verbose, retried=(ids, reason))


def _go_on(
    root: Place,
    listener: Listener | None,
    run_trial: str,
    run_prior: str | None,
    images: CheckData,
    cpus: int | None,
    address: str | None,
    verbose: bool,
    *,
    like: Study | None = None,
    retried: tuple[Sequence[str], str | None] | None = None,
) -> Ending:
    """Go on with a study: changed to be `like` another, with the failed trials that are to be `retried`."""
    study = root.study()
    known = own_parts.moved(_known(root), like)
    with own_parts.importable(study, known):
        fingerprint, then = images(study.data_config), known.get("data_fingerprint")
        if then is not None and fingerprint != then:
            raise ValueError(
                f"the images of {study.data_config.source} are not those that {root} was begun with "
                f"(fingerprint {fingerprint}, then {then}); prepare the same images again, or begin a new study"
            )
        own_parts.check(study)
        own_parts.provenance(study, known)  # says what has changed
        cpus = cpus or _cpus()
        with held(root) as hold:
            ledger = Ledger(root.store.at(schema.LEDGER))
            _check_unedited(root, study, replay(study, ledger))
            if retried is not None:
                retrying.note(ledger, retrying.chosen(replay(study, ledger), *retried))
            study = _changed(root, study, like, ledger, listener)
            carried = own_parts.carried(study, known, address is not None)
            return _drive(root, study, listener, run_trial, run_prior, cpus, address, verbose, carried, hold)


def _changed(root: Place, study: Study, like: Study | None, ledger: Ledger, listener: Listener | None) -> Study:
    """The study with what is different in `like`, noted and said; refused where results would be spoilt."""
    if like is None:
        return study
    found = changes.changes(study, like)
    progress = replay(study, ledger)
    planned = _configurations(study, progress.trials)
    refused = changes.unsafe(found, planned)
    if refused:
        raise ValueError(
            f"the study in {root} has begun, and its results would not belong together after this: "
            f"{'; '.join(map(str, refused))}. What may change is search.trials (not below the "
            f"{planned} that are planned), budget, resources and failures; else begin a new study"
        )
    if not found:
        return study
    ledger.add(events.CHANGED, events.STUDY, changes=[asdict(one) for one in found])
    changed = root.study([one.override for one in found])
    known = _known(root) | {"trials": Layout.of(changed).total}
    root.store.put(schema.PROVENANCE_FILE, _json(known))
    root.store.put(schema.STUDY_FILE, dump(changed.to_dict()).encode())
    if listener is not None:
        listener(Event("changed", progress, note=f"changed: {'; '.join(map(str, found))}"))
    return changed


def _drive(
    root: Place,
    study: Study,
    listener: Listener | None,
    run_trial: str,
    run_prior: str | None,
    cpus: int,
    address: str | None,
    verbose: bool,
    carried: own_parts.Carried | None,
    hold: Hold | Lease,
) -> Ending:
    began = time.monotonic()
    os.environ.update(ENVIRONMENT)
    from flowsearch.study import warm
    from flowsearch.study.driver import Driver

    with signals() as stop:
        ledger = Ledger(root.store.at(schema.LEDGER))
        for name in ledger.damaged:
            _log.warning("%s holds no whole event; it is passed over", inside(ledger.store.where, name))
        progress = replay(study, ledger)
        window = study.search.window or 4 * cpus
        earlier = warm.learned(study, ledger)
        driver = Driver(
            root,
            progress,
            ledger,
            run_trial=run_trial,
            run_prior=run_prior or (RUN_PRIOR if run_trial == RUN_TRIAL else None),
            fingerprint=str(_known(root).get("data_fingerprint")),
            window=window,
            listener=listener,
            earlier=earlier,
        )
        nothing_left = driver.remaining <= 0
        try:
            if not nothing_left and not stop.asked:
                _run_trials(driver, stop, cpus, address, verbose, carried, hold)
        finally:
            why: Why = "" if driver.exhausted and not progress.running else stop.why
            reason = stop.reason or _REASONS.get(stop.why, "the driver ended")
            driver.announce("stopping", stop.why)
            if not hold.lost:
                driver.stop(reason)
                driver.close()
                _note(ledger, events.STOPPED, why=stop.why, reason=reason, seconds=time.monotonic() - began)
    where = root.where if root.remote else root.local
    return Ending(where, progress, why, reason, time.monotonic() - began, nothing_left)


_REASONS = {
    "signal": "interrupted from the keyboard or by a signal",
    "ray": "Ray died",
    "taken": "another driver took the study over",
}


def _run_trials(
    driver: Any,
    stop: Signal,
    cpus: int,
    address: str | None,
    verbose: bool,
    carried: own_parts.Carried | None,
    hold: Hold | Lease,
) -> None:
    """Run what is left; returns when all trials have ended or `stop` says so."""
    study = driver.study
    ray = joined_ray(cpus, address=address, verbose=verbose)
    with watched(), ray as resources, tempfile.TemporaryDirectory(prefix="fs-tune-") as scratch:
        from ray import tune

        from flowsearch.data import counted
        from flowsearch.study.callback import TuneCallback
        from flowsearch.study.scheduler import TuneScheduler
        from flowsearch.study.searcher import TuneSearcher
        from flowsearch.study.trainable import TrialActor

        cluster = None if address is None else machines.Machines(study)
        driver.progress.slots = slots = machines.slots(study, resources) if cluster is None else cluster.slots()
        if study.resources.gpu == "auto":
            reach = resources if cluster is None else machines.within_reach(resources)
            gpu = packing.look(reach, lambda: stop.asked)
            driver.packing = None if gpu is None else packing.Packing(gpu, counted(study.data_config).channels)
        _note(driver.ledger, events.STARTED, slots=slots, resources=resources, **provenance.gather(None))
        driver.announce("begun")
        meter = Meter(study.budget, driver.ledger)

        def check() -> None:
            over = None if stop.asked else meter.over()
            if over is not None:
                stop.ask("budget", over)
            if driver.hopeless and not stop.asked:
                stop.ask("failures", driver.hopeless)
            if driver.no_room and not stop.asked:
                stop.ask("disk", driver.no_room)
            if not stop.asked and (dead := broken()) is not None:
                _log.error("Ray's %s died; the study stops here and can be resumed", dead)
                stop.ask("ray")
            if hold.lost and not stop.asked:
                stop.ask("taken")
            if stop.asked:
                raise _Stop
            if cluster is not None:
                driver.progress.slots = cluster.slots()

        scheduler = TuneScheduler(driver)
        try:
            check()
            tune.run(
                TrialActor if carried is None else tune.with_parameters(TrialActor, parts=carried),
                name="tune",
                num_samples=-1,  # the searcher says when nothing is left: trials may go out again, priors are orders
                storage_path=scratch,
                search_alg=TuneSearcher(driver, check),
                scheduler=scheduler,
                callbacks=[TuneCallback(driver, check, _TICK_SECONDS)],
                max_failures=0,
                reuse_actors=True,
                raise_on_failed_trial=False,
                trial_dirname_creator=lambda trial: str(trial.config["number"]),
                verbose=2 if verbose else 0,
            )
        except _Stop:
            if stop.why != "ray":
                try:
                    scheduler.release()
                except Exception as error:  # as where a signal to the whole process group has ended Ray, too
                    _log.warning("the workers could not be ended; if Ray is gone, they are: %s", error)


def _at_once(study: Study, cpus: int, address: str | None) -> int:
    """How many trials will run at once, here or on the cluster at `address`; at least 1."""
    if address is None:
        return cpus // study.resources.cpu or 1
    with joined_ray(address=address):
        return machines.Machines(study).slots()


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def _check_free(root: Place) -> None:
    """Refuse to write into a folder that holds anything."""
    names = set(root.store.names()) - {LOCK, LEASE}
    if not names and (root.remote or not root.local.is_file()):
        return
    what = "a study that was begun just now" if schema.STUDY_FILE in names else "something other than a study"
    raise ValueError(f"{root} exists and holds {what}; give another --name or --results")


def _configurations(study: Study, numbers: Iterable[int]) -> int:
    """How many configurations the trials of these numbers are of, of each task; what `search.trials` counts."""
    layout = Layout.of(study)
    return max((layout.place(number).local + 1 for number in numbers), default=0)


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
        raise ValueError(
            f"{root} is taken: another study of that name is there ({other}), and nothing is overwritten. Go on with "
            f"that one by `flowsearch study resume {root}`, or give this run another --name or --results"
        )


def _known(root: Place) -> dict[str, Any]:
    """The study's provenance; nothing where it cannot be read."""
    try:
        known = json.loads(root.store.get(schema.PROVENANCE_FILE))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()


def _note(ledger: Ledger, event: str, **content: Any) -> None:
    try:
        ledger.add(event, events.STUDY, **content)
    except OSError:
        _log.exception("could not write to the ledger")
