"""A small study with real training: all three proximal maps, through Ray, from the file to the report."""

from pathlib import Path

import pandas as pd
import pytest

import flowsearch
from flowsearch.analysis import write_report
from flowsearch.results import schema
from flowsearch.study import Ending, Study, run
from flowsearch.study.file import read
from flowsearch.study.source import Source
from flowsearch.training import TrialConfig

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("local_cluster")]

FILE = """\
name: real
data: {source: faces, size: 16, train: 96, val: 8, test: 8, ood: anime}
fixed: {task: denoise-0.2, epochs: 4, batch_size: 4, depth: 2, levels: 2, hidden: 8, features: 8, channels: 8}
space:
  prox: [glow, resnet, unet]
  folds: {int: [1, 2]}
  weights: [tied, untied]
  lr: {float: [2.0e-3, 4.0e-3], log: true}
  pretrain: {choice: [true, false], when: {prox: glow}}
search: {trials: 6, startup: 6}
prior: {epochs: 2}
"""

DECIDED = ["trial_id", "status", *(column.name for column in schema.CONFIG_COLUMNS)]
MEASURED = ["parameters", "best_epoch", "val_psnr", "val_ssim", "test_psnr", "test_ssim", "ood_psnr", "bits_per_dim"]


@pytest.fixture(scope="module")
def study() -> Study:
    return read(Source("real.yaml", FILE))


@pytest.fixture(scope="module")
def ending(study: Study, local_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Ending:
    return run(study, tmp_path_factory.mktemp("real"), cpus=2)


def test_every_trial_improves_on_what_was_measured(ending: Ending) -> None:
    trials = pd.read_parquet(ending.root / "trials")
    assert list(trials["status"]) == ["completed"] * 6, trials["reason"]
    assert set(trials["prox"]) == {"glow", "resnet", "unet"}
    assert set(trials["weights"]) == {"tied", "untied"}
    assert set(trials["pretrain"].dropna()) == {True, False}
    assert (trials["test_psnr"] > trials["measurement_psnr"] + 1).all()
    assert (trials["peak_memory_bytes"] > 1e8).all()
    assert trials.set_index("prox")["bits_per_dim"].notna()["glow"].sum() == 1


def test_tables_agree_with_each_other(ending: Ending) -> None:
    results = flowsearch.load(ending.root)
    trials = results.trials.set_index("trial_id")
    means = results.images.pivot_table(values="psnr", index="trial_id", columns="split")
    pd.testing.assert_series_equal(means["test"], trials["test_psnr"], check_names=False, check_dtype=False)
    pd.testing.assert_series_equal(means["ood"], trials["ood_psnr"], check_names=False, check_dtype=False)
    fits = results.epochs[results.epochs["phase"] == "train"]
    best = fits.groupby("trial_id")["val_psnr"].max()
    assert (best - trials["val_psnr"]).abs().max() < 1e-6
    assert (results.folds.groupby("trial_id")["fold"].max() == trials["folds"]).all()
    assert all(png.startswith(b"\x89PNG") for png in results.panels["png"])


@pytest.mark.slow
def test_the_same_study_again_gives_the_same_numbers(ending: Ending, study: Study, tmp_path: Path) -> None:
    again = pd.read_parquet(run(study, tmp_path, cpus=2).root / "trials")
    first = pd.read_parquet(ending.root / "trials")
    columns = DECIDED + MEASURED
    pd.testing.assert_frame_equal(
        first[columns].sort_values("trial_id", ignore_index=True),
        again[columns].sort_values("trial_id", ignore_index=True),
        check_exact=True,
    )


def test_a_trial_runs_alone_as_it_did_in_the_study(ending: Ending, tmp_path: Path) -> None:
    import torch

    from flowsearch.training import run_trial

    torch.set_num_threads(1)
    for trial in ending.progress.trials.values():
        if trial.config["prox"] == "resnet":
            final = list(run_trial(TrialConfig.from_dict(trial.config), checkpoint_dir=tmp_path, device="cpu"))[-1]
            assert final["test_psnr"] == trial.metrics["test_psnr"]
            break


def test_nothing_left_behind_is_a_pickle(ending: Ending) -> None:
    write_report(ending.root)
    known = {".parquet", ".json", ".jsonl", ".safetensors", ".yaml", ".journal", ".html", ".lock"}
    assert {path.suffix or path.name for path in ending.root.rglob("*") if path.is_file()} <= known


def test_trials_over_three_flows_pretrain_three_priors(study: Study, tmp_path: Path) -> None:
    overrides = ["space={depth: [1, 2, 3], lr: {float: [1e-3, 4e-3]}}", "search.trials=12"]
    fixed = "fixed={prox: glow, folds: 1, epochs: 1, batch_size: 8, levels: 2, hidden: 8, task: denoise-0.2}"
    ending = run(read(Source("real.yaml", FILE, [*overrides, fixed, "search.startup=12"])), tmp_path, cpus=4)
    assert ending.progress.counts == {"completed": 12}
    trials = flowsearch.load(ending.root).trials
    assert sorted(trials["depth"].unique()) == [1, 2, 3]
    started = [path.name for path in (ending.root / "ledger").glob("*-started-prior-*.json")]
    assert len(started) == 3
    assert len(list((tmp_path / "priors").glob("*/prior.safetensors"))) == 3
    assert trials.groupby("depth")["prior_seconds"].nunique().tolist() == [1, 1, 1]
    epochs = flowsearch.load(ending.root).epochs
    assert (epochs["phase"] == "prior").sum() == 3 * study.prior["epochs"]
