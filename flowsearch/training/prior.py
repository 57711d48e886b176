"""Pre-training a Glow prior by maximum likelihood (paper eq. (14)), once for all trials that need the same one."""

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import optim

from flowsearch.data import Datasets, load
from flowsearch.flows import Glow, dequantize
from flowsearch.models import trouble
from flowsearch.models.unrolled import in_precision
from flowsearch.training import checkpoint, notice
from flowsearch.training.build import build_flow
from flowsearch.training.config import TrialConfig
from flowsearch.training.device import check_precision, resolve
from flowsearch.training.evaluate import to_png
from flowsearch.training.keeper import Pace
from flowsearch.training.loop import Course, Step, batches, epoch_generator, nothing_done, to_images, to_pixels
from flowsearch.training.prior_store import PRIOR, UNFINISHED, picture_name, prior_key

Record = dict[str, Any]

SAMPLES = 7
"""Samples that are kept as pictures, beside the mode."""
TEMPERATURE = 0.7
"""Spread of the latents of samples that are looked at: fewer broken faces than at the prior's own, 1."""


def run_prior(
    config: TrialConfig, *, checkpoint_dir: Path, prior_dir: Path, device: str = "auto", micro_batch: int | None = None
) -> Iterator[Record]:
    """Pre-train the flow of `config` into the store `prior_dir`; yield a record after each epoch and a last one.

    It is to `pretrain` what `run_trial` is to a trial, and is called in the same way; `checkpoint_dir` is not needed.
    Called again after an interruption it goes on as `pretrain` does; of a finished prior it yields the last record.
    """
    place = resolve(device)
    assert config.precision
    check_precision(config.precision, place)
    _, about = yield from pretrain(config, load(config.data), prior_dir, place, micro_batch)
    yield {
        "phase": "final",
        "epoch": about["epoch"],
        "bits_per_dim": about["bits_per_dim"],
        "prior_seconds": about["seconds"],
    }


def read_prior(path: Path) -> tuple[Glow, Record]:
    """The flow in a file of the store, finished or not, on the CPU, and what is known of it."""
    tensors, about = checkpoint.read(path)
    config = TrialConfig.from_dict(about["config"])
    flow = build_flow(config, about["channels"])
    checkpoint.restore(tensors, flow)
    return flow.eval(), about


def sample(path: Path, count: int, temperature: float, seed: int) -> tuple[np.ndarray, Record]:
    """The mode and samples of a stored prior as pixels, uint8 (1 + count, C, H, W), and what is known of it."""
    flow, about = read_prior(path)
    return to_pixels(mode_and_samples(flow, count, temperature, seed)), about


@torch.no_grad()
def mode_and_samples(flow: Glow, count: int, temperature: float, seed: int) -> torch.Tensor:
    """The mode `g(0)` and `count` samples `g(temperature z)` (paper figure 3), (1 + count, C, H, W)."""
    training = flow.training
    flow.eval()
    drawn_BCHW = flow.sample(count, temperature, torch.Generator().manual_seed(seed))
    images_BCHW = torch.cat((flow.mode(), drawn_BCHW))
    flow.train(training)
    return images_BCHW


@torch.no_grad()
def bits_per_dim(flow: Glow, images_NCHW: np.ndarray, device: torch.device) -> list[float]:
    """The flow's bits per dimension of each of the 8-bit images, with the same dequantization noise at every call."""
    training = flow.training
    flow.eval()
    generator = epoch_generator(0, 0)
    parts = np.array_split(images_NCHW, math.ceil(len(images_NCHW) / 64))
    bits = [flow.bits_per_dim(to_images(part, device), generator) for part in parts]
    flow.train(training)
    return torch.cat(bits).double().tolist()


def pretrain(
    config: TrialConfig, datasets: Datasets, store: Path, device: torch.device, micro_batch: int | None = None
) -> Generator[Record, None, tuple[Glow, Record]]:
    """Yield a record after each epoch; return the flow and what is known of it: `bits_per_dim`, `seconds`, and `bits`,
    those of each image of the test sets by split.

    A prior that the store has is loaded and nothing is yielded. One that was interrupted goes on after the last epoch
    that left a checkpoint (`keeper.Pace`);
    where its file is damaged, it is moved aside and the prior is pre-trained again. Where notice is given that the
    machine will go (`notice`), it stops within an epoch, with a LeavingError, and goes on there.
    `train_loss` is the negative log-likelihood in nats per dimension of the training images with their noise,
    `bits_per_dim` that of the 8-bit validation images.
    """
    images_NCHW = datasets.pretraining
    channels = images_NCHW.shape[1]
    place = store / prior_key(config, datasets.fingerprint)
    finished, unfinished = place / PRIOR, place / UNFINISHED
    flow = build_flow(replace(config, seed=config.prior.seed), channels).to(device)
    if checkpoint.there(finished):
        tensors, known = checkpoint.read(finished)
        checkpoint.restore(tensors, flow)
        return flow, known
    prior = config.prior
    assert config.flip is not None and config.precision
    optimizer = optim.Adam([{"params": list(flow.parameters()), "peak": prior.lr}], lr=prior.lr, fused=True)
    about: Record = {"epoch": 0, "seconds": 0.0, "config": config.to_dict(), "channels": channels}
    if checkpoint.there(unfinished):
        tensors, about = checkpoint.read(unfinished)
        checkpoint.restore(tensors, flow, optimizer)
    under_way, fresh = about.pop("under_way", nothing_done()), not about["epoch"]
    flow.memory = prior.memory
    flow.train()

    def draw(x_BCHW: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor]:
        x_BCHW = dequantize(x_BCHW, generator)
        if prior.noise:
            x_BCHW = x_BCHW + prior.noise * torch.randn(x_BCHW.shape, generator=generator).to(device)
        return (x_BCHW,)

    def keep(last: bool, **more: Any) -> None:
        state = checkpoint.state_tensors(flow, None if last else optimizer)
        checkpoint.write(finished if last else unfinished, state, about | more)

    if micro_batch is not None and fresh and not under_way["losses"]:
        # A flow's actnorms take their start from the first images that they see: the whole batch, as ever.
        generator = epoch_generator(prior.seed, 1)
        x_BCHW = next(batches(images_NCHW, prior.batch_size, config.flip, generator, device))
        with torch.no_grad():
            likelihood_loss(flow, config.precision, *draw(x_BCHW, generator))
    course = Course(
        step=Step(partial(likelihood_loss, flow, config.precision), flow, optimizer, prior.clip),
        images_NCHW=images_NCHW,
        draw=draw,
        look=partial(trouble.in_flow, flow),
        seed=prior.seed,
        batch_size=prior.batch_size,
        flip=config.flip,
        epochs=prior.epochs,
        warmup=prior.warmup,
        decay="cosine",
        device=device,
        micro_batch=micro_batch,
        called=" of pre-training",
    )
    pace = Pace()
    for epoch in range(about["epoch"] + 1, prior.epochs + 1):
        began = time.perf_counter() - under_way["seconds"]
        try:
            done, under_way = course.epoch(epoch, under_way), nothing_done()
        except notice.LeavingError as leaving:
            keep(False, under_way=leaving.under_way)
            raise
        took = time.perf_counter() - began
        record = {
            "phase": "prior",
            "epoch": epoch,
            "train_loss": float(np.mean(done["losses"])),
            "bits_per_dim": float(np.mean(bits_per_dim(flow, datasets.val, device))),
            "lr": optimizer.param_groups[0]["lr"],
            "grad_norm": float(np.mean(done["norms"])),
            "seconds": took,
        }
        about |= {"epoch": epoch, "seconds": about["seconds"] + took, "bits_per_dim": record["bits_per_dim"]}
        about["record"] = record
        last = epoch == prior.epochs
        if last:
            sets = {"test": datasets.test, "ood": datasets.ood}
            about["bits"] = {
                split: bits_per_dim(flow, images, device) for split, images in sets.items() if images is not None
            }
            _keep_pictures(flow, place)
        with pace.after_epoch(partial(keep, last), last) as is_kept:
            yield record | {"kept": is_kept}
    unfinished.unlink(missing_ok=True)
    assert config.memory
    flow.memory = config.memory
    return flow, about


def _keep_pictures(flow: Glow, place: Path) -> None:
    """Leave the mode and a few samples in the store, for every study that uses the prior."""
    for number, x_CHW in enumerate(mode_and_samples(flow, SAMPLES, TEMPERATURE, 0)):
        picture = place / picture_name(number)
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(to_png(x_CHW))


def likelihood_loss(flow: Glow, precision: str, x_BCHW: torch.Tensor) -> torch.Tensor:
    """The negative log-likelihood in nats per dimension."""
    with in_precision(precision, x_BCHW.device):
        return -flow.log_prob(x_BCHW).mean() / x_BCHW[0].numel()
