"""Studies through a local Ray, with instant trials."""

import gc
import json
import shutil

import optuna
import pandas as pd
import pytest
import typer
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from ray.tune.experiment import Trial
from small_study import TEXT

import flowsearch
from flowsearch.analysis.trials_table import failures_table
from flowsearch.cli.closing import warning_lines
from flowsearch.cli.study import _go
from flowsearch.study import load, resume, retry, run, runner
from flowsearch.study.file import read
from flowsearch.study.ledger import Ledger
from flowsearch.study.listing import opened
from flowsearch.study.progress import replay
from flowsearch.study.provenance import processor
from flowsearch.study.source import Source

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_cluster")]

FAKE = "study_fakes:run_trial"
ONE = "resources.concurrent=1"
"""One worker where two would show no more: to start one costs more than its trials do."""


def fingerprint(config) -> str:
    return f"{config.source}-{config.size}"


def go(study, tmp_path, listener=None, run_trial=FAKE):
    return run(study, tmp_path / "results", listener, run_trial=run_trial, images=fingerprint, cpus=2)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, local_cluster):
    seen = []
    study = read(Source("small.yaml", TEXT, ["search.trials=12", "search.window=4", "search.startup=6"]))
    ending = go(study, tmp_path_factory.mktemp("finished"), seen.append)
    return ending, seen


@pytest.fixture(scope="module")
def again(finished, tmp_path_factory):
    """The same study again, and how many trials Ray Tune held when the tenth was planned."""

    def there():
        gc.collect()
        return {one.trial_id for one in gc.get_objects() if isinstance(one, Trial)}

    earlier, alive = there(), []

    def listen(event):
        if event.kind == "planned" and len(event.progress.trials) == 10:
            alive.append(len(there() - earlier))

    return go(finished[0].progress.study, tmp_path_factory.mktemp("again"), listen), alive


@pytest.fixture(scope="module")
def completed(tmp_path_factory, local_cluster):
    """A study of three trials, run with a view that fails at every event."""

    def listen(event):
        raise RuntimeError("broken view")

    study = read(Source("small.yaml", TEXT, ["search.trials=3", "scheduler=none", ONE]))
    return go(study, tmp_path_factory.mktemp("completed"), listen)


@pytest.fixture
def copied(completed, tmp_path):
    """A copy of its folder, where `go` would leave such a study."""
    return shutil.copytree(completed.root, tmp_path / "results" / "small")


def test_a_study_leaves_its_tables(finished):
    ending, _ = finished
    trials = pd.read_parquet(ending.root / "trials").sort_values("trial_id")
    assert list(trials["trial_id"]) == [f"{n:04d}" for n in range(12)]
    assert set(trials["status"]) == {"completed", "pruned"}
    assert trials["parameters"].notna().all()
    completed = trials[trials["status"] == "completed"]
    assert completed[["val_psnr", "test_psnr", "ood_psnr", "parameters", "seconds"]].notna().all(axis=None)
    assert trials.loc[trials["status"] == "pruned", "reason"].notna().all()
    assert {"glow", "resnet", "unet"} == set(trials["prox"])
    results = flowsearch.load(ending.root)
    epochs = results.epochs.groupby("trial_id")["epoch"].max()
    assert (epochs == trials.set_index("trial_id")["epochs_run"]).all()
    assert len(results.images) == len(completed)


def test_the_same_study_again_is_the_same(finished, again):
    trials = again[0].progress.trials
    for number, trial in finished[0].progress.trials.items():
        other = trials[number]
        assert (other.config, other.status) == (trial.config, trial.status)


def test_ray_tune_lets_go_of_trials_that_are_over(again):
    _, alive = again
    assert len(alive) == 1
    assert alive[0] <= 4  # two that run, one that is being planned, one whose worker the next one takes over


def test_a_listener_that_fails_ends_nothing(completed):
    assert completed.progress.complete
    assert completed.progress.counts == {"completed": 3}


def test_the_listener_hears_of_everything(finished):
    _, seen = finished
    kinds = [event.kind for event in seen]
    assert kinds[0] == "begun"
    for kind in ("planned", "started", "ended"):
        assert kinds.count(kind) == 12
    assert seen[-1].progress.complete
    assert seen[-1].progress.best is not None


def test_what_is_kept_beside_the_tables(finished):
    ending, _ = finished
    provenance = json.loads((ending.root / "provenance.json").read_text())
    assert provenance["data_fingerprint"] == "faces-32"
    assert provenance["versions"]["ray"]
    names = [path.name for path in sorted((ending.root / "ledger").glob("*.json"))]
    assert names[0] == "00000001-started-study.json"
    assert names[-1].endswith("-stopped-study.json")
    assert sum("-ended-" in name for name in names) == 12


def test_a_taken_folder_is_refused_and_left_alone(finished, study_of):
    ending, _ = finished
    before = {path: path.stat().st_mtime_ns for path in ending.root.rglob("*")}
    with pytest.raises(ValueError, match=r"another study of that name.*search.seed: 0, now 5.*study resume"):
        run(study_of("search.seed=5"), ending.root.parent, run_trial=FAKE, images=fingerprint, cpus=2)
    assert {path: path.stat().st_mtime_ns for path in ending.root.rglob("*")} == before


def test_a_finished_study_resumes_to_nothing(finished):
    ending, _ = finished
    again = resume(ending.root, run_trial="nowhere:nothing", images=fingerprint, cpus=2)
    assert again.progress.counts == ending.progress.counts


def test_other_images_are_refused_on_resume(finished):
    ending, _ = finished
    with pytest.raises(ValueError, match="not those that"):
        resume(ending.root, images=lambda config: "other", cpus=2)


def test_other_images_are_refused_where_the_provenance_is_lost(finished, tmp_path):
    ending, _ = finished
    root = shutil.copytree(ending.root, tmp_path / ending.root.name)
    (root / "provenance.json").unlink()
    with pytest.raises(ValueError, match=r"not those that.*fingerprint other, then faces-32"):
        resume(root, images=lambda config: "other", cpus=2)


def test_each_kind_of_trouble_keeps_its_row_and_reason(study_of, tmp_path):
    study = study_of(
        "space={seed: {int: [0, 7]}}",
        "fixed={prox: unet, epochs: 4}",
        "search.trials=8",
        "search.startup=8",
        "scheduler=none",
    )
    ending = go(study, tmp_path, run_trial="study_fakes:troubled_trial")
    trials = pd.read_parquet(ending.root / "trials").set_index("seed").sort_index()
    assert len(trials) == 8
    told = {seed: (row["status"], row["reason"] or None) for seed, row in trials.fillna({"reason": ""}).iterrows()}
    assert told[0] == ("completed", None)
    assert told[1] == ("diverged", "non-finite loss at epoch 2")
    assert told[2] == ("failed", "out of memory")
    assert told[3] == ("failed", "KeyError: 'no such thing'")
    assert told[4] == ("failed", "SystemExit: 3")
    assert told[5] == ("completed", None)
    assert told[7] == ("failed", "data error: data.root has no images")
    assert told[6][0] == "failed"
    assert told[6][1].startswith("lost its worker process twice")
    assert (trials.loc[5, "attempt"], trials.loc[6, "attempt"]) == (2, 2)
    traces = [
        json.loads(path.read_text()).get("traceback", "") for path in (ending.root / "ledger").glob("*-ended-*.json")
    ]
    assert any("study_fakes.py" in trace and "KeyError" in trace for trace in traces)
    assert "study_fakes.py" in (ending.root / "errors" / f"{trials.loc[3, 'trial_id']}.txt").read_text()
    assert ending.stopped == "", "trials that come to their first epoch stop no study"
    warned = {seed: text for seed, text in trials["warnings"].items() if isinstance(text, str)}
    assert warned == {seed: f"seed {seed} is an odd one" for seed in (3, 5, 6)}
    lines = [f"warning of trial {trials.loc[seed, 'trial_id']}: {text}" for seed, text in warned.items()]
    assert warning_lines(replay(study, Ledger(ending.root / "ledger"))) == sorted(lines), "the ledger says the same"
    ran = trials.index[trials["epochs_run"].notna() | (trials["status"] == "completed")]
    assert list(trials.index[trials["device"] == processor()]) == list(ran), "of every trial that came to an epoch"
    assert all(text in failures_table(flowsearch.load(ending.root)) for text in warned.values())
    retried_by_reason(ending.root, trials)


def retried_by_reason(root, before):
    """The failed trials of one reason, and only those, run again from the start, now without trouble."""
    ending = retry(root, run_trial=FAKE, images=fingerprint, cpus=2, reason="keyerror")
    after = pd.read_parquet(root / "trials").set_index("seed").sort_index()
    assert (after.loc[3, "status"], after.loc[3, "attempt"]) == ("completed", 2)
    others = [seed for seed in range(8) if seed != 3]
    assert list(after.loc[others, "status"]) == list(before.loc[others, "status"])
    assert list(after.loc[others, "attempt"]) == list(before.loc[others, "attempt"])
    assert list(after.index[after["warnings"].notna()]) == [5, 6], "what was run anew has none of before"
    optuna_says = {trial.number: trial.state.name for trial in told_of(root)}
    known = {
        n: "PRUNED" if trial.reason == "out of memory" else STATES[trial.status]
        for n, trial in ending.progress.trials.items()
    }
    assert optuna_says == known


def test_an_epoch_that_only_its_checkpoint_tells_of_is_kept(study_of, tmp_path):
    study = study_of("search.trials=2", "fixed.epochs=4", "scheduler=none", ONE)
    ending = go(study, tmp_path, run_trial="study_fakes:silent_trial")
    assert ending.progress.counts == {"completed": 2}
    found = flowsearch.load(ending.root)
    assert found.trials["attempt"].tolist() == [2, 2]
    for trial in found.trials["trial_id"]:
        epochs = found.epochs[found.epochs["trial_id"] == trial]
        assert epochs["epoch"].tolist() == [1, 2, 3, 4]
        assert epochs["val_psnr"].notna().all()


def test_a_full_disk_stops_a_study_in_order(study_of, tmp_path, capsys):
    study = study_of("search.trials=3", "fixed.epochs=3", "scheduler=none", ONE)
    ending = go(study, tmp_path, run_trial="study_fakes:cramped_trial")
    assert (ending.stopped, ending.progress.running) == ("disk", [])
    assert "could not be kept (OSError: [Errno 28] No space left on device" in ending.reason
    with pytest.raises(typer.Exit) as left:
        _go(lambda listener: ending, ending.root, plain=True, verbose=False)
    assert left.value.exit_code == 1
    assert f"go on with:  flowsearch study resume {ending.root}" in capsys.readouterr().err
    (ending.root / "checkpoints" / "room").touch()
    resumed = resume(ending.root, run_trial="study_fakes:cramped_trial", images=fingerprint, cpus=2)
    assert resumed.progress.counts == {"completed": 3}
    epochs = flowsearch.load(ending.root).epochs
    assert epochs[["trial_id", "epoch"]].to_numpy().tolist() == [
        [f"{number:04d}", epoch] for number in range(3) for epoch in (1, 2, 3)
    ]


def told_of(root):
    storage = JournalStorage(JournalFileBackend(str(root / "optuna.journal")))
    return optuna.load_study(study_name="small", storage=storage).trials


STATES = {"completed": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL", "diverged": "PRUNED"}


def test_a_trial_that_ran_out_of_memory_goes_on_in_micro_batches(study_of, tmp_path):
    study = study_of("search.trials=1", "fixed={epochs: 3, batch_size: 6}", "scheduler=none")
    notes = []
    ending = go(study, tmp_path, lambda event: notes.append(event.note), run_trial="study_fakes:hungry_trial")
    trial = pd.read_parquet(ending.root / "trials").iloc[0]
    assert (trial["status"], trial["attempt"], trial["micro_batch"], trial["batch_size"]) == ("completed", 2, 3, 6)
    assert "out of memory; now in micro-batches of 3" in notes
    assert any("-again-0000" in path.name for path in (ending.root / "ledger").iterdir())
    assert sorted(flowsearch.load(ending.root).epochs["epoch"]) == [1, 2, 3]


def test_a_study_that_only_breaks_stops_and_can_be_retried(study_of, tmp_path):
    study = study_of("search.trials=12", "failures.stop_after=3", "scheduler=none", ONE)
    ending = go(study, tmp_path, run_trial="study_fakes:broken_trial")
    assert ending.stopped == "failures"
    assert ending.reason.startswith("3 trials in a row failed before their first epoch: KeyError")
    assert 3 <= ending.progress.counts["failed"] <= 4
    mended = retry(ending.root, run_trial=FAKE, images=fingerprint, cpus=2)
    assert mended.progress.counts == {"completed": 12}
    assert {trial.state.name for trial in told_of(ending.root)} == {"COMPLETE"}


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"ids": ["77"]}, "there is no trial 77"),
        ({"ids": ["one"]}, "there is no trial one"),
        ({"ids": ["0"]}, "trial 0000 is (completed|pruned); only failed"),
        ({}, "nothing to retry"),
    ],
    ids=["unknown", "no number", "completed", "none failed"],
)
def test_there_may_be_nothing_to_retry(finished, how, words):
    ending, _ = finished
    with pytest.raises(ValueError, match=words):
        retry(ending.root, images=fingerprint, cpus=2, **how)


def test_more_trials_are_a_safe_change(copied, study_of, tmp_path):
    notes = []
    more = resume(
        copied, lambda event: notes.append(event.note), sets=["search.trials=4", "budget.hours=5"],
        run_trial=FAKE, images=fingerprint, cpus=2,
    )  # fmt: skip
    assert more.progress.counts == {"completed": 4}
    assert "changed: search.trials: 3, now 4; budget.hours: null, now 5.0" in notes
    same = go(study_of("search.trials=5", "scheduler=none", "budget.hours=5", ONE), tmp_path)
    assert same.progress.counts == {"completed": 5}, "run goes on with a study that has only grown"
    assert [trial.attempt for trial in same.progress.trials.values()] == [1] * 5
    assert sum("-changed-study" in path.name for path in (copied / "ledger").iterdir()) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("search.trials=3", "search.trials: 12, now 3"),
        ("fixed.epochs=9", "fixed.epochs: 4, now 9"),
        ("space.lr=[0.1]", "space.lr"),
        ("scheduler=none", "scheduler.asha"),
        ("objective={val_loss: minimize}", "objective.val_loss"),
    ],
)
def test_changes_that_spoil_results_are_refused(finished, change, words):
    ending, _ = finished
    before = (ending.root / "study.yaml").read_text()
    with pytest.raises(ValueError, match=words):
        resume(ending.root, sets=[change], images=fingerprint, cpus=2)
    assert (ending.root / "study.yaml").read_text() == before


def test_an_edited_study_file_is_refused_and_shown_as_it_was(copied):
    file = copied / "study.yaml"
    file.write_text(file.read_text().replace("epochs: 4", "epochs: 9"))
    words = "study.yaml is no longer what trial 0000 was planned with .epochs: 4, now 9."
    for go_on in (resume, retry):
        with pytest.raises(ValueError, match=words):
            go_on(copied, images=fingerprint, cpus=2)
    progress = replay(load(file), Ledger(copied / "ledger"))
    assert {trial.config["epochs"] for trial in progress.trials.values()} == {4}


EDITS = [
    (("int: [1, 4]", "int: [1, 8]"), r"space.folds.int: \[1, 4\], now \[1, 8\]"),
    (("sampler: tpe", "sampler: random"), 'search.sampler: "tpe", now "random"'),
    (("trials: 12", "trials: 13"), None),
]


@pytest.mark.parametrize(("edit", "words"), EDITS, ids=["space", "sampler", "trials"])
def test_an_edit_that_alters_no_trial_so_far_is_refused_or_taken_over(finished, tmp_path, monkeypatch, edit, words):
    root = shutil.copytree(finished[0].root, tmp_path / "small")
    file, said, driven = root / "study.yaml", [], []
    monkeypatch.setattr(runner, "drive", lambda root, study, *means: driven.append((study.search.trials, means[-1])))
    assert edit[0] in file.read_text()
    file.write_text(file.read_text().replace(*edit))

    def go_on():
        resume(root, lambda event: said.append(event.note), images=fingerprint, cpus=2)

    if words is None:
        go_on()
        go_on()
        assert (said, driven) == (["changed: search.trials: 12, now 13"], [(13, "faces-32")] * 2)
    else:
        with pytest.raises(ValueError, match=words):
            go_on()
        assert driven == []


def test_a_study_without_its_provenance_knows_its_images(finished, tmp_path, monkeypatch):
    root = shutil.copytree(finished[0].root, tmp_path / "small")
    (root / "provenance.json").write_text("{")
    driven = []
    monkeypatch.setattr(runner, "drive", lambda *means: driven.append(means[-1]))
    resume(root, images=fingerprint, cpus=2)
    assert driven == ["faces-32"]


def test_a_study_file_edited_to_have_fewer_trials_than_are_planned_is_refused(copied):
    file = copied / "study.yaml"
    file.write_text(file.read_text().replace("trials: 3", "trials: 2"))
    words = "a study keeps the trials that it has planned, and its file gives it 2 where trial 0002 was planned; put"
    for go_on in (resume, retry):
        with pytest.raises(ValueError, match=words):
            go_on(copied, images=fingerprint, cpus=2)
    with pytest.raises(ValueError, match=words):
        opened(copied)


def test_more_configurations_than_the_space_has_are_refused_on_a_resume_too(study_of, tmp_path):
    space = "space={prox: [unet, resnet], folds: [1, 2]}"
    ending = go(study_of("search.trials=3", "scheduler=none", space), tmp_path)
    with pytest.raises(ValueError, match=r"space has 4 configurations, and search.trials is 5"):
        resume(ending.root, sets=["search.trials=5"], run_trial=FAKE, images=fingerprint, cpus=2)
    assert resume(ending.root, sets=["search.trials=4"], run_trial=FAKE, images=fingerprint, cpus=2).progress.done == 4


def test_fewer_configurations_than_trials_are_a_safe_change(study_of, tmp_path):
    ending = go(study_of("search.trials=3", "scheduler=none", "repeats=2", ONE), tmp_path)
    fewer = study_of("search.trials=2", "scheduler=none", "repeats=2", ONE)
    file = ending.root / "study.yaml"
    file.write_text(file.read_text().replace("trials: 3", "trials: 8"))  # of which three are planned
    assert resume(ending.root, sets=["search.trials=3"], run_trial=FAKE, images=fingerprint, cpus=2).progress.done == 6
    with pytest.raises(ValueError, match=r"search.trials: 3, now 2"):
        go(fewer, tmp_path)


def test_a_grid_over_tasks_with_repeats_leaves_its_groups(study_of, tmp_path):
    study = study_of(
        "mode=grid",
        "search={}",
        "scheduler=none",
        "tasks=[denoise-0.1, inpaint-9]",
        "repeats=2",
        "space={prox: [glow, unet], depth: [2, 3]}",
        "fixed={epochs: 1, lr: 5.0e-4}",
        ONE,
    )
    ending = go(study, tmp_path)
    trials = pd.read_parquet(ending.root / "trials")
    assert (len(trials), ending.progress.total) == (12, 12)
    groups = trials.groupby("configuration")
    for name in ("repeat", "seed"):
        assert set(groups[name].agg(lambda values: tuple(sorted(values)))) == {(0, 1)}
    assert len(trials.groupby(["configuration", "task", "prox"])) == len(groups) == 6
    assert len(trials.groupby(["task", "prox", "depth"], dropna=False)) == 6
    file = json.loads((ending.root / "provenance.json").read_text())
    assert file["trials"] == 12
    assert resume(ending.root, run_trial="nowhere:nothing", images=fingerprint, cpus=2).progress.done == 12


@pytest.mark.slow
def test_the_budget_interrupts_and_a_resume_goes_on(study_of, tmp_path):
    study = study_of("search.trials=3", "budget.hours=0.006", "fixed.epochs=60", "scheduler=none")
    ending = go(study, tmp_path, run_trial="study_fakes:slow_trial")
    assert ending.stopped == "budget"
    assert ending.progress.counts["interrupted"] >= 1
    trials = pd.read_parquet(ending.root / "trials")
    assert "the study's budget of 0.006 hours was used up" in set(trials["reason"])
    file = ending.root / "study.yaml"
    file.write_text(file.read_text().replace("hours: 0.006", "hours: null"))
    resumed = resume(ending.root, run_trial=FAKE, images=fingerprint, cpus=2)
    assert resumed.stopped == ""
    assert resumed.progress.counts == {"completed": 3}
    again = [trial for trial in resumed.progress.trials.values() if trial.attempt == 2]
    assert again
    epochs = flowsearch.load(ending.root).epochs
    for trial in again:
        assert sorted(epochs.loc[epochs["trial_id"] == trial.id, "epoch"]) == list(range(1, 61))


@pytest.mark.parametrize(
    ("override", "words"),
    [("resources.cpu=64", "uses 64 CPUs"), ("resources.gpu=3", "3 GPU .*try a profile .*--set resources.gpu=0")],
    ids=["cpu", "gpu"],
)
def test_a_machine_too_small_is_refused_before_anything_is_written(study_of, tmp_path, override, words):
    with pytest.raises(ValueError, match=words):
        go(study_of(override), tmp_path)
    assert not (tmp_path / "results").exists()
