"""The methods: each a generator that yields a trial's records up to the last one, and returns what reconstructs.

A method that is not trained epoch by epoch chooses its one open number on the validation images (`tune`) and yields
one `train` record for it, epoch 1. The choice is kept beside the checkpoints, so that a trial goes on after it.
"""

import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import torch
from torch import nn

from flowsearch.models import (
    Adjoint,
    Denoiser,
    LatentMap,
    Measurement,
    PlugAndPlay,
    TotalVariation,
)
from flowsearch.training import checkpoint
from flowsearch.training.build import build_feedforward, build_model, build_prox
from flowsearch.training.errors import NonFiniteError
from flowsearch.training.evaluate import Measured, validate
from flowsearch.training.fit import Reconstruct, Record, RemoveNoise, Setting, costs, fit
from flowsearch.training.metrics import psnr
from flowsearch.training.prior import pretrain
from flowsearch.training.tuning import tune

TUNING_IMAGES = 16
"""Validation images that a number is tuned on, at most: the first ones."""


@dataclass(frozen=True, kw_only=True)
class Solution:
    """What reconstructs, `model(y) -> x`, and what is known of how it came to be."""

    model: nn.Module
    state: Record
    """`seconds` spent, `prior` (what `pretrain` returned), and the epochs of a fit."""
    used: Record = field(default_factory=dict)
    """The numbers that were given or tuned, as the results' columns call them."""


Method = Generator[Record, None, Solution]


def unrolled(setting: Setting) -> Method:
    """Pre-train the flow where asked, then train the unrolled network (paper section IV-C)."""
    config = setting.config
    flow, known = None, None
    if config.pretrain and not (setting.folder / checkpoint.LAST).exists():
        flow, known = yield from pretrain(
            config, setting.datasets, setting.prior_dir, setting.device, setting.micro_batch
        )
    model = build_model(config, setting.datasets.train.shape[1], flow, setting.task.operator).to(setting.device)
    state = yield from fit(model, Reconstruct(model, setting), setting, known)
    return Solution(model=model, state=state)


def feedforward(setting: Setting) -> Method:
    """Train a plain network on A^T y / |A|^2 as the unrolled ones are trained."""
    network = build_feedforward(setting.config, setting.datasets.train.shape[1], setting.task.operator)
    model = network.to(setting.device)
    state = yield from fit(model, Reconstruct(model, setting), setting)
    return Solution(model=model, state=state)


def plug_and_play(setting: Setting) -> Method:
    """Train a denoiser, then choose its strength and the number of iterations."""
    config = setting.config
    assert config.denoiser_noise and config.iterations and config.step and config.precision
    denoiser = Denoiser(build_prox(config, setting.datasets.train.shape[1] + 1), config.precision).to(setting.device)
    state = yield from fit(denoiser, RemoveNoise(denoiser, setting, config.denoiser_noise), setting)
    model = PlugAndPlay(setting.task.operator, denoiser.eval(), config.denoiser_noise, config.step, config.iterations)

    def choose(few: Measured) -> Record:
        def score(strength: float) -> float:
            model.strength = strength
            return max(_course(model, few))

        assert config.denoiser_noise
        low, high = config.denoiser_noise / 30, config.denoiser_noise
        model.strength = config.strength or tune(score, low, high, most=0)[0]
        course = _course(model, few)
        return {"used_strength": model.strength, "used_iterations": course.index(max(course)) + 1}

    def apply(used: Record) -> None:
        model.strength, model.iterations = used["used_strength"], used["used_iterations"]

    return (yield from _chosen(setting, model, state, choose, apply))


def latent_map(setting: Setting) -> Method:
    """Pre-train the flow, or take it from the store, then choose gamma."""
    config = setting.config
    assert config.iterations
    flow, known = yield from pretrain(config, setting.datasets, setting.prior_dir, setting.device)
    model = LatentMap(setting.task.operator, flow, config.gamma or 0.0, config.iterations)

    def choose(few: Measured) -> Record:
        def score(gamma: float) -> float:
            model.gamma = gamma
            return _mean_psnr(model, few)

        return {"used_gamma": config.gamma if config.gamma is not None else tune(score, 1e-3, 1.0, refinements=1)[0]}

    def apply(used: Record) -> None:
        model.gamma = used["used_gamma"]

    return (yield from _chosen(setting, model, {"seconds": 0.0, "prior": known}, choose, apply))


def total_variation(setting: Setting) -> Method:
    """Choose the weight of the total variation."""
    operator = setting.task.operator
    model = TotalVariation(operator, setting.config.tv_weight or 1.0)

    def choose(few: Measured) -> Record:
        rough = TotalVariation(operator, 1.0, tolerance=1e-2, most_iterations=1000)
        scale = operator.norm**2  # |A x - y|^2 grows by it, and the weight that suits with it

        def score(weight: float) -> float:
            rough.weight = weight
            return float(psnr(rough.solve(few.y)[0], few.truth_BCHW).mean())

        return {"used_tv_weight": setting.config.tv_weight or tune(score, 1e-3 * scale, 1e-1 * scale, most=5)[0]}

    def apply(used: Record) -> None:
        model.weight = used["used_tv_weight"]

    return (yield from _chosen(setting, model, {"seconds": 0.0, "prior": {}}, choose, apply))


def adjoint(setting: Setting) -> Method:
    """Nothing is trained: images (B, C, H, W) are A^T y / |A|^2, one data step from zero (paper eq. (8); `Adjoint`),
    for a network to beat."""
    return (yield from _plain(setting, Adjoint(setting.task.operator)))


def measurement(setting: Setting) -> Method:
    """Nothing is reconstructed: images are y where it has their shape (B, C, H, W), A^T y / |A|^2 elsewhere (see
    `Measurement`), the floor that each method's gain is counted from."""
    return (yield from _plain(setting, Measurement(setting.task.operator)))


METHODS: dict[str, Callable[[Setting], Method]] = {
    "unrolled": unrolled,
    "feedforward": feedforward,
    "pnp": plug_and_play,
    "map": latent_map,
    "tv": total_variation,
    "adjoint": adjoint,
    "measurement": measurement,
}


def _plain(setting: Setting, model: nn.Module) -> Method:
    return (yield from _chosen(setting, model, {"seconds": 0.0, "prior": {}}, lambda _: {}, lambda _: None))


def _chosen(
    setting: Setting,
    model: nn.Module,
    state: Record,
    choose: Callable[[Measured], Record],
    apply: Callable[[Record], None],
) -> Method:
    """Choose what is open on the first validation images, once; then validate and tell it as one epoch.

    Raises NonFiniteError where the reconstructions are not finite.
    """
    path = setting.folder / checkpoint.CHOSEN
    if checkpoint.there(path):
        kept = checkpoint.about(path)
        apply(kept["used"])
        return Solution(model=model, state=kept["state"], used=kept["used"])
    began = time.perf_counter()
    val = setting.measured("val")
    used = choose(Measured(val.truth_BCHW[:TUNING_IMAGES], val.y[:TUNING_IMAGES]))
    apply(used)
    val_loss, psnrs = validate(model, val)
    if not math.isfinite(val_loss):
        raise NonFiniteError("non-finite validation loss")
    took = time.perf_counter() - began
    state = state | {"best_loss": val_loss, "seconds": state["seconds"] + took}
    record = {
        "phase": "train",
        "epoch": 1,
        "so_far": costs(model, state, setting.device) | used,
        "train_loss": None,
        "val_loss": val_loss,
        "val_psnr": psnrs[-1],
        "lr": None,
        "grad_norm": None,
        "seconds": took,
        "folds": [],
    }
    about = {"config": setting.config.to_dict(), "fingerprint": setting.datasets.fingerprint, "record": record}
    checkpoint.write(path, {}, about | {"used": used, "state": state})
    yield record
    return Solution(model=model, state=state, used=used)


def _mean_psnr(model: nn.Module, few: Measured) -> float:
    return validate(model, few)[1][-1]


@torch.no_grad()
def _course(model: PlugAndPlay, few: Measured) -> list[float]:
    """Mean PSNR after each iteration, until it has fallen well below its best."""
    course: list[float] = []
    for x_BCHW in model.iterates(few.y):
        course.append(float(psnr(x_BCHW, few.truth_BCHW).mean()))
        if course[-1] < max(course) - 1:
            break
    return course
