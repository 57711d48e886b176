"""What a budget counts, and what `resources` and `budget` refuse."""

from datetime import UTC, datetime, timedelta

import pytest

from flowsearch.study import StudyFileError, resume, run
from flowsearch.study.budget import Meter
from flowsearch.study.ledger import Event, Ledger
from flowsearch.study.moment import Moment
from flowsearch.study.sections import Budget

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(hours: float, process: str = "", ticks: float = 0.0) -> Moment:
    """So many hours after noon; by the own clock of a process, so many hours of it."""
    return Moment(NOON + timedelta(hours=hours), process, 3600 * ticks)


def ledger_of(tmp_path, *entries: tuple[float, str, str, dict]) -> Ledger:
    """A ledger of (hours after noon, event, subject, content)."""
    ledger = Ledger(tmp_path)
    for number, (hours, event, subject, content) in enumerate(entries):
        ledger.events.append(Event(number, event, subject, at(hours), content))
    return ledger


LIFE = (
    (0, "started", "study", {}),
    (0, "started", "prior-abc", {"gpu": 1.0}),
    (1, "ended", "prior-abc", {}),
    (1, "started", "0000", {"gpu": 0.5}),
    (1, "started", "0001", {"gpu": 0.25}),
    (3, "ended", "0000", {}),
    # the driver is killed; nothing was written after that
    (9, "started", "study", {}),
    (9, "started", "0001", {"gpu": 0.25}),
)


def test_gpu_hours_and_money_count_over_resumes_and_hours_do_not(tmp_path):
    now = at(10)
    meter = Meter(Budget(usd=100.0, usd_per_gpu_hour=2.0), ledger_of(tmp_path, *LIFE))
    assert meter.gpu_hours(now) == pytest.approx(1 + 2 * 0.5 + 2 * 0.25 + 1 * 0.25)
    assert meter.hours(now) == pytest.approx(1)
    assert meter.usd(now) == pytest.approx(2 * 2.75)
    by_hour = Meter(Budget(usd=100.0, usd_per_hour=3.0), ledger_of(tmp_path, *LIFE))
    assert by_hour.usd(now) == pytest.approx(3 * (3 + 1))


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({"hours": 0.9}, "0.9 hours"),
        ({"gpu_hours": 2.7}, "2.7 GPU-hours"),
        ({"usd": 5.4, "usd_per_gpu_hour": 2.0}, "5.4 USD"),
        ({"usd": 11.9, "usd_per_hour": 3.0}, "11.9 USD"),
        ({"hours": 1.1, "gpu_hours": 2.8, "usd": 5.6, "usd_per_gpu_hour": 2.0}, None),
    ],
    ids=["hours", "gpu-hours", "usd by gpu-hour", "usd by hour", "some of each left"],
)
def test_what_is_used_up_is_said(tmp_path, budget, words):
    over = Meter(Budget(**budget), ledger_of(tmp_path, *LIFE)).over(at(10))
    assert over == (None if words is None else f"the study's budget of {words} was used up")


def test_a_system_clock_that_is_set_forward_uses_nothing_up(tmp_path, monkeypatch):
    class SetForward(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=1)

    ledger, budget = Ledger(tmp_path), Budget(hours=1.0, gpu_hours=1.0, usd=1.0, usd_per_hour=1.0)
    meter = Meter(budget, ledger)
    ledger.add("started", "study")
    ledger.add("started", "0000", attempt=1, gpu=1.0)
    monkeypatch.setattr("flowsearch.study.moment.datetime", SetForward)
    assert meter.over() is None
    ledger.add("ended", "0000", status="completed")
    assert meter.over() is None
    assert Meter(budget, Ledger(tmp_path)).over() is None, "nor does it for whoever reads the ledger later"


@pytest.mark.parametrize("days", [-1, 1], ids=["back", "forward"])
@pytest.mark.parametrize("end", ["ended", "killed"])
def test_a_clock_that_is_set_changes_nothing_of_what_was_used_in_this_run_or_for_the_next(tmp_path, days, end):
    budget = Budget(gpu_hours=4.0, usd=8.0, usd_per_hour=2.0, hours=4.0)
    jump = 24 * days
    run = [(at(0, "first", 7), "started", "study"), (at(0, "first", 7), "started", "0000")]
    run += [(at(jump + 1, "first", 8), "started", "0001"), (at(jump + 2, "first", 9), "ended", "0001")]
    if end == "ended":
        run += [(at(jump + 2, "first", 9), "ended", "0000"), (at(jump + 2, "first", 9), "stopped", "study")]
    ledger = Ledger(tmp_path)
    meter = Meter(budget, ledger)
    for then, event, subject in run:
        ledger.add(event, subject, at=then, gpu=1.0, attempt=1, status="completed")
        assert meter.over(then) is None
    now = run[-1][0]
    assert meter.gpu_hours(now) == pytest.approx(3)
    elsewhere = Meter(budget, Ledger(tmp_path))  # as a dashboard on another machine, whose clock is right by now
    if end == "killed":
        assert elsewhere.hours(at(jump + 2.5, "dashboard", 100)) == pytest.approx(2.5)
    ledger.add("started", "study", at=at(2, "second", 1))
    later = Meter(budget, Ledger(tmp_path))
    assert later.gpu_hours(at(3, "second", 2)) == pytest.approx(3)
    assert later.usd(at(3, "second", 2)) == pytest.approx(2 * (2 + 1))


@pytest.mark.parametrize("old", [True, False], ids=["ledger of an earlier version", "ledger"])
def test_days_until_a_killed_study_is_changed_and_resumed_use_nothing_up(tmp_path, old):
    life = [(0, "started", "study"), (0, "started", "0000"), (1, "started", "0001"), (1, "planned", "0002")]
    life += [(98, "retried", "0003"), (99, "changed", "study"), (100, "started", "study")]
    ledger = Ledger(tmp_path)
    for number, (hours, event, subject) in enumerate(life):
        of = "" if old else "first" if hours < 2 else "second"
        ledger.events.append(Event(number, event, subject, at(hours, of, hours), {"gpu": 1.0}))
    assert Meter(Budget(gpu_hours=2.0), ledger).gpu_hours(at(100)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("budget.usd=100.0", r"budget.usd needs a price"),
        ("budget={usd: 9.0, usd_per_hour: 1.0, usd_per_gpu_hour: 1.0}", "one price"),
        ("resources.gpu=1.5", "resources.gpu is auto, a share of a GPU below 1, or a whole number of GPUs, not 1.5"),
        ("resources.gpu=some", "resources.gpu is auto.*not 'some'"),
        ("resources.gpu=true", "resources.gpu is auto"),
        ("name=priors", "name priors is taken"),
    ],
    ids=["usd without a price", "two prices", "one and a half gpus", "a word", "true", "the store's name"],
)
def test_what_cannot_be_is_refused(study_of, override, words):
    with pytest.raises(StudyFileError, match=words):
        study_of(override)


@pytest.mark.ray
def test_a_run_ends_when_its_money_is_used_up(local_cluster, study_of, tmp_path):
    budget = "budget={usd: 0.001, usd_per_hour: 3.0}"  # 1.2 s
    study = study_of("search.trials=3", budget, "fixed.epochs=60", "scheduler=none", "resources.concurrent=1")
    options = {"images": lambda config: "images", "cpus": 2}
    ending = run(study, tmp_path, run_trial="study_fakes:slow_trial", **options)
    assert (ending.stopped, ending.reason) == ("budget", "the study's budget of 0.001 USD was used up")
    started = sorted((ending.root / "ledger").glob("*-started-0*.json"))
    again = resume(ending.root, run_trial="study_fakes:slow_trial", **options)
    assert again.stopped == "budget"
    assert sorted((ending.root / "ledger").glob("*-started-0*.json")) == started, "nothing is launched"
    file = ending.root / "study.yaml"
    file.write_text(file.read_text().replace("usd: 0.001", "usd: 100.0"))
    assert resume(ending.root, run_trial="study_fakes:run_trial", **options).progress.complete
