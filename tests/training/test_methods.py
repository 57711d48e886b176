"""Each method is a trial like any other: it repeats and goes on exactly, and does what it is there for."""

import json
import math
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from flowsearch.data import DataConfig, load
from flowsearch.operators import Identity
from flowsearch.results import schema
from flowsearch.training import PriorConfig, TrialConfig, run_trial, trial
from flowsearch.training.checkpoint import CHOSEN
from flowsearch.training.config import METHODS
from flowsearch.training.errors import DataError, NonFiniteError
from flowsearch.training.evaluate import Measured

DATA = DataConfig(source="faces", size=16, train=48, val=3, test=3, ood="anime")
SMALL: dict[str, dict[str, Any]] = {
    "unrolled": {"prox": "resnet", "features": 8, "epochs": 2, "folds": 2},
    "feedforward": {"channels": 4, "epochs": 2},
    "pnp": {"features": 8, "epochs": 2, "iterations": 4},
    "map": {"levels": 2, "depth": 2, "hidden": 8, "iterations": 4},
    "tv": {},
    "adjoint": {},
    "measurement": {},
}
VOLATILE = {"seconds", "train_seconds", "prior_seconds", "peak_memory_bytes", "seconds_per_image", "panels", "so_far"}


def config(method: str, task: str = "denoise-0.2", **more: Any) -> TrialConfig:
    return TrialConfig(method=method, data=DATA, prior=PriorConfig(epochs=2), task=task, **SMALL[method] | more)


def run(method: str, folder: Path | None = None, **more: Any) -> list[dict[str, Any]]:
    return list(run_trial(config(method, **more), checkpoint_dir=folder, device="cpu"))


def numbers(records: list[dict[str, Any]]) -> str:
    flat = [record | record.get("so_far", {}) for record in records]
    return json.dumps([{key: value for key, value in record.items() if key not in VOLATILE} for record in flat])


@pytest.mark.parametrize("method", [method for method in METHODS if method != "unrolled"])
def test_same_numbers_again_however_often_interrupted(method: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    undisturbed = run(method)
    torch.manual_seed(2)
    broken: list[dict[str, Any]] = []
    while not broken or broken[-1]["phase"] != "final":
        broken += islice(run_trial(config(method), checkpoint_dir=tmp_path, device="cpu"), 1)
    assert numbers(undisturbed) == numbers(broken)
    assert undisturbed[-2]["phase"] == "train"
    assert undisturbed[-2]["val_psnr"] == pytest.approx(undisturbed[-1]["val_psnr"])


@pytest.mark.parametrize("method", METHODS)
def test_no_trial_goes_on_with_other_images(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [run_trial(config(method), checkpoint_dir=tmp_path, device="cpu") for _ in range(2)]
    while next(trials[0])["phase"] != "train":
        pass
    trials[0].close()
    monkeypatch.setattr(trial, "load", lambda data: replace(load(data), fingerprint="other"))
    with pytest.raises(DataError, match=r"faces are not those that .* was begun with \(fingerprint other, then"):
        next(trials[1])


@pytest.mark.parametrize("method", ["adjoint", "tv"])
def test_reconstructions_that_are_not_finite_diverge(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Identity, "adjoint", lambda _, y: y * math.nan)
    with pytest.raises(NonFiniteError, match="non-finite validation loss"):
        run(method, tmp_path)
    assert not (tmp_path / CHOSEN).exists()


def test_one_image_that_is_not_finite_makes_the_mean_unknown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    inside = Measured.of

    def broken(images: Any, task: Any, split: str, *rest: Any) -> Measured:
        found = inside(images, task, split, *rest)
        if split == "test":
            found.y[1] = math.nan
        return found

    monkeypatch.setattr(Measured, "of", broken)
    final = run("adjoint")[-1]
    assert final["test_psnr"] is final["test_ssim"] is final["test_residual"] is None
    assert math.isfinite(final["ood_psnr"])
    assert math.isfinite(final["val_psnr"])
    assert "1 of 3 reconstructions (test) are not finite; their means are unknown" in caplog.text


def test_all_last_records_have_the_same_keys_and_columns_to_keep_them() -> None:
    finals = {method: run(method)[-1] for method in ("unrolled", "map", "tv", "measurement")}
    known = {column.name for column in schema.METRIC_COLUMNS}
    images = {column.name for column in schema.TABLES[schema.IMAGES]}
    shared = set.intersection(*(set(final) for final in finals.values()))
    for final in finals.values():
        assert set(set(final) - shared) <= {"used_tv_weight", "used_gamma"}
        assert set(final) - {"phase", "epoch", "images", "panels"} <= known
        assert len(final["images"]) == 6
        assert all(set(row) <= images and math.isfinite(row["residual"]) for row in final["images"])
        assert final["seconds_per_image"] > 0
    assert finals["map"]["used_gamma"] > 0
    assert finals["tv"]["used_tv_weight"] > 0
    assert finals["measurement"]["parameters"] == finals["tv"]["parameters"] == 0


def test_the_measurement_is_what_every_trial_compares_itself_with() -> None:
    final = run("measurement", task="inpaint-5")[-1]
    assert final["test_psnr"] == final["measurement_psnr"]
    assert final["test_residual"] == 0
    assert run("adjoint", task="inpaint-5")[-1]["test_psnr"] == pytest.approx(final["test_psnr"])


@pytest.mark.parametrize("task", ["denoise-0.2", "inpaint-5"])
def test_tuned_total_variation_beats_the_measurement(task: str) -> None:
    final = run("tv", task=task)[-1]
    assert final["test_psnr"] > final["measurement_psnr"] + 0.5


@pytest.mark.parametrize("factor", [3, 1 / 3])
def test_the_tuned_weight_beats_those_beside_it(factor: float) -> None:
    final = run("tv")[-1]
    assert run("tv", tv_weight=final["used_tv_weight"] * factor)[-1]["val_psnr"] < final["val_psnr"]


def test_a_given_weight_is_not_tuned() -> None:
    assert run("tv", tv_weight=0.25)[-1]["used_tv_weight"] == 0.25
    assert run("map", gamma=0.0, iterations=2)[-1]["used_gamma"] == 0.0


def test_plug_and_play_trains_its_denoiser_as_a_prior_and_beats_the_measurement() -> None:
    records = run("pnp", epochs=12, batch_size=4, lr=3e-3, iterations=10)
    assert [record["phase"] for record in records] == ["prior"] * 12 + ["train", "final"]
    losses = [record["val_loss"] for record in records[:12]]
    assert losses[-1] < 0.7 * losses[0]
    final = records[-1]
    assert final["test_psnr"] > final["measurement_psnr"] + 2
    assert 1 <= final["used_iterations"] <= 10
    assert 0 < final["used_strength"] <= 0.2


def test_the_prior_is_judged_on_the_test_images_too(tmp_path: Path) -> None:
    first = run("map", tmp_path / "a")[-1]
    bits = [row["bits_per_dim"] for row in first["images"] if row["split"] == "test"]
    assert first["test_bits_per_dim"] == pytest.approx(sum(bits) / len(bits))
    assert first["ood_bits_per_dim"] != first["test_bits_per_dim"]
    assert first["bits_per_dim"] == pytest.approx(first["test_bits_per_dim"], abs=1.5)
    unrolled = run("unrolled", prox="glow", levels=2, depth=2, hidden=8, pretrain=True, epochs=1)[-1]
    assert unrolled["test_bits_per_dim"] == first["test_bits_per_dim"]  # the same prior, before it was trained further


def test_methods_share_a_prior(tmp_path: Path) -> None:
    def phases(method: str, **more: Any) -> list[str]:
        return [record["phase"] for record in run_trial(config(method, **more), prior_dir=tmp_path, device="cpu")]

    flow = {"levels": 2, "depth": 2, "hidden": 8}
    assert phases("map") == ["prior"] * 2 + ["train", "final"]
    assert phases("unrolled", prox="glow", pretrain=True, **flow) == ["train"] * 2 + ["final"]
    assert phases("map", seed=3) == ["train", "final"]
