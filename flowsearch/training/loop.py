"""What pre-training and fitting share: epochs of optimizer steps that refuse bad numbers, batches, rates over time."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn, optim

from flowsearch.models import trouble
from flowsearch.training import notice
from flowsearch.training.errors import NonFiniteError
from flowsearch.training.gradient import Gradient
from flowsearch.training.memory import keep_freed
from flowsearch.training.metrics import clip


def to_images(batch_BCHW: np.ndarray, device: torch.device) -> Tensor:
    """8-bit images as float32 in [-0.5, 0.5] on the device."""
    return torch.from_numpy(np.array(batch_BCHW)).to(device).float().div_(255).sub_(0.5)


def to_pixels(x_BCHW: Tensor) -> np.ndarray:
    """Images as `to_images` makes them, clipped, as uint8 of the same shape."""
    return ((clip(x_BCHW) + 0.5) * 255).round().to(torch.uint8).cpu().numpy()


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """The source of all randomness of one epoch; it depends on nothing before, so training can go on at any epoch."""
    return torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)


@contextmanager
def seeded(seed: int, epoch: int, number: int, device: torch.device) -> Iterator[None]:
    """Within it torch's global generators, the CPU's and that of a CUDA `device`, start from these numbers alone;
    after it they go on as if nothing had been drawn."""
    value = ((seed * 1_000_003 + epoch) * 1_000_003 + number) % 2**63
    gpus = [torch.cuda.current_device() if device.index is None else device.index] if device.type == "cuda" else []
    with torch.random.fork_rng(gpus, device_type="cuda"):
        # Not torch.manual_seed, which seeds every GPU and takes 30 times as long.
        for generator in (torch.default_generator, *(torch.cuda.default_generators[gpu] for gpu in gpus)):
            generator.manual_seed(value)
        yield


def batches(
    images_NCHW: np.ndarray, batch_size: int, flip: bool, generator: torch.Generator, device: torch.device
) -> Iterator[Tensor]:
    """All images once in random order, in equal batches as far as they go, mirrored left to right at random."""
    order = torch.randperm(len(images_NCHW), generator=generator).numpy()
    for chosen in np.array_split(order, math.ceil(len(order) / batch_size)):
        x_BCHW = to_images(images_NCHW[chosen], device)
        if flip:
            mirrored = torch.rand(len(x_BCHW), generator=generator) < 0.5
            x_BCHW[mirrored] = x_BCHW[mirrored].flip(-1)
        yield x_BCHW


def split(batch: Sequence[Tensor], micro_batch: int | None) -> list[tuple[Tensor, ...]]:
    """The tensors of a batch in about equal parts of at most `micro_batch` images; None leaves it whole."""
    count = 1 if micro_batch is None else math.ceil(len(batch[0]) / micro_batch)
    return list(zip(*(tensor.tensor_split(count) for tensor in batch), strict=True))


class Step:
    """An optimizer step of `model` with the norm of the gradient of `loss` bounded by `clip`, to call again and again.

    `loss` takes the tensors of a batch, or of a part of one, and is a mean over images. `graphs` as in `Gradient`.
    """

    def __init__(
        self,
        loss: Callable[..., Tensor],
        model: nn.Module,
        optimizer: optim.Optimizer,
        clip: float,
        *,
        graphs: bool = True,
    ) -> None:
        self.model, self.optimizer, self.clip = model, optimizer, clip
        self.gradient = Gradient(loss, list(model.parameters()), graphs=graphs)
        keep_freed()

    def __call__(
        self, parts: Sequence[tuple[Tensor, ...]], where: str, look: Callable[[], str | None]
    ) -> tuple[float, float]:
        """The loss, and the norm of its gradient before it was bounded.

        The batch comes in `parts` (see `split`), over which the gradient is added up: each part counts by its number of
        images, so that the sum is the whole batch's gradient.

        Raises NonFiniteError, and leaves the weights as they were, if the loss or the gradient is NaN or infinite;
        `look` then finds the part of the network where the loss went wrong.
        """
        loss = self._descent(parts)
        gradients = [parameter.grad for parameter in self.gradient.parameters if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        found, size = torch.stack((loss, norm.to(loss))).tolist()
        if not math.isfinite(found):
            raise NonFiniteError(_told(f"non-finite loss at {where}", look()))
        if not math.isfinite(size):
            raise NonFiniteError(_told(f"non-finite gradient at {where}", trouble.in_gradient(self.model)))
        if size > self.clip:
            nn.utils.clip_grads_with_norm_(self.gradient.parameters, self.clip, norm)
        self.optimizer.step()
        return found, size

    def _descent(self, parts: Sequence[tuple[Tensor, ...]]) -> Tensor:
        if len(parts) == 1:
            return self.gradient(parts[0])
        self.optimizer.zero_grad(set_to_none=True)
        images = sum(len(part[0]) for part in parts)
        return torch.stack([self.gradient.add(part, len(part[0]) / images) for part in parts]).sum()


def _told(what: str, place: str | None) -> str:
    return f"{what}: {place}" if place else what


def set_rate(optimizer: optim.Optimizer, number: int, warmup: int, total: int, decay: str) -> None:
    """Set the rates of optimizer step `number` (from 0) of `total`.

    They rise in a line over `warmup` steps (at most a fifth of all), then stay (`constant`) or fall by half a cosine to
    a hundredth (`cosine`). Each group's `peak` is its full rate.
    """
    warmup = min(warmup, total // 5)
    factor = min(1.0, (number + 1) / (warmup + 1))
    if decay == "cosine" and number > warmup:
        factor = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (number - warmup) / max(1, total - warmup)))
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


UnderWay = dict[str, Any]
"""What has been done of an epoch: the `losses` and gradient `norms` of its steps, and the `seconds` that they took."""


def nothing_done() -> UnderWay:
    """Of an epoch that has not begun."""
    return {"losses": [], "norms": [], "seconds": 0.0}


@dataclass(frozen=True, kw_only=True)
class Course:
    """The steps of a training, epoch by epoch; which ones they are depends on the epoch and these settings only."""

    step: Step
    images_NCHW: np.ndarray
    draw: Callable[[Tensor, torch.Generator], tuple[Tensor, ...]]
    """What the loss takes of a batch of images."""
    look: Callable[..., str | None]
    """The part of the network where the loss of such a batch stopped being finite."""
    seed: int
    batch_size: int
    flip: bool
    epochs: int
    warmup: int
    decay: str
    device: torch.device
    micro_batch: int | None = None
    drawing: Callable[[int, int], AbstractContextManager[None]] = lambda epoch, number: nullcontext()
    """Within it the step of that epoch and number is taken."""
    called: str = ""
    """What follows the number of an epoch where it is told of."""

    @property
    def per_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        return -(-len(self.images_NCHW) // self.batch_size)

    def epoch(self, epoch: int, before: UnderWay) -> UnderWay:
        """Take the steps of an epoch (from 1) that `before` lacks; give what all of them came to.

        Raises NonFiniteError as `Step` does, and LeavingError, with what has been done, where notice is given.
        """
        losses, norms = list(before["losses"]), list(before["norms"])
        began = time.perf_counter() - before["seconds"]
        generator = epoch_generator(self.seed, epoch)
        images = batches(self.images_NCHW, self.batch_size, self.flip, generator, self.device)
        for number, x_BCHW in enumerate(images):
            batch = self.draw(x_BCHW, generator)
            if number < len(before["losses"]):
                continue  # drawn all the same, so that the next batch is what it would have been
            done = (epoch - 1) * self.per_epoch + number
            set_rate(self.step.optimizer, done, self.warmup, self.epochs * self.per_epoch, self.decay)
            with self.drawing(epoch, number):
                parts = split(batch, self.micro_batch)
                loss, norm = self.step(parts, f"epoch {epoch}{self.called}", partial(self.look, *batch))
            losses.append(loss)
            norms.append(norm)
            so_far = {"losses": losses, "norms": norms, "seconds": time.perf_counter() - began}
            if notice.given() and number + 1 < self.per_epoch:
                said = f"kept after {number + 1} of {self.per_epoch} steps of epoch {epoch}{self.called}"
                raise notice.LeavingError(said, so_far)
        return so_far
