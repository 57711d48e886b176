"""The driver, without Ray: what it makes of the reports that come back."""

import errno
import logging
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from study_fakes import final_record, leave, train_record

from flowsearch.study import ledger as events
from flowsearch.study import trainable
from flowsearch.study.driver import Driver
from flowsearch.study.ledger import PLANNED, Ledger
from flowsearch.study.moment import Moment
from flowsearch.study.outcome import Failure
from flowsearch.study.place import Place
from flowsearch.study.progress import replay
from flowsearch.study.records import keep, read_records
from flowsearch.study.tidying import Tidying
from flowsearch.study.trainable import Report, TrialActor
from flowsearch.training import notice
from flowsearch.training.config import TrialConfig
from flowsearch.training.errors import NonFiniteError
from flowsearch.training.header import BEST, LAST


def driver_of(study, root: Path) -> Driver:
    ledger = Ledger(root / "ledger")
    return Driver(root, replay(study, ledger), ledger, run_trial="study_fakes:run_trial", window=1)


def epochs(driver: Driver, number: int, count: int, worse: float = 0.0) -> list[dict]:
    config = TrialConfig.from_dict(driver.progress.trials[number].config)
    records = [train_record(config, epoch) for epoch in range(1, count + 1)]
    return [record | {"val_psnr": record["val_psnr"] - worse} for record in records]


def hand_in(driver: Driver, number: int, report: Report) -> bool:
    """As Ray Tune does: the scheduler sees a report before the callback."""
    stops = driver.judge(number, report)
    driver.take(number, report)
    if stops:
        driver.ended(number)
    return stops


def complete(driver: Driver, number: int) -> None:
    hand_in(driver, number, Report("started", host="here"))
    for record in epochs(driver, number, 4):
        hand_in(driver, number, Report("record", [record]))
    hand_in(
        driver, number, Report("record", [final_record(TrialConfig.from_dict(driver.progress.trials[number].config))])
    )
    driver.ended(number)


def test_a_replayed_epoch_that_the_driver_never_got_can_prune(study_of, tmp_path):
    study = study_of("search.trials=2")
    driver = driver_of(study, tmp_path)
    driver.plan()
    complete(driver, 0)
    driver.plan()
    hand_in(driver, 1, Report("started", host="here"))
    driver.stop("by a signal")
    driver.close()
    again = driver_of(study, tmp_path)
    assert again.plan()["number"] == 1
    assert hand_in(again, 1, Report("started", epochs(again, 1, 1, worse=20), "here"))
    again.close()
    trial = again.progress.trials[1]
    assert (trial.status, trial.attempt) == ("pruned", 2)
    assert set(pd.read_parquet(tmp_path / "trials")["status"]) == {"completed", "pruned"}


@pytest.mark.parametrize("status", ["completed", "diverged"])
def test_a_journal_that_is_written_again_has_the_epochs_of_all_that_ended(study_of, tmp_path, status):
    def noted(driver: Driver) -> list[tuple]:
        return [(one.state, one.intermediate_values, one.system_attrs) for one in driver.proposer.study.trials[:3]]

    study = study_of("search.trials=6", "scheduler={asha: {grace: 1, reduction: 2}}")
    driver = driver_of(study, tmp_path)
    for number in range(4):
        driver.plan()
        folder = tmp_path / "checkpoints" / f"{number:04d}"
        folder.mkdir(parents=True)
        for record in epochs(driver, number, 3, worse=-10.0 * number):  # better and better: none is stopped
            keep(folder, record)
        hand_in(driver, number, Report("started", read_records(folder), "here"))
        if status == "completed":
            config = TrialConfig.from_dict(driver.progress.trials[number].config)
            hand_in(driver, number, Report("record", [final_record(config)]))
        else:
            hand_in(driver, number, Report("raised", failure=Failure.of(NonFiniteError("non-finite loss"))))
        driver.ended(number)
    driver.plan()
    before = noted(driver)
    assert all(values for _, values, _ in before)
    driver.close()
    (tmp_path / "optuna.journal").unlink()
    assert noted(driver_of(study, tmp_path)) == before


def test_no_trial_is_pruned_at_its_last_epoch(study_of, tmp_path):
    driver = driver_of(study_of("search.trials=2", "fixed.epochs=1"), tmp_path)
    driver.plan()
    complete(driver, 0)
    driver.plan()
    hand_in(driver, 1, Report("started", host="here"))
    assert not hand_in(driver, 1, Report("record", epochs(driver, 1, 1, worse=20)))


@pytest.mark.parametrize("part", ["ledger", "writer", "listener"])
def test_what_cannot_be_written_never_ends_a_study(study_of, tmp_path, monkeypatch, part):
    def refuse(*args, **kwargs):
        raise OSError("no space left on device")

    driver = driver_of(study_of("search.trials=1"), tmp_path)
    driver.plan()
    if part == "ledger":
        monkeypatch.setattr(driver.ledger, "add", refuse)
    elif part == "writer":
        for name in ("trial", "epoch", "final"):
            monkeypatch.setattr(driver.recorder.writer, name, refuse)
    else:
        monkeypatch.setattr(driver.recorder, "_listener", refuse)
    complete(driver, 0)
    driver.close()
    assert driver.progress.complete
    assert driver.exhausted


FULL = OSError(errno.ENOSPC, "No space left on device")


READ_ONLY = OSError(errno.EROFS, "Read-only file system")


@pytest.mark.parametrize("error", [FULL, READ_ONLY], ids=["full", "read-only after an error"])
def test_a_trial_that_finds_no_disk_to_write_to_is_gone_on_with_by_a_resume(study_of, tmp_path, error):
    study = study_of("search.trials=2")
    driver = driver_of(study, tmp_path)
    driver.plan()
    hand_in(driver, 0, Report("started", host="here"))
    hand_in(driver, 0, Report("raised", failure=Failure.of(error)))
    driver.ended(0)
    assert driver.progress.trials[0].status == "interrupted"
    assert driver.no_room == f"trial 0000 could not be kept (OSError: {error})"
    assert driver.plan() is None
    assert not driver.exhausted
    driver.close()
    assert driver_of(study, tmp_path).plan()["number"] == 0


def test_a_trial_that_the_ledger_has_no_room_for_is_not_run(study_of, tmp_path, monkeypatch):
    study = study_of("search.trials=1")
    driver = driver_of(study, tmp_path)
    add = Ledger.add

    def refuse(ledger, event, subject, **content):
        if event == PLANNED:
            raise FULL
        return add(ledger, event, subject, **content)

    with monkeypatch.context() as full:
        full.setattr(Ledger, "add", refuse)
        assert driver.plan() is None
    assert driver.plan() is None, "Optuna has numbered it; only a new driver asks again"
    assert driver.no_room == "the next trial could not be planned ([Errno 28] No space left on device)"
    assert not driver.progress.trials
    assert not driver.exhausted
    driver.close()
    again = driver_of(study, tmp_path)
    assert again.plan()["number"] == 0
    complete(again, 0)
    assert again.exhausted


ASIDE = f".{LAST}.5f3a"
"""What a worker that was killed left of a checkpoint that it wrote."""


def test_what_a_driver_left_is_remembered_until_one_runs_for_long_enough(study_of, tmp_path):
    """Those that are killed within moments of their start remove nothing, however many there are."""
    study, began = study_of("search.trials=3", "scheduler=none"), datetime(2026, 1, 1, tzinfo=UTC)

    def at(driver: int, seconds: float) -> Moment:
        return Moment(began + timedelta(hours=driver, seconds=seconds), f"driver {driver}", seconds)

    def left() -> list[str]:
        ledger = Ledger(tmp_path / "ledger")
        return [trial.id for _, trial in Tidying(Place(tmp_path), replay(study, ledger), ledger)._spent]

    ledger = Ledger(tmp_path / "ledger")
    values = {"prox": "unet", "folds": 1}
    for number, seconds in enumerate((0, 40)):
        ledger.add(events.PLANNED, f"{number:04d}", at=at(1, seconds), number=number, values=values)
        ledger.add(events.ENDED, f"{number:04d}", at=at(1, seconds), attempt=1, status="completed", metrics={})
    assert left() == ["0001"]
    for driver in (2, 3):
        ledger.add(events.STARTED, events.STUDY, at=at(driver, 0))
        ledger.add(events.STARTED, "0002", at=at(driver, 20), attempt=1, values={"prox": "unet", "folds": 2})
        assert left() == ["0001"], "the driver was killed after 20 seconds"
    ledger.add(events.STOPPED, events.STUDY, at=at(3, 31))
    assert left() == []


def test_a_trial_that_is_done_keeps_its_best_weights_only(study_of, tmp_path):
    study = study_of("search.trials=3", "scheduler=none")
    driver = driver_of(study, tmp_path)
    folders = [tmp_path / "checkpoints" / f"{number:04d}" for number in range(3)]
    for folder in folders:
        folder.mkdir(parents=True)
        for name in (LAST, BEST):
            leave(folder / name, {})
        (folder / ASIDE).touch()
    for number in range(2):
        driver.plan()
        complete(driver, number)
    driver.plan()
    hand_in(driver, 2, Report("started", host="here"))
    driver.tick()
    assert all((folder / LAST).exists() for folder in folders), "its worker may be closing it"
    assert all((folder / ASIDE).exists() for folder in folders)
    since, trial = driver._tidying._spent[0]
    driver._tidying._spent[0] = (since - 31, trial)
    driver.tick()
    assert [(folder / LAST).exists() for folder in folders] == [False, True, True]
    again = driver_of(study, tmp_path)  # as where the first one was killed
    assert [trial.id for _, trial in again._tidying._spent] == ["0000", "0001"]
    again.stop("by a signal")
    again.close()
    assert [(folder / LAST).exists() for folder in folders] == [False, False, True]
    assert [(folder / ASIDE).exists() for folder in folders] == [False, False, True]
    assert all((folder / BEST).exists() for folder in folders)


def test_a_clock_that_was_set_back_leaves_no_state_of_trials_that_are_done(study_of, tmp_path, monkeypatch):
    driver = driver_of(study_of("search.trials=1", "scheduler=none"), tmp_path)
    driver.plan()
    complete(driver, 0)
    last = tmp_path / "checkpoints" / "0000" / LAST
    last.parent.mkdir(parents=True)
    leave(last, {})
    now = time.monotonic() + 31  # while the system's clock shows no more than at the trial's end
    monkeypatch.setattr(time, "monotonic", lambda: now)
    driver.tick()
    assert not last.exists()


@pytest.fixture
def actor(monkeypatch: pytest.MonkeyPatch) -> Iterator[TrialActor]:
    """A worker without Ray, for `setup`."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(trainable, "listen", lambda: None)
    heard = [logging.getLogger(name) for name in trainable._HEARD]
    before = [list(logger.handlers) for logger in heard]
    actor = TrialActor.__new__(TrialActor)
    yield actor
    actor.cleanup()
    for logger, handlers in zip(heard, before, strict=True):
        logger.handlers = handlers


def test_the_next_attempt_removes_what_a_killed_worker_left_unfinished(actor, tmp_path):
    for name in (LAST, ASIDE):
        (tmp_path / name).touch()
    actor.setup({"number": 0, "checkpoint_dir": str(tmp_path), "threads": 1, "anew": False})
    assert actor.step()["report"].kind == "started"
    assert (tmp_path / LAST).exists()
    assert not (tmp_path / ASIDE).exists()


@pytest.mark.parametrize("said", [None, "2048"], ids=["by itself", "as its user says"])
def test_a_worker_keeps_a_bounded_number_of_kernels(said, actor, tmp_path, monkeypatch):
    for name in trainable.KERNELS:
        monkeypatch.setenv(name, said or "")
        if said is None:
            monkeypatch.delenv(name)
    actor.setup({"number": 0, "checkpoint_dir": str(tmp_path), "threads": 1, "anew": False})
    kept = {name: os.environ[name] for name in trainable.KERNELS}
    assert kept == (trainable.KERNELS if said is None else dict.fromkeys(trainable.KERNELS, said))


def breaks(config: TrialConfig, **where: object) -> Iterator[dict]:
    """Warns, and breaks before its first epoch is done, or in its second."""
    if config.seed == 1:
        yield train_record(config, 1)
    logging.getLogger("flowsearch.training.checkpoint").warning("last is damaged\nand begins again")
    raise notice.LeavingError if config.seed == 2 else KeyError("no such thing")


@pytest.mark.parametrize("seed", [pytest.param(0, id="in the first epoch"), pytest.param(1, id="in the second")])
def test_what_a_trial_warned_of_in_the_epoch_in_which_it_broke_is_kept(actor, study_of, tmp_path, seed):
    study = study_of("search.trials=1", f"fixed.seed={seed}")
    driver = driver_of(study, tmp_path)
    actor.setup(driver.plan() | {"run_trial": f"{__name__}:breaks"})
    kind = ""
    while kind != "raised":
        report = actor.step()["report"]
        kind = report.kind
        hand_in(driver, 0, report)
    driver.ended(0)
    driver.close()
    assert pd.read_parquet(tmp_path / "trials")["warnings"].tolist() == ["last is damaged and begins again"]
    assert driver_of(study, tmp_path).progress.trials[0].warnings == "last is damaged and begins again"


def test_what_a_trial_warned_of_before_it_left_its_machine_is_kept_once(actor, study_of, tmp_path):
    driver = driver_of(study_of("search.trials=1", "fixed.seed=2"), tmp_path)
    for _ in range(2):
        actor.setup(driver.plan() | {"run_trial": f"{__name__}:breaks"})  # as in a process of its own
        for kind in ("started", "leaving"):
            report = actor.step()["report"]
            assert report.kind == kind
            hand_in(driver, 0, report)
        driver.ended(0, died=True)
    assert driver.progress.trials[0].warnings == "last is damaged and begins again"


def test_a_trial_whose_end_the_ledger_lacks_keeps_its_state(study_of, tmp_path, monkeypatch):
    driver = driver_of(study_of("search.trials=1"), tmp_path)
    driver.plan()
    folder = tmp_path / "checkpoints" / "0000"
    folder.mkdir(parents=True)
    leave(folder / LAST, {})
    with monkeypatch.context() as full:
        full.setattr(driver.ledger.store, "put", lambda *args, **kwargs: (_ for _ in ()).throw(FULL))
        complete(driver, 0)
    driver.close()
    assert (folder / LAST).exists()


@pytest.mark.parametrize("event", ["planned", "ended"])
def test_a_trial_that_is_done_is_not_run_again_where_an_event_of_it_is_damaged(study_of, tmp_path, event):
    study = study_of("search.trials=2", "scheduler=none")
    driver = driver_of(study, tmp_path)
    for number in range(2):
        driver.plan()
        complete(driver, number)
    driver.close()
    (path,) = (tmp_path / "ledger").glob(f"*-{event}-0000.json")
    path.write_text("{")
    before = driver.progress.trials[0]
    for _ in range(2):  # of which the second has what the first one noted
        again = driver_of(study, tmp_path)
        again.close()
        found = again.progress.trials[0]
        assert (again.plan(), found.status, found.attempt) == (None, "completed", 1)
        assert (found.config, found.metrics) == (before.config, before.metrics)
        assert found.seconds == pytest.approx(before.seconds, abs=0.5)


def test_what_is_tuned_is_not_judged_by_epochs(study_of, tmp_path):
    driver = driver_of(study_of("search.trials=1", "space={method: [tv]}"), tmp_path)
    driver.plan()
    hand_in(driver, 0, Report("started", host="here"))
    tuned = {"phase": "train", "epoch": 1, "so_far": {"used_tv_weight": 0.1}, "val_loss": 9.0, "val_psnr": 1.0}
    assert not hand_in(driver, 0, Report("record", [tuned]))
    trial = driver.progress.trials[0]
    assert (trial.metrics["val_psnr"], trial.metrics["used_tv_weight"], trial.share) == (1.0, 0.1, 1.0)
    assert "best_epoch" not in trial.metrics
    assert not driver.proposer.frozen(0).intermediate_values
    driver.close()
