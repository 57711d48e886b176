"""One trial from beginning to end, as a generator that yields a record after each epoch."""

import math
import tempfile
import time
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import mse_loss

from flowsearch.data import Datasets, load
from flowsearch.models import Unrolled, trouble
from flowsearch.operators import Task
from flowsearch.training import checkpoint
from flowsearch.training.build import build_model, build_optimizer
from flowsearch.training.config import TrialConfig
from flowsearch.training.device import check_precision, resolve
from flowsearch.training.errors import NonFiniteError
from flowsearch.training.evaluate import Measured, evaluate, mean, validate
from flowsearch.training.loop import batches, epoch_generator, set_rate, step
from flowsearch.training.memory import peak_bytes, reset_peak
from flowsearch.training.prior import pretrain

Record = dict[str, Any]


def run_trial(
    config: TrialConfig, *, checkpoint_dir: Path | None = None, prior_dir: Path | None = None, device: str = "auto"
) -> Iterator[Record]:
    """Pre-train the prior where asked, train, evaluate the best epoch; yield a record after each epoch and a last one.

    `phase` of a record is `prior`, `train` or `final`; `so_far` of a `train` record is what is known of the trial by
    then. At every yield the state is in `checkpoint_dir`: called again with the same configuration, the trial goes on
    after the last epoch there, and its numbers are those of an undisturbed run. `prior_dir` keeps pre-trained priors,
    for whichever trial needs the same one next (default: beside the checkpoints). Without folders nothing is left
    behind. `device` is `auto` (CUDA where there is one), or torch's name of a device.

    Raises NonFiniteError if a loss or gradient is NaN or infinite, ValueError if the images are not to be had, or
    the device has no use for the precision.
    """
    place = resolve(device)
    check_precision(config.precision, place)
    reset_peak(place)
    with tempfile.TemporaryDirectory(prefix="flowsearch-") as scratch:
        folder = checkpoint_dir or Path(scratch)
        yield from _trial(config, load(config.data), folder, prior_dir or folder / "priors", place)


def _trial(
    config: TrialConfig, datasets: Datasets, folder: Path, prior_dir: Path, device: torch.device
) -> Generator[Record, None, None]:
    last = folder / checkpoint.LAST
    channels = datasets.train.shape[1]
    task = Task.named(config.task, config.data.size, channels)  # first of all: an operator of one's own may be none
    flow, known = None, {"bits_per_dim": None, "seconds": 0.0}
    if config.pretrain and not last.exists():
        flow, known = yield from pretrain(config, datasets, prior_dir, device)
    model = build_model(config, channels, flow, task.operator).to(device)
    fitting = yield from _fit(model, task, config, datasets, folder, device, known)
    tensors, best = checkpoint.read(folder / checkpoint.BEST)
    checkpoint.restore(tensors, model)
    rows, panels = [], []
    sets = {"val": datasets.val, "test": datasets.test} | ({"ood": datasets.ood} if datasets.ood is not None else {})
    for split, images_NCHW in sets.items():
        measured = Measured.of(images_NCHW, task, split, config.data.seed, device)
        split_rows, split_panels = evaluate(model, measured, split)
        rows += split_rows
        panels += split_panels
    by_split = {split: [row for row in rows if row["split"] == split] for split in ("val", "test", "ood")}
    yield {
        "phase": "final",
        "epoch": best["epoch"],
        "val_loss": best["val_loss"],
        "val_psnr": mean(by_split["val"], "psnr"),
        "val_ssim": mean(by_split["val"], "ssim"),
        "test_psnr": mean(by_split["test"], "psnr"),
        "test_ssim": mean(by_split["test"], "ssim"),
        "ood_psnr": mean(by_split["ood"], "psnr"),
        "ood_ssim": mean(by_split["ood"], "ssim"),
        "measurement_psnr": mean(by_split["test"], "measurement_psnr"),
        "epochs_run": fitting["epoch"],
        "best_epoch": best["epoch"],
        **_costs(model, fitting, device),
        "images": [row for row in rows if row["split"] != "val"],
        "panels": [panel for panel in panels if panel["split"] != "val"],
    }


def _fit(
    model: Unrolled,
    task: Task,
    config: TrialConfig,
    datasets: Datasets,
    folder: Path,
    device: torch.device,
    prior: Record,
) -> Generator[Record, None, Record]:
    """Train with the mean squared error; yield a record an epoch; return the state of the fit at its end."""
    measured = Measured.of(datasets.val, task, "val", config.data.seed, device)
    optimizer = build_optimizer(model, config)
    state: Record = {
        "epoch": 0,
        "seconds": 0.0,
        "best_loss": float("inf"),
        "best_epoch": 0,
        "prior_seconds": prior["seconds"],
        "bits_per_dim": prior["bits_per_dim"],
    }
    if (folder / checkpoint.LAST).exists():
        tensors, about = checkpoint.read(folder / checkpoint.LAST)
        checkpoint.restore(tensors, model, optimizer)
        state = about["state"]
    else:
        generator = epoch_generator(config.seed, 0)
        model.initialize(task.measure(next(batches(datasets.train, 64, False, generator, device)), generator))
    per_epoch = -(-len(datasets.train) // config.batch_size)
    while state["epoch"] < config.epochs and not _stale(state, config.patience):
        epoch, began = state["epoch"] + 1, time.perf_counter()
        generator = epoch_generator(config.seed, epoch)
        losses, norms = [], []
        model.train()
        for number, x_BCHW in enumerate(batches(datasets.train, config.batch_size, config.flip, generator, device)):
            done = (epoch - 1) * per_epoch + number
            set_rate(optimizer, done, config.warmup, config.epochs * per_epoch, config.decay)
            y = task.measure(x_BCHW, generator)
            loss = mse_loss(model(y), x_BCHW)
            look = partial(trouble.in_network, model, y)
            norms.append(step(loss, model, optimizer, config.clip, f"epoch {epoch}", look))
            losses.append(loss.item())
        val_loss, psnrs = validate(model, measured)
        if not math.isfinite(val_loss):
            raise NonFiniteError(f"non-finite validation loss at epoch {epoch}")
        took = time.perf_counter() - began
        state = state | {"epoch": epoch, "seconds": state["seconds"] + took}
        about = {"config": config.to_dict(), "epoch": epoch, "val_loss": val_loss, "fingerprint": datasets.fingerprint}
        about["channels"] = datasets.train.shape[1]
        if val_loss < state["best_loss"]:
            state = state | {"best_loss": val_loss, "best_epoch": epoch}
            checkpoint.write(folder / checkpoint.BEST, checkpoint.state_tensors(model), about)
        checkpoint.write(folder / checkpoint.LAST, checkpoint.state_tensors(model, optimizer), about | {"state": state})
        yield {
            "phase": "train",
            "epoch": epoch,
            "so_far": _costs(model, state, device),
            "train_loss": float(np.mean(losses)),
            "val_loss": val_loss,
            "val_psnr": psnrs[-1],
            "lr": optimizer.param_groups[0]["lr"],
            "grad_norm": float(np.mean(norms)),
            "seconds": took,
            "folds": _fold_rows(model, psnrs),
        }
    return state


def count_parameters(model: torch.nn.Module) -> int:
    """Number of trainable numbers."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _costs(model: Unrolled, state: Record, device: torch.device) -> Record:
    """What is known of a trial before it ends: its size, its cost, and how well its prior fits."""
    return {
        "parameters": count_parameters(model),
        "bits_per_dim": state["bits_per_dim"],
        "prior_seconds": state["prior_seconds"],
        "train_seconds": state["seconds"],
        "peak_memory_bytes": peak_bytes(device),
    }


def _stale(state: Record, patience: int | None) -> bool:
    return patience is not None and state["epoch"] - state["best_epoch"] >= patience


def _fold_rows(model: Unrolled, psnrs: list[float]) -> list[Record]:
    lambdas = [None] * model.folds if model.lambda_K is None else model.lambda_K.tolist()
    numbers = zip(model.mu_K.tolist(), lambdas, psnrs, strict=True)
    return [{"fold": k, "mu": mu, "lambda": lam, "psnr": db} for k, (mu, lam, db) in enumerate(numbers, start=1)]
