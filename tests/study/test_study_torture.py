"""A study whose driver, workers and raylet are killed again and again ends as one that nothing disturbed."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pyarrow.parquet as pq
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from small_study import TEXT
from study_fakes import HOLD
from test_study_death import start

from flowsearch.results import load as load_results
from flowsearch.results.objective import finite
from flowsearch.study import ledger as events
from flowsearch.study import load
from flowsearch.study.ledger import Ledger
from flowsearch.study.progress import FINAL, Progress, replay

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

TRIALS, KILLS, SEED = 120, 10, 5
BETWEEN = 6
"""Most trials that end between two kills, by the random moment's choice; many more must not, or none are left."""
ROOT = Path("results/small")
STATES = {"completed": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL", "diverged": "PRUNED"}


def study_folder(path: Path) -> Path:
    path.mkdir()
    (path / "small.yaml").write_text(TEXT.replace("trials: 8", f"trials: {TRIALS}"))
    return path


def waited(condition: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


def pids(process: subprocess.Popen[str], what: str) -> list[int]:
    """Processes of the driver's session whose program's name ends so, or begins so (as Ray's workers name theirs)."""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "-s", str(process.pid)], capture_output=True, text=True, check=False
    )
    found = [line.split()[:2] for line in listed.stdout.splitlines()]
    return [int(pid) for pid, program in found if program.startswith(what) or program.endswith(what)]


def ledger_of(folder: Path) -> list[events.Event]:
    return Ledger(folder / ROOT / "ledger").events


def ended(folder: Path) -> int:
    return sum(event.event == events.ENDED and event.subject != events.STUDY for event in ledger_of(folder))


def begun(folder: Path) -> int:
    """How many drivers have come so far that trials run."""
    return sum((event.event, event.subject) == (events.STARTED, events.STUDY) for event in ledger_of(folder))


@contextmanager
def held_up(folder: Path) -> Iterator[None]:
    """Trials that are not planned yet take their time meanwhile, so that some are left for the next kill."""
    hold = folder / ROOT / "checkpoints" / HOLD
    aside = hold.with_name("aside")
    aside.write_text(str(max(int(event.subject) for event in ledger_of(folder) if event.subject.isdigit())))
    aside.replace(hold)
    yield
    hold.unlink()


def killed_worker_is_over_it(folder: Path, known: int) -> bool:
    """Whether the trial of a worker killed after `known` events has ended: killed twice, it would have failed.

    Or there was none: the worker was killed between two trials.
    """
    later = ledger_of(folder)[known:]
    again = [event.subject for event in later if event.event == events.AGAIN]
    ended = [event.subject for event in later if event.event == events.ENDED]
    return set(again) <= set(ended) and (bool(again) or len(ended) > BETWEEN)


def torture(folder: Path, victims: list[str], moments: random.Random) -> None:
    """Run the study; kill a victim at a moment, and resume where that ended the driver, until all had their turn.

    A moment is so many trials later, and not so many seconds: a quick machine would be done before the last kill.
    """
    process = None
    for victim in victims:
        if process is None or process.poll() is not None:
            known = begun(folder)
            process = start(folder, "quick_trial", "run" if known == 0 else "resume",
                            "small.yaml" if known == 0 else str(ROOT), "--plain")  # fmt: skip
            assert waited(lambda known=known: begun(folder) > known, 60), process.communicate()
        until = ended(folder) + moments.randint(0, BETWEEN)
        assert waited(lambda until=until: ended(folder) >= until, 60), f"no {until} trials have ended"
        time.sleep(moments.uniform(0, 0.05))
        known = len(ledger_of(folder))
        what = {"driver": [process.pid], "worker": pids(process, "ray::Trial"), "raylet": pids(process, "/raylet")}
        for pid in what[victim][:1]:
            os.kill(pid, signal.SIGKILL)
        if victim == "worker" and what[victim]:
            with held_up(folder):
                waited(lambda known=known: killed_worker_is_over_it(folder, known), 40)
        if victim == "raylet":
            process.wait(timeout=60)  # else the driver does not notice that Ray is gone
        if victim == "driver":
            process.wait()
    if process.poll() is None:
        process.kill()
        process.wait()


def finished(folder: Path) -> Progress:
    known = begun(folder)
    arguments = ("run", "small.yaml") if known == 0 else ("resume", str(ROOT))
    process = start(folder, "quick_trial", *arguments, "--plain")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    return replay(load(folder / ROOT / "study.yaml"), Ledger(folder / ROOT / "ledger"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Progress:
    return finished(study_folder(tmp_path_factory.mktemp("torture") / "calm"))


@pytest.fixture(scope="module")
def survived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Progress]:
    folder = study_folder(tmp_path_factory.mktemp("torture") / "wild")
    moments = random.Random(SEED)
    victims = ["driver"] * 5 + ["worker"] * 3 + ["raylet"] * 2
    moments.shuffle(victims)
    torture(folder, victims[:KILLS], moments)
    return folder, finished(folder)


def test_every_trial_ended_once_and_none_ran_after_that(survived):
    folder, progress = survived
    assert len(progress.trials) == TRIALS
    for trial in progress.trials.values():
        own = [event for event in ledger_of(folder) if event.subject == trial.id]
        ends = [event.event == events.ENDED and event.content["status"] in FINAL for event in own]
        assert sum(ends) == 1, trial.id
        assert ends[-1], f"something happened to trial {trial.id} after its end"


def test_no_file_is_torn_and_no_row_is_lost(survived):
    folder, progress = survived
    root = folder / ROOT
    assert Ledger(root / "ledger").damaged == []
    for path in root.rglob("*.json"):
        json.loads(path.read_text())
    for path in root.rglob("*.parquet"):
        pq.read_table(path)
    results = load_results(root)
    assert len(results.trials) == results.trials["trial_id"].nunique() == TRIALS
    assert list(results.trials["status"]) == [trial.status for _, trial in sorted(progress.trials.items())]
    counts = results.epochs.groupby("trial_id")["epoch"].count().reindex(results.trials["trial_id"], fill_value=0)
    assert list(counts) == list(results.trials["epochs_run"].fillna(0))
    assert results.notes == []


def test_optuna_says_what_the_ledger_says(survived):
    folder, progress = survived
    storage = JournalStorage(JournalFileBackend(str(folder / ROOT / "optuna.journal")))
    study = optuna.load_study(study_name="small", storage=storage)
    told = {trial.number: (trial.state.name, trial.params) for trial in study.trials}
    assert told == {n: (STATES[trial.status], trial.values) for n, trial in progress.trials.items()}
    for trial in study.trials:
        if trial.state.name == "COMPLETE":
            assert trial.value == finite(progress.trials[trial.number].metrics, "val_psnr")


def test_it_is_the_same_study(survived, undisturbed):
    _, progress = survived
    for number, trial in undisturbed.trials.items():
        other = progress.trials[number]
        assert (other.config, other.status) == (trial.config, trial.status), number
    assert progress.best is not None
    assert undisturbed.best is not None
    assert (progress.best.number, progress.best.metrics) == (undisturbed.best.number, undisturbed.best.metrics)
