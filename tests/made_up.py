"""A made-up study with plausible numbers, written by the real writer, to test readers, figures and the report on.

python tests/made_up.py results/made-up --trials 1000 --epochs 100 --images 200
"""

import argparse
import io
import json
import math
import time
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from flowsearch.results import Writer, schema

MEASUREMENT_PSNR = {"test": 20.4, "ood": 20.3}
_STRENGTH = {"glow": 28.9, "resnet": 27.9, "unet": 27.6}
_HARDER = {"inpaint-9": 2.1, "denoise-0.2": -1.8}
"""What a task adds to the PSNR that denoise-0.1 gives."""
_START = datetime(2026, 1, 15, 9, 0, tzinfo=UTC)
_TRACE = """Traceback (most recent call last):
  File "flowsearch/training/loop.py", line 61, in step
    loss.backward()
{}
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How large a made-up study is, and what happens in it."""

    epochs: int = 12
    images: int = 24
    """Test images; as many out of distribution, unless `ood` says how many."""
    ood: int | None = None
    panels: int = 4
    """Images of each split whose pictures are kept."""
    folds: tuple[int, int] = (1, 6)
    """Fewest and most folds of a configuration."""
    repeats: int = 1
    tasks: tuple[str, ...] = ("denoise-0.1",)
    statuses: tuple[str, ...] | None = None
    """How the trials end, in turn (default: mostly completed, some pruned, one in fifty failed or diverged)."""
    reason: str | None = None
    """Replaces the failed trials' reason."""
    unfinished: bool = False
    """Whether the last trial is still running."""
    pause: float = 0.0
    """Seconds between epochs: a study that grows as one watches."""
    flush_seconds: float = 0.05
    """As the writer's."""
    compacted: bool = False
    """Whether all parts are merged, as at a study's end; else they are as in a study that runs."""


def make_study(root: Path, trials: int = 14, seed: int = 0, **options: Any) -> Path:
    """Write a study of `trials` trials into the folder `root` and return it. `options` are those of `Options`."""
    chosen = Options(**options)
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    _write_study_file(root, trials, chosen)
    with Writer(root, study=root.name, flush_seconds=chosen.flush_seconds, strict=True) as writer:
        config: dict[str, Any] = {}
        priors: set[str] = set()
        for index in range(trials):
            if index % chosen.repeats == 0:
                config = _config(index // chosen.repeats, rng, chosen)
            status = chosen.statuses[index % len(chosen.statuses)] if chosen.statuses else _status(index, trials)
            if chosen.unfinished and index == trials - 1:
                status = "running"
            priors |= {_prior(config)} if config.get("pretrain") else set()
            _write_trial(writer, index, status, config | {"seed": index}, rng, chosen)
        for prior in sorted(priors) if chosen.panels else ():
            writer.final(prior, 1, {"panels": _prior_panels()})
        writer.flush()
        if chosen.compacted:
            writer.compact()
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
    if (index == trials - 1 and trials > 5) or index % 50 == 33:
        return "failed"
    if (trials > 10 and index == 4) or index % 50 == 17:
        return "diverged"
    return "pruned" if index % 7 == 5 else "completed"


def _config(number: int, rng: np.random.Generator, options: Options) -> dict[str, Any]:
    turn, branch = divmod(number, len(options.tasks))
    prox = ("glow", "resnet", "unet", "glow")[turn % 4]
    own: dict[str, Any] = {
        "glow": {"depth": int(rng.integers(2, 9)), "levels": int(rng.integers(2, 4)), "hidden": 32, "last_depth": 1}
        | {"pretrain": turn % 3 != 0, "memory": "invertible"},
        "resnet": {"features": 32, "blocks": 2},
        "unet": {"channels": 16},
    }[prox]
    low, high = options.folds
    return {
        "source": "faces",
        "size": 32,
        "task": options.tasks[branch],
        "method": "unrolled",
        "prox": prox,
        "folds": int(rng.integers(low, high + 1)),
        "weights": "tied" if (turn // 4 + turn) % 2 else "untied",
        "start": "mode" if prox == "glow" else "adjoint",
        "end": "prox",
        "epochs": options.epochs,
        "batch_size": 8,
        "lr": float(10 ** rng.uniform(-4, -2.5)),
        "scalar_lr": 1e-2,
        "clip": 0.1,
        "warmup": 50,
        "decay": "cosine",
        "precision": "fp32",
        "flip": True,
    } | own


def _write_trial(
    writer: Writer, index: int, status: str, config: dict[str, Any], rng: np.random.Generator, options: Options
) -> None:
    trial_id, epochs = f"{index:04d}", options.epochs
    started = _START + timedelta(seconds=75 * (index // 2))
    reached = {"completed": epochs, "pruned": 4, "diverged": 3, "running": epochs // 2}.get(status, 0)
    parameters = {"glow": 9_000 * (config.get("depth") or 0), "resnet": 38_000, "unet": 480_000}[config["prox"]]
    parameters *= config["folds"] if config["weights"] == "untied" else 1
    row = {"trial_id": trial_id, "index": index, "configuration": index // options.repeats, "attempt": 1} | config
    row |= {"repeat": index % options.repeats, "started": started, "host": f"node-{1 + index % 2}"}
    if config.get("pretrain"):
        row |= {"prior": _prior(config), "bits_per_dim": 4.4}
    if options.pause:
        writer.trial(row | {"status": "running"})
    if config.get("pretrain") and reached:
        for epoch in range(1, 6):
            writer.epoch(trial_id, 1, epoch_record(epoch, phase="prior") | {"bits_per_dim": 3.9 + 2.5 / epoch})
    best, value = _quality(config) + float(rng.normal(0, 0.25)), 0.0
    for epoch in range(1, reached + 1):
        value = best - 5.5 * math.exp(-3.5 * epoch / epochs) + float(rng.normal(0, 0.05))
        writer.epoch(trial_id, 1, _train_record(epoch, value, config, rng) | {"so_far": {"parameters": parameters}})
        time.sleep(options.pause)
    ended: dict[str, Any] = {"status": status, "parameters": parameters, "epochs_run": reached}
    if status != "running":
        seconds = 8.0 + 4.0 * reached + float(rng.uniform(0, 3))
        ended |= {"ended": started + timedelta(seconds=seconds), "seconds": seconds, "train_seconds": 4.0 * reached}
        kept = 1 if config["prox"] == "glow" else config["folds"]
        ended["peak_memory_bytes"] = 180_000_000 + 24 * parameters + 90_000_000 * kept
    if reached:
        ended |= {"val_psnr": value, "val_loss": 10 ** (-value / 10), "best_epoch": reached}
    if status == "completed":
        ended |= {"seconds_per_image": 0.002 * config["folds"] * (4 if config["prox"] == "glow" else 1)}
        ended |= _write_final(writer, trial_id, value, config["folds"], rng, options)
    elif status in ("failed", "diverged", "pruned"):
        reasons = {"failed": options.reason or "out of memory", "diverged": "non-finite loss at epoch 4"}
        ended["reason"] = reasons.get(status, f"pruned at epoch {reached}")
        if status != "pruned":
            _write_error(Path(writer.store.where), trial_id, ended["reason"])
    writer.trial(row | ended)


def _quality(config: dict[str, Any]) -> float:
    """The PSNR that the configuration comes to, its luck aside: rates near 1e-3 are best, and more folds are better."""
    best = _STRENGTH[config["prox"]] + 0.25 * math.log2(config["folds"]) + 0.35 * bool(config.get("pretrain"))
    best += 0.2 * (config["weights"] == "untied") - 0.5 * (math.log10(config["lr"]) + 3) ** 2
    return best + _HARDER.get(config["task"], 0.0)


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


def _write_final(
    writer: Writer, trial_id: str, value: float, folds: int, rng: np.random.Generator, options: Options
) -> dict[str, Any]:
    rows, panels, means = [], [], {}
    counts = {"test": options.images, "ood": options.images if options.ood is None else options.ood}
    for split, drop in (("test", 0.1), ("ood", 2.4)):
        count = counts[split]
        if not count:
            continue
        hard = np.random.default_rng(99).normal(0, 1.2, count)  # the same images are hard for every trial
        psnr = value - drop + hard + rng.normal(0, 0.2, count)
        measured = MEASUREMENT_PSNR[split] + 0.1 * hard
        residual = 10 ** (-psnr / 40)
        rows += [
            {"split": split, "image": i, "psnr": float(psnr[i]), "ssim": float(0.85 + 0.01 * hard[i])}
            | {"measurement_psnr": float(measured[i]), "residual": float(residual[i])}
            for i in range(count)
        ]
        for i in range(min(count, options.panels)):
            panels += _panels(split, i, float(psnr[i]), float(measured[i]))
            panels += _fold_panels(split, i, folds, float(psnr[i])) if i == 0 else []
        means |= {f"{split}_psnr": float(psnr.mean()), f"{split}_ssim": 0.85, f"{split}_residual": residual.mean()}
    writer.final(trial_id, 1, {"images": rows, "panels": panels})
    return means | {"measurement_psnr": MEASUREMENT_PSNR["test"]}


def _write_error(root: Path, trial_id: str, reason: str) -> None:
    folder = root / schema.ERRORS
    folder.mkdir(exist_ok=True)
    (folder / f"{trial_id}.txt").write_text(_TRACE.format(reason), encoding="utf-8")


def _panels(split: str, image: int, psnr: float, measured: float) -> list[dict[str, Any]]:
    wide = split == "ood"
    entries = (
        ("measurement", _noisy(image, wide, measured), measured),
        ("reconstruction", png(_picture(image, wide) + 10 ** (-psnr / 20) * _noise(image)), psnr),
        ("truth", _noisy(image, wide, math.inf), None),
    )
    return [{"split": split, "image": image, "kind": kind, "psnr": db, "png": shown} for kind, shown, db in entries]


def _fold_panels(split: str, image: int, folds: int, psnr: float) -> list[dict[str, Any]]:
    reached = [10 + round((psnr - 10) * (fold / folds) ** 0.5) for fold in range(folds + 1)]
    return [
        {"split": split, "image": image, "kind": "fold", "fold": fold, "psnr": float(db)}
        | {"png": _noisy(image, split == "ood", db)}
        for fold, db in enumerate(reached)
    ]


def _prior(config: dict[str, Any]) -> str:
    return f"{schema.PRIOR_PREFIX}{config['depth']:02x}{config['levels']:02x}"


def _prior_panels() -> list[dict[str, Any]]:
    return [
        {"image": image, "kind": "sample" if image else "mode", "png": _noisy(image, False, 25.0 if image else 40.0)}
        for image in range(4)
    ]


@cache
def _noisy(image: int, wide_eyes: bool, psnr: float) -> bytes:
    return png(_picture(image, wide_eyes) + 10 ** (-psnr / 20) * _noise(image))


@cache
def _noise(image: int) -> np.ndarray:
    return np.random.default_rng(image).normal(0, 1, _picture(image, False).shape)


@cache
def _picture(number: int, wide_eyes: bool, size: int = 32) -> np.ndarray:
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


def _write_study_file(root: Path, trials: int, options: Options) -> None:
    several = len(options.tasks) > 1
    fixed = "" if several else f"task: {options.tasks[0]}, "
    low, high = options.folds
    lines = [
        f"name: {root.name}",
        f"data: {{source: faces, size: 32, train: 400, val: 40, test: {options.images}, ood: anime, seed: 0}}",
        f"fixed: {{{fixed}epochs: {options.epochs}, batch_size: 8}}",
        *([f"tasks: [{', '.join(options.tasks)}]"] if several else []),
        "mode: search",
        "space:",
        "  prox: [glow, resnet, unet]",
        f"  folds: {{int: [{low}, {high}]}}" if low < high else f"  folds: [{low}]",
        "  weights: [tied, untied]",
        "  lr: {float: [1.0e-4, 4.0e-3], log: true}",
        "  depth: {int: [2, 8], when: {prox: glow}}",
        "  levels: {int: [2, 3], when: {prox: glow}}",
        "  pretrain: {choice: [true, false], when: {prox: glow}}",
        "objective: {val_psnr: maximize}",
        f"search: {{sampler: tpe, trials: {max(1, trials // options.repeats // len(options.tasks))}, seed: 0}}",
        *([f"repeats: {options.repeats}"] if options.repeats > 1 else []),
    ]
    (root / schema.STUDY_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    provenance = {
        "flowsearch": "0.1.0",
        "python": "3.11.9",
        "versions": {"torch": "2.13.0", "ray": "2.60.0", "optuna": "5.0.0"},
        "git": {"commit": "c3c85de0f3", "dirty": False},
        "hosts": ["node-1"],
        "data": {"faces": "sha256:5f1d0c", "anime": "sha256:aa20e1"},
        "trials": trials,
    }
    (root / schema.PROVENANCE_FILE).write_text(json.dumps(provenance, indent=2), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    for option in fields(Options):
        flag, known = f"--{option.name.replace('_', '-')}", option.default
        if option.type is bool or option.type == "bool":
            parser.add_argument(flag, action="store_true")
        elif option.name == "folds":
            parser.add_argument(flag, type=int, nargs=2, default=known, metavar=("FEWEST", "MOST"))
        elif option.name in ("tasks", "statuses"):
            parser.add_argument(flag, nargs="+", default=known, help=f"(default: {known})")
        else:
            kind = {"epochs": int, "images": int, "ood": int, "panels": int, "repeats": int, "reason": str}
            parser.add_argument(flag, type=kind.get(option.name, float), default=known, help=f"(default: {known})")
    asked = vars(parser.parse_args())
    folder, trials, seed = asked.pop("folder"), asked.pop("trials"), asked.pop("seed")
    began = time.perf_counter()
    make_study(folder, trials, seed, **asked)
    print(f"{folder}: {trials} trials in {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
