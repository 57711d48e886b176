"""What pre-training and fitting share: batches, one optimizer step that refuses bad numbers, rates over time."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn, optim

from flowsearch.models import trouble
from flowsearch.training.errors import NonFiniteError
from flowsearch.training.gradient import Gradient
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
