"""Instant stand-ins for `training.run_trial`: workers import them by path, e.g. `study_fakes:run_trial`."""

import errno
import json
import logging
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowsearch.training.config import TrialConfig
from flowsearch.training.errors import DataError, NonFiniteError
from flowsearch.training.header import LAST, about
from flowsearch.training.prior_store import PRIOR

Record = dict[str, Any]


def quality(config: TrialConfig) -> float:
    """A made-up PSNR that depends on the configuration only."""
    assert config.lr is not None
    return 25 + config.folds - 400 * abs(config.lr - 5e-4) + {"glow": 1.0, "resnet": 0.5, "unet": 0.0}[config.prox]


def train_record(config: TrialConfig, epoch: int) -> Record:
    """The record of an epoch; better with time."""
    psnr = quality(config) - 3 / epoch
    folds = [
        {"fold": k, "mu": 0.5, "lambda": 0.01 if config.prox == "glow" else None, "psnr": psnr}
        for k in range(1, config.folds + 1)
    ]
    return {
        "phase": "train",
        "epoch": epoch,
        "so_far": {"parameters": 1000 * config.folds},
        "train_loss": 10 / psnr,
        "val_loss": 10 / psnr,
        "val_psnr": psnr,
        "lr": config.lr,
        "grad_norm": 0.1,
        "seconds": 0.01,
        "folds": folds,
    }


def final_record(config: TrialConfig) -> Record:
    """The last record."""
    psnr = quality(config) - 3 / config.epochs
    return {
        "phase": "final",
        "epoch": config.epochs,
        "parameters": 1000 * config.folds,
        "val_loss": 10 / psnr,
        "val_psnr": psnr,
        "val_ssim": 0.9,
        "test_psnr": psnr - 0.1,
        "test_ssim": 0.89,
        "ood_psnr": psnr - 2,
        "ood_ssim": 0.8,
        "measurement_psnr": 20.0,
        "bits_per_dim": None,
        "epochs_run": config.epochs,
        "best_epoch": config.epochs,
        "prior_seconds": 0.0,
        "train_seconds": 0.1,
        "peak_memory_bytes": 2**20,
        "images": [{"split": "test", "image": 0, "psnr": psnr, "ssim": 0.9, "measurement_psnr": 20.0}],
        "panels": [{"split": "test", "image": 0, "kind": "truth", "psnr": None, "png": b"png"}],
    }


def leave(path: Path, subject: dict[str, Any]) -> None:
    """A checkpoint without tensors, as the format defines it: this module does without torch."""
    header = json.dumps({"__metadata__": {"about": json.dumps(subject)}}).encode()
    aside = path.with_name(f".{path.name}")
    aside.write_bytes(struct.pack("<Q", len(header)) + header)
    aside.replace(path)


def run_trial(
    config: TrialConfig, *, checkpoint_dir: Path, prior_dir: Path | None = None, device: str = "cpu", pause: float = 0.0
) -> Iterator[Record]:
    """Go on after the last epoch in `checkpoint_dir`, as the real one does."""
    state = checkpoint_dir / LAST
    done = about(state)["epoch"] if state.exists() else 0
    for epoch in range(done + 1, config.epochs + 1):
        time.sleep(pause)
        record = train_record(config, epoch)
        leave(state, {"phase": "train", "epoch": epoch, "record": record})
        yield record
    yield final_record(config)


def silent_trial(config: TrialConfig, *, checkpoint_dir: Path, **where: Any) -> Iterator[Record]:
    """Dies once with its second epoch kept and not told."""
    for record in run_trial(config, checkpoint_dir=checkpoint_dir, **where):
        if record["epoch"] == 2 and not (checkpoint_dir / "died").exists():
            (checkpoint_dir / "died").touch()
            os._exit(1)
        yield record


def cramped_trial(config: TrialConfig, *, checkpoint_dir: Path, **where: Any) -> Iterator[Record]:
    """Finds a full disk after its first epoch, until there is room."""
    for record in run_trial(config, checkpoint_dir=checkpoint_dir, **where):
        yield record
        if not (checkpoint_dir.parent / "room").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(checkpoint_dir / LAST))


def slow_trial(config: TrialConfig, **where: Any) -> Iterator[Record]:
    """Half a second an epoch."""
    return run_trial(config, pause=0.5, **where)


def lasting_trial(config: TrialConfig, **where: Any) -> Iterator[Record]:
    """An epoch at once, and five seconds for each of the others, so that two that wait for each other's first epoch
    both run, however long the second one's process took to start."""
    for record in run_trial(config, **where):
        yield record
        time.sleep(5)


HOLD = "hold"
"""A file beside the checkpoints: trials with a higher number than it says are held up."""


def quick_trial(config: TrialConfig, *, checkpoint_dir: Path, **where: Any) -> Iterator[Record]:
    """A fifth of a second an epoch, and two seconds for one who is held up."""
    hold = checkpoint_dir.parent / HOLD
    held = hold.exists() and int(checkpoint_dir.name) > int(hold.read_text())
    return run_trial(config, checkpoint_dir=checkpoint_dir, pause=2.0 if held else 0.2, **where)


def broken_trial(config: TrialConfig, **where: Any) -> Iterator[Record]:
    """Breaks at once, whatever its configuration."""
    raise KeyError("no such layer")
    yield


def hungry_trial(config: TrialConfig, *, micro_batch: int | None = None, **where: Any) -> Iterator[Record]:
    """Runs out of memory in its second epoch, unless its batch is halved."""
    records = run_trial(config, **where)
    if micro_batch is None:
        yield next(records)
        raise MemoryError
    yield from records


def troubled_trial(config: TrialConfig, *, checkpoint_dir: Path, **where: Any) -> Iterator[Record]:
    """Goes wrong in a way that its seed names, and warns of seeds 3, 5 and 6 where it begins."""
    if config.seed in (3, 5, 6):
        logging.getLogger("flowsearch.training").warning("seed %d is an odd one", config.seed)
    yield train_record(config, 1)
    if config.seed == 1:
        raise NonFiniteError("non-finite loss at epoch 2")
    if config.seed == 2:
        raise MemoryError
    if config.seed == 3:
        raise KeyError("no such thing")
    if config.seed == 4:
        raise SystemExit(3)
    if config.seed == 5 and not (checkpoint_dir / "died").exists():
        (checkpoint_dir / "died").touch()
        os._exit(1)
    if config.seed == 6:
        os._exit(1)
    if config.seed == 7:
        raise DataError("data.root has no images")
    yield final_record(config)


def leave_prior(folder: Path) -> None:
    """A finished prior, but for its tensors."""
    leave(folder / PRIOR, {})


def run_prior(config: TrialConfig, *, checkpoint_dir: Path, pause: float = 0.05, **where: Any) -> Iterator[Record]:
    """Leave a prior that is a number, after as many epochs as asked for; one line in `begun` for each beginning."""
    with (checkpoint_dir / "begun").open("a") as file:
        file.write("begun\n")
    for epoch in range(1, config.prior.epochs + 1):
        time.sleep(pause)
        yield {"phase": "prior", "epoch": epoch, "train_loss": 1.0, "bits_per_dim": 4.0, "seconds": pause}
    leave_prior(checkpoint_dir)
    yield {"phase": "final", "epoch": config.prior.epochs}


def failing_prior(config: TrialConfig, **where: Any) -> Iterator[Record]:
    """Diverges where the flow has two levels."""
    if config.levels == 2:
        raise NonFiniteError("non-finite loss at epoch 1 of pre-training")
    return run_prior(config, **where)


def trial_with_prior(config: TrialConfig, *, checkpoint_dir: Path, prior_dir: Path, **where: Any) -> Iterator[Record]:
    """Fails where its prior is not in the store."""
    if config.pretrain and not list(prior_dir.glob("*/prior.safetensors")):
        raise FileNotFoundError("no prior in the store")
    return run_trial(config, checkpoint_dir=checkpoint_dir, prior_dir=prior_dir, **where)
