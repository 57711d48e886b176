"""A made-up study with plausible numbers, written by the real writer, to test readers, figures and the report on."""

import io
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from flowsearch.results import Writer

MEASUREMENT_PSNR = {"test": 20.4, "ood": 20.3}
_STRENGTH = {"glow": 28.9, "resnet": 27.9, "unet": 27.6}
_PANELS = 4
_START = datetime(2026, 1, 15, 9, 0, tzinfo=UTC)


def make_study(
    root: Path,
    trials: int = 14,
    seed: int = 0,
    *,
    epochs: int = 12,
    images: int = 24,
    statuses: list[str] | None = None,
    reason: str | None = None,
    unfinished: bool = False,
) -> Path:
    """Write a study of `trials` trials into the folder `root` and return it.

    `statuses` says how the trials end (default: mostly completed, some pruned, one failed); with `unfinished` the last
    trial is still running. `reason` replaces the failed trials' reason.
    """
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    _write_study_file(root, trials, epochs)
    with Writer(root, study=root.name, flush_seconds=0.05, strict=True) as writer:
        for index in range(trials):
            status = statuses[index % len(statuses)] if statuses else _status(index, trials)
            if unfinished and index == trials - 1:
                status = "running"
            _write_trial(writer, index, status, rng, epochs, images, reason)
    return root


def epoch_record(epoch: int, folds: int = 2, phase: str = "train") -> dict[str, Any]:
    """A record as `training.run_trial` yields it after an epoch."""
    if phase == "prior":
        return {
            "phase": "prior",
            "epoch": epoch,
            "train_loss": 3.1,
            "bits_per_dim": 4.4,
            "lr": 1e-3,
            "grad_norm": 2.0,
            "seconds": 1.5,
        }
    rows = [{"fold": fold, "mu": 0.8, "lambda": 0.02, "psnr": 20.0 + fold} for fold in range(1, folds + 1)]
    return {"phase": "train", "epoch": epoch, "train_loss": 0.01, "val_loss": 0.011, "val_psnr": 24.0 + epoch} | {
        "lr": 1e-3,
        "grad_norm": 0.5,
        "seconds": 2.5,
        "so_far": {"parameters": 1000},
        "folds": rows,
    }


def png(image: np.ndarray) -> bytes:
    """A picture, float in [0, 1] (H, W, 3), as PNG."""
    buffer = io.BytesIO()
    Image.fromarray((np.clip(image, 0, 1) * 255).round().astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _status(index: int, trials: int) -> str:
    if index == trials - 1 and trials > 5:
        return "failed"
    if trials > 10 and index == 4:
        return "diverged"
    return "pruned" if index % 7 == 5 else "completed"


def _config(index: int, rng: np.random.Generator, epochs: int) -> dict[str, Any]:
    prox = ("glow", "resnet", "unet", "glow")[index % 4]
    own: dict[str, Any] = {
        "glow": {"depth": int(rng.integers(2, 9)), "levels": int(rng.integers(2, 4)), "hidden": 32, "last_depth": 1}
        | {"pretrain": index % 3 != 0, "memory": "invertible"},
        "resnet": {"features": 32, "blocks": 2},
        "unet": {"channels": 16},
    }[prox]
    return {
        "source": "faces",
        "size": 32,
        "task": "denoise-0.1",
        "prox": prox,
        "folds": int(rng.integers(1, 7)),
        "weights": "tied" if index % 2 else "untied",
        "start": "mode" if prox == "glow" else "adjoint",
        "end": "prox",
        "epochs": epochs,
        "batch_size": 8,
        "lr": float(10 ** rng.uniform(-4, -2.5)),
        "scalar_lr": 1e-2,
        "clip": 0.1,
        "warmup": 50,
        "decay": "cosine",
        "precision": "fp32",
        "flip": True,
        "seed": index,
    } | own


def _write_trial(
    writer: Writer, index: int, status: str, rng: np.random.Generator, epochs: int, images: int, reason: str | None
) -> None:
    trial_id, config = f"{index:04d}", _config(index, rng, epochs)
    started = _START + timedelta(seconds=75 * (index // 2))
    reached = {"completed": epochs, "pruned": 4, "diverged": 3, "running": epochs // 2}.get(status, 0)
    parameters = {"glow": 9_000 * (config.get("depth") or 0), "resnet": 38_000, "unet": 480_000}[config["prox"]]
    parameters *= config["folds"] if config["weights"] == "untied" else 1
    row = {"trial_id": trial_id, "index": index, "attempt": 1, "started": started, "host": "node-1"} | config
    best = _STRENGTH[config["prox"]] + 0.25 * math.log2(config["folds"]) + 0.35 * bool(config.get("pretrain"))
    best += float(rng.normal(0, 0.25)) + 0.2 * (config["weights"] == "untied")
    if config.get("pretrain") and reached:
        for epoch in range(1, 6):
            writer.epoch(trial_id, 1, epoch_record(epoch, phase="prior") | {"bits_per_dim": 3.9 + 2.5 / epoch})
    value = 0.0
    for epoch in range(1, reached + 1):
        value = best - 5.5 * math.exp(-3.5 * epoch / epochs) + float(rng.normal(0, 0.05))
        writer.epoch(trial_id, 1, _train_record(epoch, value, config, rng) | {"so_far": {"parameters": parameters}})
    ended: dict[str, Any] = {"status": status, "parameters": parameters, "epochs_run": reached}
    if status != "running":
        seconds = 8.0 + 4.0 * reached + float(rng.uniform(0, 3))
        ended |= {"ended": started + timedelta(seconds=seconds), "seconds": seconds, "peak_memory_bytes": 610_000_000}
    if reached:
        ended |= {"val_psnr": value, "val_loss": 10 ** (-value / 10), "best_epoch": reached}
    if status == "completed":
        ended |= _write_final(writer, trial_id, value, rng, images)
    elif status in ("failed", "diverged", "pruned"):
        reasons = {"failed": reason or "out of memory", "diverged": "non-finite loss at epoch 4"}
        ended["reason"] = reasons.get(status, f"pruned at epoch {reached}")
    writer.trial(row | ended)


def _train_record(epoch: int, value: float, config: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    count, glow = config["folds"], config["prox"] == "glow"
    folds = [
        {"fold": k, "mu": 0.9 - 0.4 * k / count + float(rng.normal(0, 0.02)), "lambda": 0.08 / k if glow else None}
        | {"psnr": 20.4 + (value - 20.4) * (k / count) ** 0.5}
        for k in range(1, count + 1)
    ]
    loss = 10 ** (-value / 10)
    return {"phase": "train", "epoch": epoch, "train_loss": 0.9 * loss, "val_loss": loss, "val_psnr": value} | {
        "lr": config["lr"],
        "grad_norm": 0.3 / epoch,
        "seconds": 4.0,
        "folds": folds,
    }


def _write_final(writer: Writer, trial_id: str, value: float, rng: np.random.Generator, images: int) -> dict[str, Any]:
    rows, panels, means = [], [], {}
    for split, drop in (("test", 0.1), ("ood", 2.4)):
        hard = np.random.default_rng(99).normal(0, 1.2, images)  # the same images are hard for every trial
        psnr = value - drop + hard + rng.normal(0, 0.2, images)
        measured = MEASUREMENT_PSNR[split] + 0.1 * hard
        rows += [
            {"split": split, "image": i, "psnr": float(psnr[i]), "ssim": float(0.85 + 0.01 * hard[i])}
            | {"measurement_psnr": float(measured[i])}
            for i in range(images)
        ]
        for i in range(min(images, _PANELS)):
            panels += _panels(split, i, float(psnr[i]), float(measured[i]))
        means |= {f"{split}_psnr": float(psnr.mean()), f"{split}_ssim": 0.85}
    writer.final(trial_id, 1, {"images": rows, "panels": panels})
    return means | {"measurement_psnr": MEASUREMENT_PSNR["test"]}


def _panels(split: str, image: int, psnr: float, measured: float) -> list[dict[str, Any]]:
    truth = _picture(image, wide_eyes=split == "ood")
    noise = np.random.default_rng(image).normal(0, 1, truth.shape)
    entries = (
        ("measurement", truth + 10 ** (-measured / 20) * noise, measured),
        ("reconstruction", truth + 10 ** (-psnr / 20) * noise, psnr),
        ("truth", truth, None),
    )
    return [{"split": split, "image": image, "kind": kind, "psnr": db, "png": png(x)} for kind, x, db in entries]


def _picture(number: int, *, wide_eyes: bool, size: int = 32) -> np.ndarray:
    """A round head with two eyes on a plain ground: enough to see noise come and go."""
    rng, scale = np.random.default_rng(1000 + number), 4
    canvas = Image.new("RGB", (size * scale, size * scale), tuple(int(v) for v in rng.integers(60, 200, 3)))
    draw, unit = ImageDraw.Draw(canvas), size * scale / 32
    skin = (230, int(rng.integers(150, 205)), int(rng.integers(110, 170)))
    draw.ellipse([6 * unit, 4 * unit, 26 * unit, 30 * unit], fill=skin)
    radius = 3.4 if wide_eyes else 1.5
    for x in (12, 20):
        draw.ellipse(
            [(x - radius) * unit, (15 - radius) * unit, (x + radius) * unit, (15 + radius) * unit], fill=(30, 30, 60)
        )
    draw.arc([11 * unit, 18 * unit, 21 * unit, 26 * unit], 20, 160, fill=(160, 50, 50), width=int(unit * 1.2))
    return np.asarray(canvas.resize((size, size), Image.Resampling.LANCZOS), dtype=np.float64) / 255


def _write_study_file(root: Path, trials: int, epochs: int) -> None:
    (root / "study.yaml").write_text(
        f"name: {root.name}\n"
        "data: {source: faces, size: 32, train: 400, val: 40, test: 24, ood: anime, seed: 0}\n"
        f"fixed: {{task: denoise-0.1, epochs: {epochs}, batch_size: 8}}\n"
        "mode: search\n"
        "space:\n  prox: [glow, resnet, unet]\n  folds: {int: [1, 6]}\n  weights: [tied, untied]\n"
        "objective: {val_psnr: maximize}\n"
        f"search: {{sampler: tpe, trials: {trials}, seed: 0}}\n",
        encoding="utf-8",
    )
    provenance = {
        "flowsearch": "0.1.0",
        "python": "3.11.9",
        "versions": {"torch": "2.13.0", "ray": "2.60.0", "optuna": "5.0.0"},
        "git": {"commit": "c3c85de0f3", "dirty": False},
        "hosts": ["node-1"],
        "data": {"faces": "sha256:5f1d0c", "anime": "sha256:aa20e1"},
    }
    (root / "provenance.json").write_text(json.dumps(provenance, indent=2), encoding="utf-8")
