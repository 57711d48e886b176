"""The planner: every sampler and mode, in any order of completion, with an interruption anywhere."""

import heapq
from dataclasses import replace
from math import log10
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import optuna
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from small_study import TEXT

from flowsearch.study import proposer
from flowsearch.study.ends import Earlier, End, together
from flowsearch.study.file import read
from flowsearch.study.judge import Judge
from flowsearch.study.layout import Layout
from flowsearch.study.planner import Planner
from flowsearch.study.sections import Study
from flowsearch.study.source import Source

WINDOW, SLOTS = 3, 3
SAMPLERS = ("tpe", "random", "gp", "cmaes", "nsga2")

TWO = "objective={val_psnr: maximize, parameters: minimize}"
CASES = {
    "tpe, tasks and repeats": ["tasks=[denoise-0.1, inpaint-9]", "repeats=2", "search.trials=5"],
    "nsga2, two objectives": ["search.sampler=nsga2", TWO, "search.trials=10"],
    "tpe, a constraint": ["constraints=[parameters <= 2500]", "search.trials=10"],
    "cmaes": ["search.sampler=cmaes", "search.trials=10"],
    "enqueue": ["search.sampler=random", "enqueue=[{prox: unet, folds: 3}]", "search.trials=6"],
    "earlier trials": ["search.trials=8", "start_from=elsewhere"],
    "grid": ["mode=grid", "search={}", "repeats=2", "space={prox: [glow, unet], folds: [1, 2], depth: [2, 3]}"],
    "ablate": ["mode=ablate", "search={}", "space={prox: [unet], folds: [1, 2]}", "baseline={prox: glow, folds: 3}"],
}
EARLIER = [Earlier({"prox": "unet", "folds": k, "weights": "tied", "lr": 1e-4}, End("completed", None, (20.0 + k,)))
           for k in (1, 2, 3)]  # fmt: skip


def study_of(*sets: str) -> Study:
    return read(Source("small.yaml", TEXT, ["scheduler=none", "search.startup=4", *sets]))


def end_of(study: Study, values: dict) -> End:
    """What a made-up trial of these values would reach."""
    config = study.config(values)
    assert config.lr is not None
    psnr = 25 + config.folds - 400 * abs(config.lr - 5e-4) + 0.1 * config.seed + (config.prox == "glow")
    found = {"val_psnr": psnr, "parameters": 1000.0 * config.folds}
    broken = {limit.text: limit.violation(found) for limit in study.limits}
    return End("completed", None, tuple(found[metric] for metric in study.objective), broken)


class Simulation:
    """A study on a fake clock: what was proposed, and what has ended."""

    def __init__(self, study: Study, journal: Path) -> None:
        self.study, self.journal, self.layout = study, journal, Layout.of(study)
        self.proposed: dict[int, dict] = {}
        self.ends: dict[int, End] = {}
        self.planner = self._planner()

    def _planner(self) -> Planner:
        earlier = [EARLIER] if self.study.start_from else []
        return Planner(self.study, self.layout, self.journal, WINDOW, earlier)

    def resume(self) -> None:
        """As a new driver does."""
        self.planner = self._planner()
        assert self.planner.restore(self.proposed, self.ends) == {}

    def run(self, delays: list[float], until: int) -> None:
        """Run until so many trials have ended; what runs then is lost."""
        clock, running = 0.0, []
        waiting = [number for number in self.proposed if number not in self.ends]
        while len(self.ends) < until:
            while len(running) < SLOTS:
                number = waiting.pop(0) if waiting else None
                if number is None:
                    proposal = self.planner.next()
                    if proposal is None:
                        break
                    number, self.proposed[number] = proposal[0], proposal[1]
                heapq.heappush(running, (clock + delays[number % len(delays)], number))
            clock, number = heapq.heappop(running)
            self.ends[number] = end_of(self.study, self.proposed[number])
            self.planner.end(number, self.ends[number])

    def told(self) -> list[tuple]:
        """Optuna's record, all of it."""
        self.planner.close()
        return [
            (name, one.number, one.params, one.state, one.values, one.constraints)
            for name in sorted(optuna.get_all_study_names(self.planner.study._storage))
            for one in optuna.load_study(study_name=name, storage=self.planner.study._storage).trials
        ]


@pytest.mark.parametrize("case", CASES)
@example(
    delays=[1.0] * 10, share=0.5, lose=True
)  # a lost journal, while the sampler knows of names that a trial has not
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(delays=st.lists(st.floats(0.1, 10), min_size=10, max_size=10), share=st.floats(0, 1), lose=st.booleans())
def test_any_order_and_any_interruption_give_the_same_study(case, delays, share, lose):
    study = study_of(*CASES[case])
    with TemporaryDirectory() as folder:
        calm = Simulation(study, Path(folder) / "calm")
        calm.run([1.0], calm.layout.total)
        wild = Simulation(study, Path(folder) / "wild")
        wild.run(delays, int(share * wild.layout.total))
        if lose:
            wild.journal.unlink()
        wild.resume()
        wild.run(delays[::-1], wild.layout.total)
        assert wild.proposed == calm.proposed
        assert wild.told() == calm.told()
        assert wild.planner.exhausted
        assert len(wild.proposed) == wild.layout.total


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_each_sampler_runs_on_a_conditional_space_and_comes_back_the_same(tmp_path, sampler):
    study = study_of(f"search.sampler={sampler}", "search.trials=9")
    first, second = (Simulation(study, tmp_path / name) for name in ("a", "b"))
    for simulation in (first, second):
        simulation.run([1.0], 9)
    assert first.proposed == second.proposed
    assert len({str(values) for values in first.proposed.values()}) == 9
    assert all(("depth" in values) == (values["prox"] == "glow") for values in first.proposed.values())


VALLEY = (
    "space={lr: {float: [1e-4, 1e-1], log: true}, scalar_lr: {float: [1e-4, 1e-1], log: true}, clip: {float: [0.1, 9]}}"
)
"""A space without conditions, on which every sampler is meant to do better than chance."""  # fmt: skip


def reached(sampler: str, seed: int, folder: Path) -> float:
    """Mean loss of the last third of a search down a made-up valley."""
    study = study_of(f"search.sampler={sampler}", "search.trials=45", "search.startup=8", f"search.seed={seed}", VALLEY)
    planner = Planner(study, Layout.of(study), folder / f"{sampler}-{seed}", 2)
    losses = []
    while (proposal := planner.next()) is not None:
        number, values = proposal
        bowl = (log10(values["lr"]) + 2) ** 2 + (log10(values["scalar_lr"]) + 3) ** 2 + ((values["clip"] - 3) / 4) ** 2
        planner.end(number, End("completed", None, -bowl))
        losses.append(bowl)
    return fmean(losses[30:])


@pytest.fixture(scope="module")
def chance(tmp_path_factory: pytest.TempPathFactory) -> float:
    """What random proposals reach."""
    return fmean(reached("random", seed, tmp_path_factory.mktemp("chance")) for seed in (0, 1))


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "random"])
def test_a_sampler_that_learns_beats_chance(tmp_path, chance, sampler):
    assert fmean(reached(sampler, seed, tmp_path) for seed in (0, 1)) < 0.75 * chance


def test_optuna_has_a_study_for_each_task(tmp_path):
    simulation = Simulation(study_of("tasks=[denoise-0.1, inpaint-9]", "search.trials=2"), tmp_path / "journal")
    simulation.run([1.0], 4)
    assert {one[0] for one in simulation.told()} == {"small/denoise-0.1", "small/inpaint-9"}
    assert [values["task"] for values in simulation.proposed.values()] == ["denoise-0.1", "inpaint-9"] * 2


def test_repeats_have_seeds_of_their_own_and_optuna_is_told_their_mean(tmp_path):
    study = study_of("repeats=3", "search.trials=2", "fixed.seed=5")
    simulation = Simulation(study, tmp_path / "journal")
    simulation.run([1.0], 6)
    assert [values["seed"] for values in simulation.proposed.values()] == [5, 6, 7] * 2
    means = [fmean(simulation.ends[number].value[0] for number in range(first, first + 3)) for first in (0, 3)]
    assert [one[4] for one in simulation.told()] == [pytest.approx([mean]) for mean in means]


@pytest.mark.parametrize(
    ("ends", "status", "value"),
    [
        ([End("completed", None, 3.0), End("failed", "x"), End("completed", None, 5.0)], "completed", (4.0,)),
        ([End("failed", "x"), End("diverged", "y")], "failed", None),
        ([End("completed", None, (None,)), End("completed", None, (2.0,))], "completed", (2.0,)),
        ([End("completed", None, None), End("failed", "x")], "completed", None),
    ],
    ids=["some", "none", "some without a value", "none with a value"],
)
def test_how_repeats_end_together(ends, status, value):
    end = together(ends)
    assert (end.status, end.values) == (status, value)


def test_what_is_enqueued_comes_first_and_what_is_open_is_drawn(tmp_path):
    study = study_of("enqueue=[{prox: glow, depth: 6}, {prox: unet, folds: 3, weights: tied, lr: 2e-4}]")
    simulation = Simulation(study, tmp_path / "journal")
    simulation.run([1.0], 2)
    first, second = simulation.proposed[0], simulation.proposed[1]
    assert (first["prox"], first["depth"]) == ("glow", 6)
    assert {"folds", "levels", "weights", "lr"} <= set(first)
    assert second == {"prox": "unet", "folds": 3, "weights": "tied", "lr": 2e-4}


def test_earlier_trials_are_learned_from_and_not_counted(tmp_path):
    simulation = Simulation(study_of("start_from=x", "search.trials=3", "search.startup=3"), tmp_path / "journal")
    simulation.run([1.0], 3)
    told = simulation.told()
    assert len(told) == len(EARLIER) + 3
    assert [one[2] for one in told[:3]] == [one.values for one in EARLIER]
    assert [one[2] for one in told[3:]] == [simulation.proposed[number] for number in range(3)]


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "cmaes"])
def test_several_objectives_learn_from_what_was_stopped_early_or_diverged(tmp_path, sampler):
    study = study_of(TWO, f"search.sampler={sampler}", "start_from=x", "search.trials=4", "search.startup=3")
    values = EARLIER[0].values
    stopped = [Earlier(values, End("pruned", "early", (20.0, 1e3)), {1: 19.0, 2: 20.0}) for _ in range(3)]
    planner = Planner(study, Layout.of(study), tmp_path / "journal", 1, [stopped])
    for number in range(4):
        assert planner.next() is not None
        planner.report(number, 1, 21.0)
        planner.end(number, End("diverged", "non-finite loss", (21.0, 1e3)))
    planner.close()
    assert [one.state.name for one in planner.study.trials] == ["PRUNED"] * 7


def test_the_median_is_that_of_earlier_trials_too(tmp_path):
    study = study_of("scheduler={median: {grace: 0, startup: 3}}", "start_from=x", "search.trials=2")
    earlier = [replace(one, steps={1: 20.0 + place}) for place, one in enumerate(EARLIER)]
    planner = Planner(study, Layout.of(study), tmp_path / "journal", WINDOW, [earlier])
    judge = Judge(planner, study.scheduler, 4)
    assert [planner.next()[0] for _ in range(2)] == [0, 1]
    assert [judge.stops(0, 1, 20.5), judge.stops(1, 1, 21.5)] == [True, False]


def test_tpe_keeps_away_from_where_training_diverges(tmp_path):
    """Its optimum is beside rates at which trials diverge; of Optuna's failed trials TPE knows nothing."""

    def share(status: str) -> float:
        found = []
        for seed in range(6):
            study = study_of("search.trials=34", f"search.seed={seed}", "space={lr: {float: [1e-6, 1e-1], log: true}}")
            planner = Planner(study, Layout.of(study), tmp_path / f"{status}-{seed}", 2)
            while (proposal := planner.next()) is not None:
                number, rate = proposal[0], log10(proposal[1]["lr"])
                over = rate > -3
                found += [over] if number >= 10 else []
                planner.end(number, End(status, "x") if over else End("completed", None, -((rate + 3.2) ** 2)))
        return fmean(found)

    assert share("diverged") < 0.8 * share("failed")


def test_a_genetic_sampler_breeds_from_earlier_trials(tmp_path):
    study = study_of("search.sampler=nsga2", "start_from=x", "search.trials=2", "search.startup=3")
    simulation = Simulation(study, tmp_path / "journal")
    simulation.run([1.0], 2)
    assert simulation.planner.frozen(0).system_attrs["NSGAIISampler:generation"] == 1


def test_a_genetic_sampler_breeds_from_what_it_was_given_to_begin_with(tmp_path):
    study = study_of("search.sampler=nsga2", "search.trials=10", "search.startup=4", "enqueue=[{prox: unet}]")
    simulation = Simulation(study, tmp_path / "journal")
    simulation.run([1.0], 10)
    generations = [simulation.planner.frozen(n).system_attrs["NSGAIISampler:generation"] for n in range(10)]
    late = 4 + WINDOW - 1  # the first that is proposed from the results of the first four
    assert generations[: late + 1] == [0] * late + [1]


@pytest.mark.parametrize("lost", [0, 1, 3, 4], ids=lambda number: f"trial {number}")
@pytest.mark.parametrize("journal", [True, False], ids=["with its journal", "without"])
def test_a_plan_that_the_ledger_lost_comes_back(tmp_path, lost, journal):
    study = study_of("tasks=[denoise-0.1, inpaint-9]", "search.trials=4")
    first = Simulation(study, tmp_path / "journal")
    first.run([1.0], 4)
    planned = dict(first.proposed)
    del planned[lost]
    ends = {number: end for number, end in first.ends.items() if number != lost}
    if not journal:
        first.journal.unlink()
    again = Planner(study, first.layout, first.journal, WINDOW)
    assert again.restore(planned, ends) == {lost: first.proposed[lost]}


@pytest.mark.parametrize("repeats", [1, 2], ids=["alone", "one of its repeats"])
def test_an_end_that_the_ledger_has_not_is_taken_back(tmp_path, repeats):
    study = study_of("tasks=[denoise-0.1, inpaint-9]", "search.trials=4", f"repeats={repeats}")
    first = Simulation(study, tmp_path / "journal")
    total = first.layout.total
    first.run([1.0], total)
    before = first.told()
    del first.ends[0]
    again = Simulation(study, tmp_path / "journal")
    again.proposed, again.ends = dict(first.proposed), dict(first.ends)
    assert again.planner.restore(again.proposed, again.ends) == {}
    assert again.planner.frozen(0).state == optuna.trial.TrialState.RUNNING
    again.run([1.0], total)
    assert again.told() == before
    assert (tmp_path / "journal.before-retry").exists()


def test_values_that_the_ledger_has_not_are_taken_back(tmp_path):
    """As where two drivers wrote to one object store, and the journal there is that of the other."""
    simulation = Simulation(study_of("search.trials=4"), tmp_path / "journal")
    simulation.run([1.0], 2)
    ours = simulation.proposed[1] | {"lr": 2e-4}
    again = Simulation(simulation.study, tmp_path / "journal")
    again.planner.restore({0: simulation.proposed[0], 1: ours}, simulation.ends)
    assert again.planner.frozen(1).params == ours


@pytest.mark.parametrize("name", ["tpe, with conditions", "gp"])
def test_a_journal_that_is_written_anew_does_not_search_anew(tmp_path, monkeypatch, name):
    """A choice takes the longer the more trials there are: of thousands all of them took hours."""
    asked, plain = [], name == "gp"
    kind = optuna.samplers.GPSampler if plain else optuna.samplers.TPESampler
    sets = ["search.sampler=gp", VALLEY] if plain else ["search.sampler=tpe"]
    simulation = Simulation(study_of("search.trials=14", *sets), tmp_path / "journal")
    simulation.run([1.0], 12)
    simulation.journal.unlink()
    choose = kind.sample_relative
    monkeypatch.setattr(proposer, "_RECENT", 0, raising=False)
    monkeypatch.setattr(kind, "sample_relative", lambda *args: asked.append(args[2].number) or choose(*args))
    simulation.resume()
    assert not asked if plain else min(asked, default=12) >= 12 - 2 * WINDOW
    assert [one.params for one in simulation.planner.study.trials] == list(simulation.proposed.values())


def test_violations_noted_in_other_units_are_noted_anew(tmp_path):
    """As code before noted them: 500 parameters too many, not a fifth of the bound."""
    simulation = Simulation(study_of("constraints=[parameters <= 2500]", "search.trials=4"), tmp_path / "journal")
    simulation.run([1.0], 4)
    shares = simulation.ends
    then = {
        number: replace(end, constraints={text: 2500 * share for text, share in end.constraints.items()})
        for number, end in shares.items()
    }
    before = Simulation(simulation.study, tmp_path / "before")
    before.planner.restore(simulation.proposed, then)
    again = Simulation(simulation.study, tmp_path / "before")
    again.planner.restore(simulation.proposed, shares)
    assert again.planner.frozen(0).state == optuna.trial.TrialState.COMPLETE
    assert again.planner.frozen(0).constraints == shares[0].constraints


def test_epochs_that_were_noted_beside_several_objectives_are_forgotten(tmp_path):
    """Code before noted them, and TPE fails on a trial that has them and then diverges."""
    study = study_of(TWO, "search.trials=4")
    first = Simulation(study, tmp_path / "journal")
    number, values = first.planner.next()
    optuna_study = first.planner.study
    optuna_study._storage.set_trial_intermediate_value(optuna_study.trials[0]._trial_id, 1, 20.0)
    again = Simulation(study, tmp_path / "journal")
    again.planner.restore({number: values}, {})
    assert again.planner.frozen(number).intermediate_values == {}


def test_optuna_knows_which_trials_break_a_constraint(tmp_path):
    simulation = Simulation(study_of("constraints=[parameters <= 2500]", "search.trials=8"), tmp_path / "journal")
    simulation.run([1.0], 8)
    broken = {one[1]: one[5]["parameters <= 2500"] for one in simulation.told()}
    assert {number: (values["folds"] * 1000 - 2500) / 2500 for number, values in simulation.proposed.items()} == broken
    best = simulation.planner.study.best_trial
    assert best.params["folds"] <= 2
