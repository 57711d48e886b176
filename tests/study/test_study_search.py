"""Proposals and pruning do not depend on which trial happens to end first, or on interruptions."""

import heapq
import math
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_study import TEXT
from study_fakes import quality, train_record

from flowsearch.study.ends import End
from flowsearch.study.file import read
from flowsearch.study.journal import open_journal
from flowsearch.study.judge import Judge, brackets_of
from flowsearch.study.proposer import Proposer
from flowsearch.study.sections import Study
from flowsearch.study.source import Source

TRIALS, WINDOW, SLOTS, EPOCHS = 14, 4, 3, 4


def small(*sets: str) -> Study:
    return read(Source("small.yaml", TEXT, [f"search.trials={TRIALS}", "search.startup=4", *sets]))


def proposer_of(study: Study, journal: Path, window: int = WINDOW) -> Proposer:
    return Proposer(study, open_journal(journal), window)


def simulate(
    study: Study, journal: Path, delays: list[float], window: int = WINDOW
) -> tuple[list[dict], list[str], Proposer]:
    """Run the study on a fake clock (trial i takes `delays[i]` an epoch): what was proposed, and how each ended."""
    proposer = proposer_of(study, journal, window)
    judge = Judge(proposer, study.scheduler, EPOCHS)
    clock, running, proposed, statuses = 0.0, [], {}, {}
    while True:
        while len(running) < SLOTS and (proposal := proposer.next()) is not None:
            number, values = proposal
            proposed[number] = values
            heapq.heappush(running, (clock + delays[number], number, 1))
        if not running:
            break
        clock, number, epoch = heapq.heappop(running)
        config = study.config(proposed[number])
        pruned = judge.stops(number, epoch, train_record(config, epoch)["val_psnr"])
        if pruned or epoch == EPOCHS:
            statuses[number] = "pruned" if pruned and epoch < EPOCHS else "completed"
            proposer.end(number, End(statuses[number], None, quality(config)))
        else:
            heapq.heappush(running, (clock + delays[number], number, epoch + 1))
    proposer.close()
    return [proposed[n] for n in range(len(proposed))], [statuses[n] for n in range(len(statuses))], proposer


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.floats(0.1, 10), min_size=TRIALS, max_size=TRIALS))
def test_any_order_of_completion_gives_the_same_study(delays):
    with TemporaryDirectory() as folder:
        calm = simulate(small(), Path(folder) / "calm", [1.0] * TRIALS)
        wild = simulate(small(), Path(folder) / "wild", delays)
    assert wild[:2] == calm[:2]
    assert len(calm[0]) == TRIALS


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_seeds_decide_the_proposals(tmp_path, sampler):
    def proposed(name: str, seed: int) -> list[dict]:
        study = small(f"search.seed={seed}", f"search.sampler={sampler}", "scheduler=none")
        return simulate(study, tmp_path / name, [1.0] * TRIALS)[0]

    assert proposed("a", 0) == proposed("b", 0)
    assert proposed("c", 1) != proposed("d", 0)


def test_a_proposal_waits_for_its_window(tmp_path):
    proposer = proposer_of(small(), tmp_path / "journal")
    assert [proposer.next()[0] for _ in range(WINDOW)] == list(range(WINDOW))
    proposer.end(1, End("completed", None, 30.0))
    assert proposer.next() is None
    proposer.end(0, End("completed", None, 29.0))
    assert proposer.next()[0] == WINDOW
    told = [trial.number for trial in proposer.study.trials if trial.state.is_finished()]
    assert told == [0], "trial 1 is held back until its turn"


def test_without_reproducible_everything_is_told_at_once(tmp_path):
    proposer = proposer_of(small("search.reproducible=false"), tmp_path / "journal")
    for _ in range(WINDOW + 2):
        assert proposer.next() is not None
    proposer.end(3, End("completed", None, 30.0))
    assert proposer.frozen(3).state == optuna.trial.TrialState.COMPLETE


ENDS = {
    "completed": (End("completed", None, 28.0), "COMPLETE", 28.0),
    "without a value": (End("completed", None, None), "FAIL", None),
    "not finite": (End("completed", None, math.nan), "FAIL", None),
    "pruned": (End("pruned", "early", 25.0), "PRUNED", 24.5),
    "failed": (End("failed", "KeyError"), "FAIL", None),
    "diverged": (End("diverged", "non-finite loss"), "PRUNED", 24.5),
    "out of memory": (End("failed", "out of memory"), "PRUNED", 24.5),
}


@pytest.mark.parametrize(("end", "state", "value"), ENDS.values(), ids=ENDS)
def test_what_optuna_is_told(tmp_path, end, state, value):
    proposer = proposer_of(small("search.trials=1"), tmp_path / "journal")
    proposer.next()
    assert proposer.report(0, 1, 24.0)
    assert proposer.report(0, 2, 24.5)
    assert not proposer.report(0, 2, 99.0)
    assert not proposer.report(0, 3, math.nan)
    proposer.end(0, end)
    proposer.close()
    trial = proposer.frozen(0)
    assert (trial.state.name, trial.value) == (state, value)
    assert trial.intermediate_values == {1: 24.0, 2: 24.5}
    assert trial.user_attrs["status"] == end.status


def test_the_study_in_optuna_has_its_name_and_direction(tmp_path):
    study = small("objective={val_loss: minimize}")
    proposer = proposer_of(study, tmp_path / "journal")
    assert proposer.study.study_name == "small"
    assert proposer.study.direction == optuna.study.StudyDirection.MINIMIZE


def interrupted(journal: Path, count: int) -> tuple[dict[int, dict], dict[int, End]]:
    """A study that stopped after `count` proposals, with all trials but the last two ended; what its ledger knows."""
    study = small("scheduler=none")
    proposer = proposer_of(study, journal)
    planned, ends = {}, {}
    for _ in range(count):
        number, values = proposer.next()
        planned[number] = values
        if number >= 2:
            ends[number - 2] = End("completed", None, quality(study.config(planned[number - 2])))
            proposer.end(number - 2, ends[number - 2])
    return planned, ends


@pytest.mark.parametrize("damage", ["none", "torn", "lost", "orphan", "garbage", "null"])
def test_a_resumed_search_goes_on_as_if_nothing_had_happened(tmp_path, damage):
    study, journal = small("scheduler=none"), tmp_path / "journal"
    undisturbed = simulate(study, tmp_path / "calm", [1.0] * TRIALS)[0]
    planned, ends = interrupted(journal, 9)
    if damage == "torn":
        journal.write_text(journal.read_text()[:-20])
    elif damage == "lost":
        journal.unlink()
    elif damage == "garbage":
        journal.write_text("not a journal\n")
    elif damage == "null":
        journal.write_text(f"{journal.read_text()}null\n")
    elif damage == "orphan":
        del planned[8]
    proposer = proposer_of(study, journal)
    proposer.restore(planned, ends)
    for number, values in planned.items():
        proposer.end(number, End("completed", None, quality(study.config(values))))
    while (proposal := proposer.next()) is not None:
        planned[proposal[0]] = proposal[1]
        proposer.end(proposal[0], End("completed", None, quality(study.config(proposal[1]))))
    proposer.close()
    assert [planned[n] for n in range(TRIALS)] == undisturbed
    assert {trial.state.name for trial in proposer.study.trials} == {"COMPLETE"}
    assert [trial.params for trial in proposer.study.trials] == undisturbed


def test_a_plan_that_the_ledger_lost_comes_back_from_the_journal(tmp_path):
    planned, ends = interrupted(tmp_path / "journal", 9)
    whole = dict(planned)
    del planned[7]
    assert proposer_of(small("scheduler=none"), tmp_path / "journal").restore(planned, ends) == {7: whole[7]}


def test_the_scheduler_sees_the_window_only(tmp_path):
    proposer = proposer_of(small("search.trials=8"), tmp_path / "journal", 2)
    judge = Judge(proposer, small().scheduler, EPOCHS)
    for number, value in enumerate([30.0, 29.0, 10.0]):
        proposer.next()
        assert judge.stops(number, 1, value) is (number == 2), "trial 1 may not see trial 0, trial 2 may"
        proposer.end(number, End("completed", None, value))


def test_the_scheduler_waits_for_the_grace(tmp_path):
    study = small("scheduler={asha: {grace: 3, reduction: 2}}", "search.reproducible=false")
    proposer = proposer_of(study, tmp_path / "journal", 1)
    judge = Judge(proposer, study.scheduler, EPOCHS)
    for number, value in ((0, 30.0), (1, 10.0)):
        proposer.next()
        stopped = [judge.stops(number, epoch, value) for epoch in (1, 2, 3)]
        assert stopped == [False, False, number == 1]


SCHEDULERS = {
    "asha": "scheduler={asha: {grace: 1, reduction: 2}}",
    "hyperband": "scheduler={hyperband: {grace: 1, reduction: 2}}",
    "median": "scheduler={median: {grace: 0, startup: 2}}",
}


@pytest.mark.parametrize("scheduler", SCHEDULERS.values(), ids=SCHEDULERS)
def test_every_scheduler_prunes_and_is_reproducible(tmp_path, scheduler):
    calm = simulate(small(scheduler), tmp_path / "calm", [1.0] * TRIALS)
    wild = simulate(small(scheduler), tmp_path / "wild", [1.0 + (7 * n) % 5 for n in range(TRIALS)])
    assert calm[:2] == wild[:2]
    assert {"pruned", "completed"} == set(calm[1])
    for trial, status in zip(calm[2].study.trials, calm[1], strict=True):
        assert trial.state.name == {"pruned": "PRUNED", "completed": "COMPLETE"}[status]
        assert trial.intermediate_values, "what the pruned trial reached is told as well"


@pytest.mark.parametrize("scheduler", SCHEDULERS.values(), ids=SCHEDULERS)
def test_an_epoch_that_is_judged_again_is_judged_the_same(tmp_path, scheduler):
    study = small(scheduler)
    proposer = proposer_of(study, tmp_path / "journal", 1)
    judge = Judge(proposer, study.scheduler, EPOCHS)
    for number in range(6):
        proposer.next()
        values = [(30.0 - number) + epoch for epoch in range(1, EPOCHS + 1)]
        first = [judge.stops(number, epoch, value) for epoch, value in enumerate(values, start=1)]
        again = [judge.stops(number, epoch, value) for epoch, value in enumerate(values, start=1)]
        assert again == first
        proposer.end(number, End("completed", None, values[-1]))
    assert any(first)


def test_a_trial_that_is_judged_again_counts_once(tmp_path):
    study = small("scheduler={asha: {grace: 1, reduction: 3}}")
    proposer = proposer_of(study, tmp_path / "journal", 1)
    judge = Judge(proposer, study.scheduler, EPOCHS)
    for number, value in enumerate([30.0, 28.0, 27.0, 26.0]):
        proposer.next()
        judge.stops(number, 1, value)
        proposer.end(number, End("completed", None, value))
    proposer.next()
    assert [judge.stops(4, 1, 29.0) for _ in range(3)] == [True] * 3, "the second of five is not in the best third"


def test_earlier_trials_count_in_the_rungs_after_a_resume(tmp_path):
    study = small("scheduler={asha: {grace: 1, reduction: 2}}", "search.trials=8")
    planned, ends = {}, {}
    for number, value in enumerate([30.0, 29.0, 10.0, 31.0]):
        proposer = proposer_of(study, tmp_path / "journal", 1)
        proposer.restore(planned, ends)
        judge = Judge(proposer, study.scheduler, EPOCHS)
        planned[number] = proposer.next()[1]
        assert judge.stops(number, 1, value) is (number in (1, 2)), "the best half of those before goes on"
        ends[number] = End("completed", None, value)
        proposer.end(number, ends[number])


@pytest.mark.parametrize(("epochs", "turns"), [(1, {0: 1}), (9, {0: 9, 1: 5, 2: 3}), (8, {0: 3, 1: 2})], ids=str)
def test_hyperband_shares_trials_out_as_its_paper_does(epochs, turns):
    found = brackets_of(epochs, 1, 3)
    assert {bracket: found.count(bracket) for bracket in set(found)} == turns
    assert found[0] == 0


SMALL = "space={prox: [glow, unet], weights: [tied, untied], depth: {int: [2, 4], when: {prox: glow}}}"


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "nsga2", "cmaes"])
def test_no_configuration_is_proposed_twice_while_there_are_others(tmp_path, sampler):
    study = small(SMALL, "search.trials=8", f"search.sampler={sampler}", "scheduler=none")
    proposed = simulate(study, tmp_path / "journal", [1.0] * 8)[0]
    assert len({str(values) for values in proposed}) == 8


def test_what_was_given_twice_is_tried_twice(tmp_path):
    twice = "enqueue=[{prox: unet, weights: tied}, {prox: unet, weights: tied}]"
    proposed = simulate(small(SMALL, "search.trials=3", twice, "scheduler=none"), tmp_path / "journal", [1.0] * 3)[0]
    assert proposed[0] == proposed[1] != proposed[2]


def test_a_space_of_which_nothing_is_left_repeats_itself(tmp_path):
    study = small("space={prox: [glow, unet]}", "search.trials=3", "scheduler=none")
    assert len(simulate(study, tmp_path / "journal", [1.0] * 3)[0]) == 3
