"""Drives a study on Ray Tune to its end, or until it is stopped: the only module that drives Ray."""

import logging
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowsearch.cores import cores
from flowsearch.data.config import DataConfig
from flowsearch.results import schema
from flowsearch.storage import inside
from flowsearch.study import ledger as events
from flowsearch.study import machines, own_parts, packing, provenance
from flowsearch.study.budget import Meter
from flowsearch.study.holding import Hold, Signal, Why, signals, watched
from flowsearch.study.lease import Lease
from flowsearch.study.ledger import Ledger
from flowsearch.study.local import ENVIRONMENT, broken, joined_ray
from flowsearch.study.place import Place
from flowsearch.study.progress import Listener, Progress, replay
from flowsearch.study.sections import Study

_log = logging.getLogger(__name__)

RUN_TRIAL = "flowsearch.training:run_trial"
RUN_PRIOR = "flowsearch.training.prior:run_prior"
_TICK_SECONDS = 0.25

CheckData = Callable[[DataConfig], str]


@dataclass(frozen=True)
class Means:
    """What a study is run with, as `runner.run` says it."""

    listener: Listener | None
    run_trial: str
    run_prior: str | None
    images: CheckData
    cpus: int | None
    address: str | None
    verbose: bool

    @property
    def cores(self) -> int:
        """Cores of this machine that trials may use."""
        return self.cpus or cores()


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


def drive(
    root: Place,
    study: Study,
    means: Means,
    carried: own_parts.Carried | None,
    hold: Hold | Lease,
    fingerprint: str,
) -> Ending:
    """Run what the ledger says is left of the study that this process holds.

    `carried` goes to its workers, `fingerprint` is that of its images.
    """
    began = time.monotonic()
    os.environ.update(ENVIRONMENT)
    from flowsearch.study import modes, warm
    from flowsearch.study.driver import Driver

    with signals() as stop:
        ledger = Ledger(root.store.at(schema.LEDGER))
        for name in ledger.damaged:
            _log.warning("%s holds no whole event; it is passed over", inside(ledger.store.where, name))
        progress = replay(study, ledger)
        window = study.search.window or modes.window(study, means.cores)
        earlier = warm.learned(study, ledger)
        driver = Driver(
            root,
            progress,
            ledger,
            run_trial=means.run_trial,
            run_prior=means.run_prior or (RUN_PRIOR if means.run_trial == RUN_TRIAL else None),
            fingerprint=fingerprint,
            window=window,
            listener=means.listener,
            earlier=earlier,
        )
        nothing_left = driver.remaining <= 0
        try:
            if not nothing_left and not stop.asked:
                _run_trials(driver, stop, means, carried, hold)
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
    "taken": "another driver took the study over, or its folder was moved or removed",
}


def _run_trials(driver: Any, stop: Signal, means: Means, carried: own_parts.Carried | None, hold: Hold | Lease) -> None:
    """Run what is left; returns when all trials have ended or `stop` says so."""
    study = driver.study
    ray = joined_ray(means.cores, address=means.address, verbose=means.verbose)
    with watched(), ray as resources, tempfile.TemporaryDirectory(prefix="fs-tune-") as scratch:
        from ray import tune

        from flowsearch.data import counted
        from flowsearch.study.callback import TuneCallback
        from flowsearch.study.scheduler import TuneScheduler
        from flowsearch.study.searcher import TuneSearcher
        from flowsearch.study.trainable import TrialActor

        stop.install()
        cluster = None if means.address is None else machines.Machines(study)
        driver.progress.slots = slots = machines.slots(study, resources) if cluster is None else cluster.slots()
        if study.resources.gpu == "auto":
            reach = resources if cluster is None else machines.within_reach(resources)
            gpu = packing.look(reach, lambda: stop.asked)
            driver.orders.packing = None if gpu is None else packing.Packing(gpu, counted(study.data_config).channels)
        known = provenance.gather(driver.fingerprint) | {"study": study.to_dict()}
        _note(driver.ledger, events.STARTED, slots=slots, resources=resources, **known)
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
                verbose=2 if means.verbose else 0,
            )
        except _Stop:
            if stop.why != "ray":
                try:
                    scheduler.release()
                except Exception as error:  # as where a signal to the whole process group has ended Ray, too
                    _log.warning("the workers could not be ended; if Ray is gone, they are: %s", error)


def _note(ledger: Ledger, event: str, **content: Any) -> None:
    try:
        ledger.add(event, events.STUDY, **content)
    except OSError:
        _log.exception("could not write to the ledger")
