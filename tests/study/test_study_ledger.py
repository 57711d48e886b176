"""The ledger: order, torn files, and what a resume makes of it."""

from datetime import UTC, datetime, timedelta

import pytest

from flowsearch.study import ledger as events
from flowsearch.study.ledger import Ledger
from flowsearch.study.moment import Moment
from flowsearch.study.progress import replay


def test_events_come_back_in_order(tmp_path):
    ledger = Ledger(tmp_path)
    for number in range(12):
        ledger.add(events.PLANNED, f"{number:04d}", number=number, values={})
    again = Ledger(tmp_path)
    assert again.events == ledger.events
    assert sorted(path.name for path in tmp_path.iterdir())[0] == "00000001-planned-0000.json"


@pytest.mark.parametrize(
    "content", ["", "{", '{"event": "ended"}', "[]", "null"], ids=["empty", "torn", "part", "list", "null"]
)
def test_a_damaged_event_is_passed_over_and_never_written_again(tmp_path, content):
    ledger = Ledger(tmp_path)
    ledger.add(events.PLANNED, "0000", values={})
    ledger.add(events.STARTED, "0000", attempt=1)
    damaged = tmp_path / "00000002-started-0000.json"
    damaged.write_text(content)
    (tmp_path / ".00000009-ended-0000.json.77").write_text("{")
    again = Ledger(tmp_path)
    assert [event.event for event in again.events] == [events.PLANNED]
    assert again.damaged == [damaged.name]
    assert again.add(events.ENDED, "0000").number == 3
    assert damaged.read_text() == content


@pytest.mark.parametrize(
    ("event", "subject", "content"),
    [
        (events.PLANNED, "0000", {"values": {}}),
        (events.STARTED, "0000", {"attempt": 1}),
        (events.STARTED, "prior-abc", {"attempt": 1}),
        (events.AGAIN, "0000", {"cause": "lost"}),
        (events.ENDED, "0000", {"status": "completed"}),
        (events.RETRIED, "0000", {"anew": True}),
        (events.LEARNED, events.STUDY, {"tasks": []}),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_an_event_that_lacks_what_its_kind_says_is_damaged(tmp_path, event, subject, content):
    ledger = Ledger(tmp_path)
    ledger.add(event, subject, **content)
    ledger.add(event, subject)
    again = Ledger(tmp_path)
    assert again.events == ledger.events[:1]
    assert again.damaged == [f"00000002-{event}-{subject}.json"]


def test_a_study_s_own_events_need_not_say_what_those_of_trials_do(tmp_path):
    ledger = Ledger(tmp_path)
    for event in (events.STARTED, events.STOPPED, events.CHANGED):
        ledger.add(event, events.STUDY)
    assert (Ledger(tmp_path).events, Ledger(tmp_path).damaged) == (ledger.events, [])


def test_a_refused_write_leaves_nothing_behind(tmp_path):
    ledger = Ledger(tmp_path)
    with pytest.raises(TypeError):
        ledger.add(events.ENDED, "0000", what=object())
    assert list(tmp_path.iterdir()) == []


def test_replay_knows_finished_interrupted_and_killed_trials(study_of, tmp_path):
    study, ledger = study_of(), Ledger(tmp_path)
    values = {"prox": "unet", "folds": 2, "weights": "tied", "lr": 5e-4}
    for number in range(4):
        ledger.add(events.PLANNED, f"{number:04d}", values=values)
    for number in range(3):
        ledger.add(events.STARTED, f"{number:04d}", attempt=1, host="here")
    ledger.add(events.ENDED, "0000", status="completed", metrics={"val_psnr": 27.0})
    ledger.add(events.ENDED, "0001", status="interrupted", reason="by a signal")
    progress = replay(study, Ledger(tmp_path))
    assert [trial.status for trial in progress.trials.values()] == [
        "completed",
        "interrupted",
        "interrupted",
        "planned",
    ]
    assert progress.trials[2].reason == "its driver was killed"
    assert progress.best is progress.trials[0]
    assert (progress.done, progress.trials[1].attempt) == (1, 1)


@pytest.mark.parametrize(("anew", "seconds"), [(True, 3.0), (False, 13.0)], ids=["anew", "from its checkpoint"])
def test_the_time_of_a_retried_trial_is_what_its_result_took(study_of, tmp_path, anew, seconds):
    Ledger(tmp_path).add(events.PLANNED, "0000", values={"prox": "unet", "folds": 2, "weights": "tied", "lr": 5e-4})
    trial, begin = replay(study_of(), Ledger(tmp_path)).trials[0], datetime(2030, 1, 1, tzinfo=UTC)
    for event, content, second in (
        (events.STARTED, {"attempt": 1}, 0),
        (events.ENDED, {"status": "failed"}, 10),
        (events.RETRIED, {"anew": anew}, 60),
        (events.STARTED, {"attempt": 2}, 70),
        (events.ENDED, {"status": "completed"}, 73),
    ):
        trial.apply(event, content, Moment(begin + timedelta(seconds=second)))
    assert (trial.seconds, trial.attempt) == (seconds, 2)
