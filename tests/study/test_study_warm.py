"""`start_from`: what a new study takes from earlier ones."""

import shutil
from pathlib import Path

import pytest
from test_study_driver import complete, driver_of, epochs, hand_in

from flowsearch.study.driver import Driver
from flowsearch.study.ledger import Ledger
from flowsearch.study.modes import check_start
from flowsearch.study.outcome import Failure
from flowsearch.study.progress import replay
from flowsearch.study.sections import Study
from flowsearch.study.source import StudyFileError, dump
from flowsearch.study.trainable import Report
from flowsearch.study.warm import learned
from flowsearch.training.errors import NonFiniteError


@pytest.fixture
def earlier(study_of, tmp_path) -> Path:
    """Three trials that were completed, one that was pruned, one that diverged, one that was planned."""
    root, study = tmp_path / "earlier", study_of("search.trials=6")
    root.mkdir()
    (root / "study.yaml").write_text(dump(study.to_dict()))
    driver = driver_of(study, root)
    for number in range(3):
        driver.plan()
        complete(driver, number)
    driver.plan()
    hand_in(driver, 3, Report("started", host="here"))
    assert hand_in(driver, 3, Report("record", epochs(driver, 3, 1, worse=20)))
    driver.plan()
    hand_in(driver, 4, Report("started", host="here"))
    hand_in(driver, 4, Report("raised", failure=Failure.of(NonFiniteError("non-finite loss at epoch 1"))))
    driver.ended(4)
    driver.plan()
    driver.close()
    return root


def warm_driver(study: Study, root: Path) -> Driver:
    ledger = Ledger(root / "ledger")
    found = learned(study, ledger)
    return Driver(root, replay(study, ledger), ledger, run_trial="study_fakes:run_trial", window=1, earlier=found)


@pytest.mark.parametrize("scheme", ["", "file://"], ids=["path", "URI"])
def test_trials_are_taken_with_their_epochs(study_of, tmp_path, earlier, scheme):
    driver = warm_driver(study_of(f"start_from={scheme}{earlier}", "search.trials=2"), tmp_path)
    taken = driver.proposer.study.trials
    before = driver_of(study_of("search.trials=6"), earlier).progress.trials
    assert [trial.state.name for trial in taken] == ["COMPLETE"] * 3 + ["PRUNED"] * 2
    assert [trial.params for trial in taken] == [before[number].values for number in range(5)]
    assert [trial.value for trial in taken[:3]] == [before[number].metrics["val_psnr"] for number in range(3)]
    assert [len(trial.intermediate_values) for trial in taken] == [4, 4, 4, 1, 0]
    assert driver.progress.total == driver.remaining == 2
    assert driver.plan()["number"] == 0


def test_a_resume_needs_the_other_folder_no_more(study_of, tmp_path, earlier):
    study = study_of(f"start_from={earlier}", "search.trials=3", "search.startup=2")
    driver = warm_driver(study, tmp_path)
    taken, first = driver.proposer.study.trials, driver.plan()["trial"]
    driver.close()
    shutil.rmtree(earlier)
    (tmp_path / "optuna.journal").unlink()
    again = warm_driver(study, tmp_path)
    assert [trial.params for trial in again.proposer.study.trials[:5]] == [trial.params for trial in taken]
    assert again.plan()["trial"] == first
    assert len(list((tmp_path / "ledger").glob("*-learned-study.json"))) == 1


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (["space.folds={int: [90, 99]}"], "folds is 90 to 99"),
        (["fixed.task=inpaint-9"], "task is inpaint-9, not denoise-0.1"),
        (["space.hidden={int: [8, 9], when: {prox: glow}}"], "hidden is 8 to 9, not 512"),
    ],
    ids=["range", "task", "a value that was a default"],
)
def test_what_does_not_fit_is_said(study_of, tmp_path, earlier, caplog, sets, words):
    learned(study_of(f"start_from={earlier}", *sets), Ledger(tmp_path / "ledger"))
    assert words in caplog.text
    assert "of 5 ended trials" in caplog.text


def test_each_task_takes_its_own_trials(study_of, tmp_path, earlier):
    study = study_of(f"start_from={earlier}", "tasks=[denoise-0.1, inpaint-9]")
    assert [len(found) for found in learned(study, Ledger(tmp_path / "ledger"))] == [5, 0]


def test_a_folder_without_a_study_is_refused(study_of, tmp_path):
    for where in (f"{tmp_path}/nothing", f"file://{tmp_path}/nothing"):
        with pytest.raises(StudyFileError, match=r"--set start_from=.*holds no study"):
            check_start(study_of(f"start_from={where}"))
    with pytest.raises(StudyFileError, match=r"--set start_from=.*cannot be opened"):
        check_start(study_of("start_from=nowhere://x/y"))
