"""Trains a network to its best epoch: what unrolled networks, plain ones and denoisers have in common."""

import math
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.nn.modules.batchnorm import _BatchNorm

from flowsearch.data import Datasets
from flowsearch.models import Denoiser, Unrolled, trouble
from flowsearch.operators import Task
from flowsearch.training import checkpoint, notice
from flowsearch.training.build import build_optimizer
from flowsearch.training.config import TrialConfig
from flowsearch.training.errors import NonFiniteError
from flowsearch.training.evaluate import Measured, validate
from flowsearch.training.keeper import Keeper
from flowsearch.training.loop import Course, Step, batches, epoch_generator, nothing_done, seeded, to_images
from flowsearch.training.memory import peak_bytes

Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a trial works with: its configuration, images, task (the operator on the device), folders and device."""

    config: TrialConfig
    datasets: Datasets
    task: Task
    folder: Path
    prior_dir: Path
    device: torch.device
    micro_batch: int | None = None
    """Images whose gradient is computed at once; None takes all of an optimizer step."""

    def measured(self, split: str) -> Measured:
        """The images of a split (`val`, `test` or `ood`) and their measurements, the same in every trial."""
        images_NCHW = {"val": self.datasets.val, "test": self.datasets.test, "ood": self.datasets.ood}[split]
        assert images_NCHW is not None
        return Measured.of(images_NCHW, self.task, split, self.config.data.seed, self.device)

    def drawing(self, epoch: int, number: int) -> AbstractContextManager[None]:
        """Within it, what a part of one's own draws by torch's global generators (dropout, say) depends on the trial's
        seed, the epoch and the number of the step in it only, so that training can go on at any step.

        Built-in parts draw nothing by them, and are left alone: their steps may be replayed as CUDA graphs, which keep
        the state of a generator to themselves. Steps with parts of one's own never are (`has_own_parts`).
        """
        return seeded(self.config.seed, epoch, number, self.device) if self.config.has_own_parts else nullcontext()


class Goal(Protocol):
    """What a network is trained for."""

    phase: str
    """`phase` of an epoch's record: `train`, or `prior` for what a reconstruction is built on."""

    def draw(self, x_BCHW: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """What the loss takes of a batch of training images: their measurements, drawn here, and themselves."""
        ...

    def loss(self, *part: Tensor) -> Tensor:
        """The loss on what `draw` gave, or on some of its images: a mean over images."""
        ...

    def validate(self) -> tuple[float, list[float] | None]:
        """The validation loss; and the mean PSNR after each fold, where images are reconstructed."""
        ...

    def begin(self, generator: torch.Generator) -> None:
        """Called once, before the first step."""
        ...

    def look(self, *batch: Tensor) -> str | None:
        """The part of the network where the loss of what `draw` gave stopped being finite, as far as can be told."""
        ...


class Reconstruct:
    """|R(y) - x|^2, the mean squared error of the reconstructions, of an unrolled or a plain network."""

    phase = "train"

    def __init__(self, model: nn.Module, setting: Setting) -> None:
        self.model, self.setting = model, setting
        self.val = setting.measured("val")

    def draw(self, x_BCHW: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """See `Goal`."""
        return self.setting.task.measure(x_BCHW, generator), x_BCHW

    def loss(self, *part: Tensor) -> Tensor:
        """See `Goal`."""
        y, x_BCHW = part
        return mse_loss(self.model(y), x_BCHW)

    def validate(self) -> tuple[float, list[float] | None]:
        """See `Goal`."""
        return validate(self.model, self.val)

    def begin(self, generator: torch.Generator) -> None:
        """Let what has a data-dependent start take it."""
        if isinstance(self.model, Unrolled):
            x_BCHW = next(batches(self.setting.datasets.train, 64, False, generator, self.setting.device))
            self.model.initialize(self.setting.task.measure(x_BCHW, generator))

    def look(self, *batch: Tensor) -> str | None:
        """See `Goal`."""
        return trouble.in_network(self.model, batch[0]) if isinstance(self.model, Unrolled) else None


class RemoveNoise:
    """|D(x + s n, s) - x|^2 with n standard normal and s uniform from 0 to `noise`."""

    phase = "prior"

    def __init__(self, model: Denoiser, setting: Setting, noise: float) -> None:
        self.model, self.noise = model, noise
        self.val_BCHW = to_images(setting.datasets.val, setting.device)

    def draw(self, x_BCHW: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """See `Goal`."""
        return *self._noisy(x_BCHW, generator), x_BCHW

    def loss(self, *part: Tensor) -> Tensor:
        """See `Goal`."""
        noisy_BCHW, noise_B, x_BCHW = part
        return mse_loss(self.model(noisy_BCHW, noise_B), x_BCHW)

    @torch.no_grad()
    def validate(self) -> tuple[float, list[float] | None]:
        """The loss on the validation images, with the same noise at every call."""
        self.model.eval()
        generator = epoch_generator(0, 0)
        noisy_BCHW, noise_B = self._noisy(self.val_BCHW, generator)
        parts = zip(noisy_BCHW.split(64), noise_B.split(64), strict=True)
        return float(mse_loss(torch.cat([self.model(*part) for part in parts]), self.val_BCHW)), None

    def begin(self, generator: torch.Generator) -> None:
        """Nothing."""

    def look(self, *batch: Tensor) -> str | None:
        """Nowhere in particular."""
        return None

    def _noisy(self, x_BCHW: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        noise_B = (self.noise * torch.rand(len(x_BCHW), generator=generator)).to(x_BCHW)
        normal_BCHW = torch.randn(x_BCHW.shape, generator=generator).to(x_BCHW)
        return x_BCHW + noise_B[:, None, None, None] * normal_BCHW, noise_B


def fit(model: nn.Module, goal: Goal, setting: Setting, prior: Record | None = None) -> Generator[Record, None, Record]:
    """Train, yielding a record an epoch; return what is known at the end, with the best epoch's weights in the model.

    `prior` is what `pretrain` returned of the flow, where there is one. The state is in the setting's folder once the
    generator is closed, and at every yield whose record is `kept` (`keeper`); a fit goes on from there. Where notice is
    given that the machine will go (`notice`), it is kept in the middle of an epoch too.

    Raises NonFiniteError if a loss or gradient is NaN or infinite, MemoryError if micro-batches are asked for where
    they would train another network, LeavingError after a notice.
    """
    if setting.micro_batch is not None and any(isinstance(one, _BatchNorm) for one in model.modules()):
        raise MemoryError("out of memory, and batch normalization takes no smaller micro-batches")
    config, datasets, folder = setting.config, setting.datasets, setting.folder
    assert config.epochs and config.batch_size and config.clip and config.decay
    assert config.warmup is not None and config.flip is not None
    optimizer = build_optimizer(model, config)
    state: Record = {"epoch": 0, "seconds": 0.0, "best_loss": float("inf"), "best_epoch": 0, "prior": prior or {}}
    under_way = nothing_done()
    found = _last(folder)
    if found is not None:
        tensors, kept = found
        try:
            checkpoint.restore(tensors, model, optimizer)
        except RuntimeError as error:
            raise ValueError(
                f"{folder / checkpoint.LAST} does not fit the network of its configuration, as when it was written by "
                f"an earlier version or by other code of one's own; remove it to start anew "
                f"({str(error).splitlines()[-1].strip()})"
            ) from error
        state, under_way = kept["state"], kept.get("under_way", under_way)
    else:
        with setting.drawing(0, 0):
            goal.begin(epoch_generator(config.seed, 0))
    keeper = Keeper(folder, model, optimizer)
    course = Course(
        step=Step(goal.loss, model, optimizer, config.clip, graphs=not config.has_own_parts),
        images_NCHW=datasets.train,
        draw=goal.draw,
        look=goal.look,
        seed=config.seed,
        batch_size=config.batch_size,
        flip=config.flip,
        epochs=config.epochs,
        warmup=config.warmup,
        decay=config.decay,
        device=setting.device,
        micro_batch=setting.micro_batch,
        drawing=setting.drawing,
    )
    about: Record = {"config": config.to_dict(), "fingerprint": datasets.fingerprint, "phase": goal.phase}
    about |= {"channels": datasets.train.shape[1], "images": datasets.digests()}
    while state["epoch"] < config.epochs and not _stale(state, config.patience):
        epoch, began = state["epoch"] + 1, time.perf_counter() - under_way["seconds"]
        model.train()
        try:
            done, under_way = course.epoch(epoch, under_way), nothing_done()
        except notice.LeavingError as leaving:
            keeper.write(about | {"epoch": state["epoch"], "state": state, "under_way": leaving.under_way})
            raise
        with setting.drawing(epoch, course.per_epoch):
            val_loss, psnrs = goal.validate()
        if not math.isfinite(val_loss):
            raise NonFiniteError(f"non-finite validation loss at epoch {epoch}")
        took = time.perf_counter() - began
        state = state | {"epoch": epoch, "seconds": state["seconds"] + took}
        told = about | {"epoch": epoch, "val_loss": val_loss}
        if val_loss < state["best_loss"]:
            state = state | {"best_loss": val_loss, "best_epoch": epoch}
            keeper.is_best(told)
        last = epoch == config.epochs or _stale(state, config.patience)
        record = {
            "phase": goal.phase,
            "epoch": epoch,
            "so_far": costs(model, state, setting.device),
            "train_loss": float(np.mean(done["losses"])),
            "val_loss": val_loss,
            "val_psnr": None if psnrs is None else psnrs[-1],
            "lr": optimizer.param_groups[0]["lr"],
            "grad_norm": float(np.mean(done["norms"])),
            "seconds": took,
            "folds": _fold_rows(model, psnrs) if isinstance(model, Unrolled) else [],
        }
        with keeper.after_epoch(told | {"state": state, "record": record}, last) as is_kept:
            yield record | {"kept": is_kept}
    tensors, _ = checkpoint.read(folder / checkpoint.BEST)
    checkpoint.restore(tensors, model)
    return state


def _last(folder: Path) -> tuple[dict[str, Tensor], Record] | None:
    """The state to go on from; None where there is none, or the best weights that it counts on are gone."""
    if not checkpoint.there(folder / checkpoint.LAST):
        return None
    tensors, kept = checkpoint.read(folder / checkpoint.LAST)
    return (tensors, kept) if not kept["state"]["best_epoch"] or checkpoint.there(folder / checkpoint.BEST) else None


def count_parameters(model: nn.Module) -> int:
    """Number of numbers that were trained, by this trial or for its prior; those of an operator are given."""
    given = (
        {id(parameter) for parameter in cast(nn.Module, model.operator).parameters()}
        if hasattr(model, "operator")
        else set()
    )
    return sum(parameter.numel() for parameter in model.parameters() if id(parameter) not in given)


def costs(model: nn.Module, state: Record, device: torch.device) -> Record:
    """What is known of a trial before it ends: its size, its cost, and how well its prior fits."""
    prior = state["prior"]
    return {
        "parameters": count_parameters(model),
        "bits_per_dim": prior.get("bits_per_dim"),
        "prior_seconds": prior.get("seconds", 0.0),
        "train_seconds": state["seconds"],
        "peak_memory_bytes": peak_bytes(device),
    }


def _stale(state: Record, patience: int | None) -> bool:
    return patience is not None and state["epoch"] - state["best_epoch"] >= patience


def _fold_rows(model: Unrolled, psnrs: list[float] | None) -> list[Record]:
    assert psnrs is not None
    lambdas = [None] * model.folds
    if model.lambda_K is not None:
        lambdas[: model.mapped_folds] = model.lambda_K[: model.mapped_folds].tolist()
    numbers = zip(model.mu_K.tolist(), lambdas, psnrs, strict=True)
    return [{"fold": k, "mu": mu, "lambda": lam, "psnr": db} for k, (mu, lam, db) in enumerate(numbers, start=1)]
