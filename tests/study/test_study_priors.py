"""Priors are pre-trained once, whoever asks and when."""

import threading
from pathlib import Path

import pandas as pd
import pytest
from study_fakes import leave_prior

import flowsearch
from flowsearch.study import resume, run
from flowsearch.study.driver import Driver
from flowsearch.study.ledger import Ledger
from flowsearch.study.outcome import Failure
from flowsearch.study.progress import replay
from flowsearch.study.searcher import TuneSearcher
from flowsearch.study.trainable import Report
from flowsearch.training.prior_store import PriorStore

TWELVE = [
    "search.trials=12",
    "search.startup=12",
    "search.sampler=random",
    "scheduler=none",
    "space={levels: [2, 3, 4], lr: {float: [1e-4, 1e-3]}}",
    "fixed={prox: glow, depth: 2, hidden: 4, epochs: 1, pretrain: true}",
    "prior.epochs=2",
]


def driver_of(study, root: Path) -> Driver:
    ledger = Ledger(root / "ledger")
    return Driver(
        root,
        replay(study, ledger),
        ledger,
        run_trial="study_fakes:run_trial",
        run_prior="study_fakes:run_prior",
        fingerprint="images",
        window=20,
    )


def finish(driver: Driver, order: dict) -> None:
    """The order's worker leaves the prior and says so."""
    leave_prior(Path(order["checkpoint_dir"]))
    driver.take(order["number"], Report("started", host="here"))
    driver.ended(order["number"])


def test_trials_that_need_one_prior_wait_for_one_order(study_of, tmp_path):
    driver = driver_of(study_of(*TWELVE), tmp_path / "study")
    orders = [order for order in (driver.plan() for _ in range(20)) if order is not None]
    assert [order["run_trial"] for order in orders] == ["study_fakes:run_prior"] * 3
    assert len({order["number"] for order in orders}) == 3
    finish(driver, orders[0])
    levels = orders[0]["trial"]["levels"]
    handed = [order for order in (driver.plan() for _ in range(20)) if order is not None]
    assert handed
    assert {order["trial"]["levels"] for order in handed} == {levels}
    driver.close()


def test_a_study_keeps_the_pictures_of_its_priors_wherever_they_were_pretrained(study_of, tmp_path):
    first = driver_of(study_of(*TWELVE, "search.trials=1"), tmp_path / "a")
    order = first.plan()
    pictures = Path(order["checkpoint_dir"]) / "pictures"
    pictures.mkdir()
    for number in range(3):
        (pictures / f"{number:02d}.png").write_bytes(b"png %d" % number)
    finish(first, order)
    second = driver_of(study_of(*TWELVE, "search.trials=1"), tmp_path / "b")  # finds it in the store
    for driver in (first, second):
        trial = driver.plan()
        driver.take(trial["number"], Report("started", host="here"))
        driver.close()
        results = flowsearch.load(driver.place.where)
        panels = results.panels
        assert panels["trial_id"].tolist() == [order["number"]] * 3
        assert sorted(zip(panels["kind"], panels["image"], panels["png"], strict=True)) == [
            ("mode", 0, b"png 0"),
            ("sample", 1, b"png 1"),
            ("sample", 2, b"png 2"),
        ]
        assert results.trials["prior"].tolist() == [order["number"]]


def test_a_trial_without_a_prior_passes_those_that_wait(study_of, tmp_path):
    sets = ["space.prox=[glow, resnet]", "search.startup=8", "space.pretrain=[true]", "space.lr={float: [1e-4, 1e-3]}"]
    driver = driver_of(study_of(*sets, "scheduler=none"), tmp_path / "study")
    orders = [order for order in (driver.plan() for _ in range(20)) if order is not None]
    assert {order["trial"]["prox"] for order in orders if isinstance(order["number"], int)} == {"resnet"}
    waiting = [t.number for t in driver.progress.trials.values() if t.config["prox"] == "glow"]
    assert waiting
    assert min(waiting) < max(n for n in (order["number"] for order in orders) if isinstance(n, int))
    driver.close()


def test_priors_do_not_change_what_is_proposed(study_of, tmp_path):
    plans = []
    for name, needs in (("with", "true"), ("without", "false")):
        driver = driver_of(study_of(*TWELVE, f"fixed.pretrain={needs}"), tmp_path / name / "study")
        for _ in range(20):
            driver.plan()
        plans.append([trial.config["levels"] for trial in driver.progress.trials.values()])
        driver.close()
    assert plans[0] == plans[1]


def test_what_a_pre_training_warned_of_is_said_once(study_of, tmp_path, caplog):
    driver = driver_of(study_of(*TWELVE), tmp_path / "study")
    number = driver.plan()["number"]
    record = {"phase": "prior", "epoch": 1, "warnings": ["unfinished is damaged"]}
    driver.take(number, Report("started", host="here"))
    driver.take(number, Report("record", [record]))
    driver.take(number, Report("leaving", warnings=["it is slow"]))
    driver.ended(number, died=True)
    driver.take(number, Report("started", [record], "there"))
    driver.close()
    assert caplog.messages == [f"{number}: unfinished is damaged", f"{number}: it is slow"]


def test_a_failed_prior_fails_its_trials_alike(study_of, tmp_path):
    driver = driver_of(study_of(*TWELVE), tmp_path / "study")
    order = driver.plan()
    driver.take(order["number"], Report("started", host="here"))
    broken = Failure(("NonFiniteError", "ValueError"), "non-finite loss at epoch 1 of pre-training", "the trace")
    driver.take(order["number"], Report("raised", failure=broken))
    driver.ended(order["number"])
    for _ in range(20):
        driver.plan()
    alike = [t for t in driver.progress.trials.values() if t.config["levels"] == order["trial"]["levels"]]
    assert {trial.status for trial in alike} == {"diverged"}
    assert all(f"{order['number']}: non-finite loss" in trial.reason for trial in alike)
    others = [t for t in driver.progress.trials.values() if t not in alike]
    assert {trial.status for trial in others} == {"planned"}
    driver.close()


def test_another_process_that_has_the_prior_is_waited_for_and_taken_over_from(study_of, tmp_path, monkeypatch):
    monkeypatch.setattr("flowsearch.study.priors._AGAIN_SECONDS", 0.0)
    first = driver_of(study_of(*TWELVE, "search.trials=1"), tmp_path / "a")
    second = driver_of(study_of(*TWELVE, "search.trials=1"), tmp_path / "b")
    order = first.plan()
    assert second.plan() is None
    first.stop("killed")
    again = second.plan()
    assert again["number"] == order["number"]
    finish(second, again)
    assert second.plan()["number"] == 0
    (stored,) = second.priors.states.values()
    assert not first.priors.store.finished("nothing")
    assert PriorStore(tmp_path / "priors").finished(stored.key)
    first.close()
    second.close()


def test_an_interrupted_pretraining_goes_on_in_another_attempt(study_of, tmp_path):
    study = study_of(*TWELVE, "search.trials=1")
    first = driver_of(study, tmp_path / "study")
    order = first.plan()
    first.take(order["number"], Report("started", host="here"))
    first.take(order["number"], Report("record", [{"phase": "prior", "epoch": 1, "seconds": 1.0}]))
    first.stop("by a signal")
    first.close()
    events = [(event.event, event.content.get("status")) for event in first.ledger.events if event.subject != "0000"]
    assert events == [("started", None), ("ended", "interrupted")]
    again = driver_of(study, tmp_path / "study")
    assert again.plan()["number"] == order["number"]
    again.take(order["number"], Report("started", host="here"))
    (state,) = again.priors.states.values()
    assert (state.attempt, again.progress.trials[0].status) == (2, "planned")
    again.close()


def test_a_study_that_waits_can_be_stopped(study_of, tmp_path):
    class Stop(BaseException):
        pass

    def check() -> None:
        raise Stop

    driver = driver_of(study_of(*TWELVE), tmp_path / "study")
    with pytest.raises(Stop):
        TuneSearcher(driver, check).suggest("one")
    driver.close()


def fingerprint(config) -> str:
    return "images"


def begun(store: Path) -> list[int]:
    return sorted(len(path.read_text().splitlines()) for path in store.glob("*/begun"))


@pytest.mark.ray
@pytest.mark.slow
def test_twelve_trials_over_three_architectures_cost_three_pretrainings(local_cluster, study_of, tmp_path):
    said = []
    ending = run(
        study_of(*TWELVE),
        tmp_path,
        said.append,
        run_trial="study_fakes:trial_with_prior",
        run_prior="study_fakes:run_prior",
        images=fingerprint,
        cpus=2,
    )
    assert ending.progress.counts == {"completed": 12}
    assert begun(tmp_path / "priors") == [1, 1, 1]
    epochs = pd.read_parquet(ending.root / "epochs")
    priors = epochs[epochs["phase"] == "prior"]
    assert priors.groupby("trial_id")["epoch"].max().tolist() == [2, 2, 2]
    assert all(trial_id.startswith("prior-") for trial_id in priors["trial_id"])
    assert [event.note.split(" ")[1] for event in said if event.kind == "prior"].count("completed") == 3
    users = (tmp_path / "priors").glob("*/users.jsonl")
    assert sum(len(path.read_text().splitlines()) for path in users) == 12
    # Another study of the same images finds them all there.
    again = run(
        study_of(*TWELVE, "name=other"),
        tmp_path,
        run_trial="study_fakes:trial_with_prior",
        run_prior="study_fakes:run_prior",
        images=fingerprint,
        cpus=2,
    )
    assert again.progress.counts == {"completed": 12}
    assert begun(tmp_path / "priors") == [1, 1, 1]
    assert resume(again.root, run_trial="nowhere:nothing", images=fingerprint, cpus=2).progress.complete


def test_a_failed_prior_is_one_failure_however_many_trials_needed_it(study_of, tmp_path):
    driver = driver_of(study_of(*TWELVE, "space={lr: {float: [1e-4, 1e-3]}}", "fixed.levels=2"), tmp_path / "study")
    order = driver.plan()
    driver.take(order["number"], Report("raised", failure=Failure(("RuntimeError",), "broken", "")))
    driver.ended(order["number"])
    assert driver.plan() is None
    assert driver.progress.counts == {"failed": 12}
    assert driver.hopeless is None
    driver.close()


@pytest.mark.ray
def test_a_failed_prior_leaves_the_other_trials_alone(local_cluster, study_of, tmp_path):
    ending = run(
        study_of(*TWELVE),
        tmp_path,
        run_trial="study_fakes:trial_with_prior",
        run_prior="study_fakes:failing_prior",
        images=fingerprint,
        cpus=2,
    )
    trials = flowsearch.load(ending.root).trials
    assert set(trials.loc[trials["levels"] == 2, "status"]) == {"diverged"}
    assert set(trials.loc[trials["levels"] != 2, "status"]) == {"completed"}


def test_the_lock_is_one_process_s_at_a_time_and_its_death_frees_it(tmp_path):
    store = PriorStore(tmp_path)
    held = store.hold("key")
    assert held is not None
    assert store.hold("key") is None
    taken = threading.Event()

    def wait() -> None:
        with store.held("key"):
            taken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not taken.wait(0.1)
    held.close()
    assert taken.wait(5)
    thread.join()
