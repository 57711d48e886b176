"""From how a trial ended to its status and reason."""

from collections import Counter

import pytest

from flowsearch.study.outcome import Failure, Hopeless, Outcome, again, settle
from flowsearch.training.errors import DataError, NonFiniteError


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


RAISED = {
    "images": (DataError("no such folder"), "failed", "data error: no such folder"),
    "diverged": (NonFiniteError("non-finite loss at epoch 3"), "diverged", "non-finite loss at epoch 3"),
    "MemoryError": (MemoryError(), "failed", "out of memory"),
    "torch": (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "failed", "out of memory"),
    "allocator": (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "failed", "out of memory"),
    "KeyError": (KeyError("x"), "failed", "KeyError: 'x'"),
    "several lines": (RuntimeError("one\n  two"), "failed", "RuntimeError: one two"),
    "no message": (AssertionError(), "failed", "AssertionError"),
    "exit": (SystemExit(3), "failed", "SystemExit: 3"),
}


@pytest.mark.parametrize(("error", "status", "reason"), RAISED.values(), ids=RAISED)
def test_exceptions(error, status, reason):
    assert settle(Outcome("raised", Failure.of(error))) == (status, reason)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome("finished"), ("completed", None)),
        (Outcome("pruned"), ("pruned", "stopped early by the scheduler")),
        (Outcome("interrupted", why="by a signal"), ("interrupted", "by a signal")),
        (Outcome("died"), ("failed", "lost its worker process twice")),
        (Outcome("died", Failure.of_ray("pid: 12")), ("failed", "lost its worker process twice")),
        (Outcome("died", Failure.of(RuntimeError("killed: out of memory"))), ("failed", "out of memory")),
        (Outcome("lost"), ("failed", "lost its machine 11 times without an epoch in between")),
    ],
    ids=["finished", "pruned", "interrupted", "died", "died, Ray's words aside", "died for memory", "lost"],
)
def test_other_endings(outcome, expected):
    assert settle(outcome) == expected


def test_a_failure_keeps_the_traceback():
    with pytest.raises(ValueError, match="deep") as caught:
        raise ValueError("deep inside")
    assert "test_study_outcome.py" in Failure.of(caught.value).trace


DIED = "The actor died unexpectedly before finishing this task.\n\tclass_name: TrialActor\n\tpid: 14648\n"
"""How Ray 2.60 begins what it says of a worker's end; the rest is what it said in trials, where not told otherwise."""
CUT_OFF = (
    "The actor 1921dc7c is unavailable: The actor is temporarily unavailable: RpcError: RPC error: Socket closed "
    "rpc_code: 14. The task may or may not have been executed on the actor."
)
CRASHED = (
    "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker "
    "unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the process was "
    "killed by the OOM killer due to high memory usage, (2) ray stop --force was called"
)
WORKERS = {
    "crashed": (DIED + CRASHED, "died"),
    "machine gone": (DIED + "The actor died because its node has died. Node Id: 2d234f", "lost"),
    "machine gone, of which Ray does not know yet": (CUT_OFF, "lost"),
    "killed for memory, by Ray's source": (DIED + "Task was killed due to the node running low on memory.", "memory"),
    "nothing said": (None, "died"),
}


@pytest.mark.parametrize(("said", "cause"), WORKERS.values(), ids=WORKERS)
def test_why_a_worker_went_away(said, cause):
    assert Outcome.of_worker(None if said is None else Failure.of_ray(said)).cause == cause


def test_a_connection_that_broke_is_not_said_to_be_more():
    assert again(Outcome.of_worker(Failure.of_ray(CUT_OFF)), Counter(), 8).reason == "the connection to it broke"
    assert Outcome.of_worker(Failure.of_ray(CUT_OFF), here=True).cause == "died", "the driver's own machine is there"


@pytest.mark.parametrize(
    "said",
    [
        "The actor died because of an error raised in its creation task, ray::TrialActor.__init__() (pid=1)\n"
        '  File "mylab.py", line 1, in <module>\n',
        "Failed to set up runtime environment.\n",
    ],
    ids=["in its code", "before it"],
)
def test_a_worker_that_cannot_set_itself_up_is_a_mistake_in_the_code(said):
    said += "ModuleNotFoundError: mylab"
    outcome = Outcome.of_worker(Failure.of_ray(said))
    assert (outcome.how, outcome.cause) == ("raised", None)
    assert settle(outcome) == ("failed", "ModuleNotFoundError: mylab")


@pytest.mark.parametrize(("how", "times"), [("died", 1), ("lost", 10)], ids=["worker", "machine"])
def test_how_often_a_trial_is_taken_up_again(how, times):
    before: Counter[str] = Counter()
    while (one_more := again(Outcome(how), before, 8)) is not None:
        before[one_more.cause] += 1
        assert before.total() <= times
    assert before == {how: times}


@pytest.mark.parametrize(("batch", "micro_batch"), [(8, 4), (5, 2), (2, 1), (1, None), (None, None)], ids=str)
def test_out_of_memory_halves_the_batch_once(batch, micro_batch):
    outcome = Outcome("raised", Failure.of(MemoryError()))
    one_more = again(outcome, Counter(), batch)
    assert (one_more and one_more.micro_batch) == micro_batch
    assert again(outcome, Counter(memory=1), batch) is None


@pytest.mark.parametrize("how", ["finished", "pruned", "interrupted"])
def test_what_ended_well_is_not_taken_up_again(how):
    assert again(Outcome(how), Counter(), 8) is None


def noted(hopeless: Hopeless, *ends: tuple[str, str | None, bool]) -> list[bool]:
    return [hopeless.noted(*end) is not None for end in ends]


BROKEN = ("failed", "KeyError: 'x'", False)


@pytest.mark.parametrize(
    ("between", "stops"),
    [
        (BROKEN, True),
        (("interrupted", "by a signal", False), False),
        (("completed", None, True), False),
        (("failed", "KeyError: 'x'", True), False),
        (("failed", "ValueError: other", False), False),
        (("diverged", "non-finite loss at epoch 1", False), False),
        (("failed", "out of memory", False), False),
    ],
    ids=["the same", "interrupted", "completed", "after an epoch", "another error", "diverged", "memory"],
)
def test_three_broken_trials_in_a_row_are_hopeless(between, stops):
    assert noted(Hopeless(3), BROKEN, between, BROKEN) == [False, False, stops]


def test_numbers_in_an_error_do_not_make_it_another():
    ends = [("failed", f"ValueError: got {number}", False) for number in range(3)]
    assert noted(Hopeless(3), *ends)[-1]
    assert not any(noted(Hopeless(None), *ends))
