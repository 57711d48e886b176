"""A trial repeats exactly, goes on exactly after an interruption, and improves on what was measured."""

import io
import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from flowsearch.data import DataConfig
from flowsearch.training import NonFiniteError, PriorConfig, TrialConfig, loop, run_trial
from flowsearch.training import checkpoint as checkpoints
from flowsearch.training.prior import sample
from flowsearch.training.prior_store import PriorStore

DATA = DataConfig(source="faces", size=16, train=48, val=10, test=10, ood="anime")
SMALL: dict[str, dict[str, Any]] = {
    "glow": {"prox": "glow", "levels": 2, "depth": 2, "hidden": 8, "pretrain": False},
    "glow pre-trained": {"prox": "glow", "levels": 2, "depth": 2, "hidden": 8, "pretrain": True},
    "score pre-trained": {"prox": "score", "levels": 2, "depth": 2, "hidden": 8, "pretrain": True},
    "resnet": {"prox": "resnet", "features": 8},
    "unet": {"prox": "unet", "channels": 4},
}


def config(kind: str, **more: Any) -> TrialConfig:
    prior = PriorConfig(epochs=2, lr=1e-3, noise=0.1)
    settings = {"folds": 2, "epochs": 3, "batch_size": 8, "task": "denoise-0.2"} | SMALL[kind] | more
    return TrialConfig(data=DATA, prior=prior, **settings)


def numbers(records: list[dict[str, Any]]) -> str:
    """The records without what a clock or the process decides."""
    volatile = {"seconds", "train_seconds", "prior_seconds", "peak_memory_bytes", "panels", "so_far"}
    volatile |= {"seconds_per_image", "kept"}
    flat = [record | record.get("so_far", {}) for record in records]
    return json.dumps([{k: v for k, v in record.items() if k not in volatile} for record in flat])


@pytest.mark.parametrize("weights", ["tied", "untied"])
@pytest.mark.parametrize("kind", SMALL)
def test_same_configuration_same_numbers_however_often_interrupted(kind: str, weights: str, tmp_path: Path) -> None:
    trial = config(kind, weights=weights)
    torch.manual_seed(1)
    undisturbed = list(run_trial(trial, checkpoint_dir=tmp_path / "a", prior_dir=tmp_path / "priors-a"))
    torch.manual_seed(2)
    broken: list[dict[str, Any]] = []
    while not broken or broken[-1]["phase"] != "final":
        broken += islice(run_trial(trial, checkpoint_dir=tmp_path / "b", prior_dir=tmp_path / "priors-b"), 1)
    assert [(r["phase"], r["epoch"]) for r in undisturbed[:-1]] == [(r["phase"], r["epoch"]) for r in broken[:-1]]
    assert numbers(undisturbed) == numbers(broken)


def test_a_trial_with_a_folder_of_its_own_makes_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that a worker killed in the middle of a trial would leave behind."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    records = run_trial(config("resnet"), checkpoint_dir=tmp_path / "trial")
    next(records)
    assert not list(scratch.glob("flowsearch-*"))
    records.close()


def test_both_maps_of_a_flow_share_its_prior(tmp_path: Path) -> None:
    for kind, phases in (("glow pre-trained", {"prior", "train", "final"}), ("score pre-trained", {"train", "final"})):
        trial = config(kind, epochs=1)
        assert {record["phase"] for record in run_trial(trial, prior_dir=tmp_path)} == phases


def test_pretraining_comes_first_and_is_shared(tmp_path: Path) -> None:
    def phases(**more: Any) -> list[str]:
        return [record["phase"] for record in run_trial(config("glow pre-trained", **more), prior_dir=tmp_path)]

    assert phases(folds=1) == ["prior"] * 2 + ["train"] * 3 + ["final"]
    assert phases(folds=2, weights="tied", lr=1e-5) == ["train"] * 3 + ["final"]
    assert phases(depth=1)[:2] == ["prior"] * 2


def test_a_prior_sees_further_images_and_the_network_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, set[int]] = {"prior": set(), "fit": set()}
    epoch = loop.Course.epoch

    def noting(course: loop.Course, *rest: Any) -> Any:
        seen["prior" if course.called == " of pre-training" else "fit"].add(len(course.images_NCHW))
        return epoch(course, *rest)

    monkeypatch.setattr(loop.Course, "epoch", noting)
    trial = config("glow pre-trained", folds=1)
    trial = replace(trial, data=replace(trial.data, prior="faces", prior_images=5))
    list(run_trial(trial, prior_dir=tmp_path))
    assert seen == {"prior": {trial.data.train + 5}, "fit": {trial.data.train}}


def test_what_the_prior_keeps_for_its_backward_pass_decides_nothing(tmp_path) -> None:
    images, losses = [], []
    for memory in ("networks", "invertible"):
        trial = replace(config("glow pre-trained"), prior=PriorConfig(epochs=2, lr=1e-3, memory=memory))
        records = list(run_trial(trial, prior_dir=tmp_path / memory))
        losses.append([record["train_loss"] for record in records if record["phase"] == "prior"])
        images.append(records[-1]["test_psnr"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert images[0] == pytest.approx(images[1], abs=0.02)
    assert [path.name for path in sorted((tmp_path / "networks").iterdir())] == [
        path.name for path in sorted((tmp_path / "invertible").iterdir())
    ]


def test_a_prior_leaves_its_mode_and_samples_in_the_store(tmp_path: Path) -> None:
    list(run_trial(config("glow pre-trained", epochs=1), prior_dir=tmp_path))
    store = PriorStore(tmp_path)
    (prior,) = store.listed()
    pictures = store.pictures(prior.key)
    assert [picture["kind"] for picture in pictures] == ["mode"] + ["sample"] * 7
    shown = [np.asarray(Image.open(io.BytesIO(picture["png"]))) for picture in pictures]
    drawn, _ = sample(store.file(prior.key), 7, 0.7, 0)
    assert np.abs(np.stack(shown).astype(int) - drawn.transpose(0, 2, 3, 1)).max() <= 1


def truncate(path: Path) -> None:
    """What a full disk or a lost machine may leave of a file."""
    path.write_bytes(path.read_bytes()[:-1])


def test_a_damaged_prior_is_moved_aside_and_pretrained_again(tmp_path: Path, caplog) -> None:
    trial = config("glow pre-trained", epochs=1)
    first = list(run_trial(trial, prior_dir=tmp_path))
    store = PriorStore(tmp_path)
    (prior,) = store.listed()
    truncate(store.file(prior.key))
    (damaged,) = store.listed()
    assert (prior.damaged, damaged.damaged, damaged.finished) == (None, "prior.safetensors", False)
    with pytest.raises(ValueError, match=r"prior\.safetensors is damaged: a checkpoint of .* bytes by its header"):
        sample(store.file(prior.key), 1, 0.7, 0)
    assert not store.finished(prior.key)
    assert numbers(list(run_trial(trial, prior_dir=tmp_path))) == numbers(first)
    assert store.finished(prior.key)
    assert (store.folder(prior.key) / "prior.safetensors.damaged").exists()
    assert "prior.safetensors is damaged" in caplog.text


@pytest.mark.parametrize("length", [0, 5, 100, -1], ids=["empty", "no length", "header torn", "tensors torn"])
@pytest.mark.parametrize("name", ["last.safetensors", "best.safetensors"])
def test_a_trial_whose_checkpoint_is_damaged_begins_again(name: str, length: int, tmp_path: Path, caplog) -> None:
    trial = config("resnet", epochs=2)
    first = list(run_trial(trial, checkpoint_dir=tmp_path))
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:length])
    assert numbers(list(run_trial(trial, checkpoint_dir=tmp_path))) == numbers(first)
    assert (tmp_path / f"{name}.damaged").exists()
    assert str(path) in caplog.text


def test_an_interrupted_prior_that_is_damaged_begins_again(tmp_path: Path) -> None:
    trial = config("glow pre-trained", epochs=1)
    next(iter(run_trial(trial, prior_dir=tmp_path)))
    (unfinished,) = tmp_path.glob("*/unfinished.safetensors")
    truncate(unfinished)
    assert [record["phase"] for record in run_trial(trial, prior_dir=tmp_path)] == ["prior"] * 2 + ["train", "final"]


def test_pretraining_improves_the_likelihood() -> None:
    trial = TrialConfig(
        data=DATA, prior=PriorConfig(epochs=8, lr=2e-3), prox="glow", levels=2, depth=2, hidden=8, folds=1, epochs=1
    )
    bits = [record["bits_per_dim"] for record in run_trial(trial) if record["phase"] == "prior"]
    assert bits[-1] < bits[0] - 0.2


@pytest.mark.parametrize("kind", SMALL)
def test_training_beats_the_measurement(kind: str) -> None:
    final = list(run_trial(config(kind, epochs=12, batch_size=4, lr=2e-3)))[-1]
    assert final["test_psnr"] > final["measurement_psnr"] + 1.5
    assert 13.5 < final["measurement_psnr"] < 16.5
    assert final["val_psnr"] == pytest.approx(final["test_psnr"], abs=3)
    assert {row["split"] for row in final["images"]} == {"test", "ood"}
    assert len(final["images"]) == 20
    assert all(panel["png"].startswith(b"\x89PNG") for panel in final["panels"])


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("glow", "mri(acceleration=3,noise=0.02)"),
        ("glow", "superres-2"),
        ("resnet", "mri-3"),
        ("resnet", "compress-0.5"),
        ("unet", {"motion": {"length": 5, "padding": "reflect"}}),
    ],
)
def test_measurements_may_be_complex_or_of_any_shape(kind: str, task: Any) -> None:
    final = list(run_trial(config(kind, task=task, epochs=2)))[-1]
    assert final["test_psnr"] > 10
    assert {panel["kind"] for panel in final["panels"]} == {"measurement", "reconstruction", "truth", "fold"}
    sizes = {Image.open(io.BytesIO(panel["png"])).size for panel in final["panels"]}
    assert sizes == {(16, 16)}
    assert 8 < final["measurement_psnr"] < 40


@pytest.mark.parametrize("kind", ["glow", "resnet"])
def test_the_first_images_are_kept_as_each_fold_leaves_them(kind: str) -> None:
    final = list(run_trial(config(kind, folds=3, epochs=1)))[-1]
    kept = [panel for panel in final["panels"] if panel["kind"] == "fold"]
    assert [(panel["split"], panel["fold"]) for panel in kept] == [
        (split, fold) for split in ("test", "ood") for fold in range(4) for _ in range(2)
    ]
    made = {(p["split"], p["image"]): p for p in final["panels"] if p["kind"] == "reconstruction"}
    for panel in kept:
        if panel["fold"] == 3:  # what the last fold leaves is the reconstruction
            assert panel["psnr"] == pytest.approx(made[panel["split"], panel["image"]]["psnr"], abs=1e-4)
    starts = {panel["png"] for panel in kept if panel["split"] == "test" and panel["fold"] == 0}
    assert len(starts) == (1 if kind == "glow" else 2)  # a flow starts every image from its mode


def test_what_is_no_image_is_shown_by_its_adjoint() -> None:
    """Of super-resolution: each mean on its block, as bright as the truth, and so its own best guess at first."""
    final = list(run_trial(config("resnet", task="superres-2", folds=1, epochs=1, lr=1e-9, scalar_lr=1e-9)))[-1]
    assert final["test_psnr"] == pytest.approx(final["measurement_psnr"], abs=0.01)


def test_an_operator_that_is_none_is_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trial_ops.py").write_text(
        "class Twice:\n    def A(self, x): return 2 * x\n    def A_adjoint(self, y): return y\n"
        "def twice(channels, size): return Twice()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="Twice, for images of shape \\(3, 16, 16\\), has an adjoint with"):
        next(iter(run_trial(config("glow pre-trained", task="trial_ops:twice"))))


def test_early_stopping_counts_epochs_without_a_better_loss() -> None:
    records = list(run_trial(config("resnet", epochs=30, patience=1, lr=0.5, clip=100.0)))
    losses = [record["val_loss"] for record in records if record["phase"] == "train"]
    assert len(losses) < 30
    assert losses[-1] >= min(losses)
    assert records[-1]["best_epoch"] == losses.index(min(losses)) + 1
    assert records[-1]["val_loss"] == min(losses)


def test_a_non_finite_loss_is_named_and_leaves_the_last_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = config("resnet")
    run = run_trial(trial, checkpoint_dir=tmp_path)
    next(run)
    before, _ = checkpoints.read(tmp_path / checkpoints.LAST)
    monkeypatch.setattr("flowsearch.training.fit.mse_loss", lambda a, b: (a - b).mean() * float("nan"))
    with pytest.raises(NonFiniteError, match="non-finite loss at epoch 2"):
        next(run)
    after, about = checkpoints.read(tmp_path / checkpoints.LAST)
    assert about["epoch"] == 1
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_folds_report_step_and_shrinkage() -> None:
    first = next(iter(run_trial(config("glow"))))
    assert [row["fold"] for row in first["folds"]] == [1, 2]
    assert all(row["lambda"] > 0 for row in first["folds"])
    assert first["folds"][-1]["psnr"] == pytest.approx(first["val_psnr"])
    assert all(row["lambda"] is None for row in next(iter(run_trial(config("unet"))))["folds"])
    last = next(iter(run_trial(config("glow", end="data"))))["folds"][-1]
    assert (last["lambda"], last["mu"] > 0) == (None, True)


def test_a_checkpoint_of_another_network_is_named(tmp_path: Path) -> None:
    next(run := run_trial(config("resnet", epochs=2), checkpoint_dir=tmp_path))
    run.close()
    with pytest.raises(ValueError, match=r"last.safetensors does not fit the network .* remove it .*proxes\.1"):
        next(run_trial(config("resnet", epochs=2, end="data"), checkpoint_dir=tmp_path))


def test_folders_may_be_text(tmp_path):
    trial = config("glow pre-trained", epochs=1)
    records = list(run_trial(trial, checkpoint_dir=str(tmp_path / "trial"), prior_dir=str(tmp_path / "priors")))
    assert records[-1]["phase"] == "final"
    assert list((tmp_path / "priors").glob("*/prior.safetensors"))


def test_a_micro_batch_of_nothing_is_refused():
    with pytest.raises(ValueError, match="micro_batch is at least 1, not 0"):
        next(iter(run_trial(config("resnet"), micro_batch=0)))
