"""The configuration of one trial: flat names, the same in a study file, on the command line and in the results."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import Any, get_type_hints

from flowsearch.checks import (
    MEMORIES,
    PRECISIONS,
    check_bool,
    check_choice,
    check_float,
    check_int,
    check_known,
    check_levels,
)
from flowsearch.data.config import DataConfig
from flowsearch.operators.names import check_task
from flowsearch.training.prior_config import PriorConfig
from flowsearch.training.prox_names import FLOWS, PROXES, parse_prox, read_parameters

_FLOW = {"depth": 18, "levels": 4, "hidden": 512, "last_depth": 1, "pretrain": True, "memory": "invertible"}
OWN_FIELDS: dict[str, dict[str, Any]] = {
    "glow": _FLOW,
    "score": _FLOW,
    "resnet": {"features": 128, "blocks": 2},
    "unet": {"channels": 64},
}
"""Fields that belong to some proximal maps only, with the paper's values (section VI)."""

_IMAGES: dict[str, Any] = {"flip": True, "precision": "fp32"}
_TRAINING = _IMAGES | {"epochs": 50, "batch_size": 8, "lr": None, "clip": 0.1, "warmup": 50, "decay": "cosine"}
_TRAINING |= {"patience": None}
METHOD_FIELDS: dict[str, dict[str, Any]] = {
    "unrolled": {"prox": "glow", "folds": 5, "weights": "untied", "start": None, "end": "prox"}
    | _TRAINING
    | {"scalar_lr": 1e-2},
    "feedforward": {"prox": "unet"} | _TRAINING,
    "pnp": {"prox": "resnet"} | _TRAINING | {"iterations": 100, "denoiser_noise": 0.2, "strength": None, "step": 1.0},
    "map": {"prox": "glow"} | _IMAGES | {"iterations": 100, "gamma": None},
    "tv": {"tv_weight": None},
    "adjoint": {},
    "measurement": {},
}
"""Fields that belong to some methods only, with their defaults; None is settled by the proximal map, or a choice that
the trial makes on its validation images (`tv_weight`, `gamma`, `strength`)."""

METHODS = tuple(METHOD_FIELDS)
_OF_SOME = {name for group in (*METHOD_FIELDS.values(), *OWN_FIELDS.values()) for name in group}

METHOD_PROXES = {"unrolled": PROXES, "feedforward": ("resnet", "unet"), "pnp": ("resnet", "unet"), "map": ("glow",)}
"""Proximal maps that a method can be built of. A latent MAP has no choice: its prior is the flow."""

TRAINED = ("unrolled", "feedforward")
"""Methods whose reconstructions are trained and validated epoch by epoch, and so can be stopped early."""

DEFAULT_LR = {"glow": 1e-5, "score": 1e-3, "resnet": 1e-3, "unet": 1e-3}
"""The paper's rate for its flow, which larger ones upset; rates at which the others train well."""
OWN_LR = 1e-3
"""Of a proximal map of one's own, where no lr is given."""


def _own_fields(method: str, prox: str | None) -> dict[str, Any]:
    """Those fields of `_OF_SOME` that a trial of `method` with the proximal map `prox` has, with their defaults."""
    own = METHOD_FIELDS.get(method, {}) | OWN_FIELDS.get(prox or "", {})
    settled = {"lr": DEFAULT_LR.get(prox or "", OWN_LR), "start": "mode" if prox == "glow" else "adjoint"}
    return own | {name: value for name, value in settled.items() if name in own}


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """Everything that decides a trial's numbers.

    Fields that mean nothing to the chosen method, or to its proximal map, become None.
    """

    data: DataConfig = field(default_factory=DataConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)

    task: str = "denoise-0.1"
    """What is measured, and how noisily: `denoise-SIGMA`, `inpaint-W`, `deblur-SIGMA` (paper sections VI-C to VI-E), or
    any other of `operators.names.TASKS`, as a name or as a mapping such as {deblur: {sigma: 3, padding: reflect}}.
    Becomes its canonical text."""
    method: str = "unrolled"
    """`unrolled`: the network of the paper's section IV. To compare it with: `feedforward` (one network on
    A^T y / |A|^2), `pnp` (plug-and-play proximal gradient with a trained denoiser), `map` (eq. (7) by L-BFGS in the
    flow's latent space), `tv` (total variation), `adjoint` and `measurement` (nothing is reconstructed)."""
    prox: str | None = None
    """The proximal map: `glow` (the paper's, by the latents of a flow), `score` (a step along the score of the same
    flow), `resnet`, `unet`, or one of one's own, `module:name`, with parameters as a mapping such
    as {mylab.nets:DnCNN: {layers: 5}} or as text, which move to `prox_parameters`; of `feedforward` and `pnp` the
    network (none of a flow). Default: glow for `unrolled`, unet for `feedforward`, resnet for `pnp`."""
    prox_parameters: str | None = None
    """Parameters of a map of one's own, as text: `layers=5,width=32`. In a study file they stand with `prox`."""
    folds: int | None = None
    """unrolled: K, the number of iterations. Default: 5."""
    weights: str | None = None
    """unrolled: `untied` (the default): each fold has its own proximal map; `tied`: all share one."""
    start: str | None = None
    """unrolled: x0. `mode` is g(0) of the first fold's flow, `adjoint` is A^T y / |A|^2. Default: mode for
    glow, adjoint otherwise (for score, too)."""
    end: str | None = None
    """unrolled: `prox` (the default): the last fold shrinks too; `data`: eq. (12) read literally, the last fold is a
    data step only, which takes two folds or more. An untied network then has a map for each fold but the last."""

    depth: int | None = None
    """glow, score: steps of flow in each level but the last."""
    levels: int | None = None
    """glow, score: levels of the multi-scale architecture."""
    hidden: int | None = None
    """glow, score: hidden channels of the coupling networks."""
    last_depth: int | None = None
    """glow, score: steps of flow in the last level."""
    pretrain: bool | None = None
    """glow, score: start from a prior trained by maximum likelihood. `map` always does."""
    memory: str | None = None
    """glow: what the backward pass keeps. `invertible`: one image a fold, the rest is rebuilt by the flow's inverse;
    `networks`: also what the coupling networks computed, a quarter less to compute; `checkpoint`: what enters each
    level; `autograd`: every activation. The gradients are the same. score: `invertible` and `checkpoint` compute each
    fold again, `networks` and `autograd` keep all."""
    features: int | None = None
    """resnet: feature maps."""
    blocks: int | None = None
    """resnet: residual blocks."""
    channels: int | None = None
    """unet: channels of the first level; each level below has twice as many."""

    tv_weight: float | None = None
    """tv: weight w of the total variation. Null: the best on the validation images."""
    gamma: float | None = None
    """map: weight of |z|^2. Null: the best on the validation images."""
    iterations: int | None = None
    """map: iterations of L-BFGS; pnp: the most iterations, of which the best number on the validation images is taken.
    Default: 100."""
    denoiser_noise: float | None = None
    """pnp: the denoiser is trained on noise of standard deviations from 0 to this, and told each. Default: 0.2."""
    strength: float | None = None
    """pnp: the standard deviation of noise that the denoiser is told to remove in each iteration. Null: the best on the
    validation images."""
    step: float | None = None
    """pnp: the gradient step, as a share of 1 / |A|^2. Default: 1."""

    epochs: int | None = None
    """Passes over the training images. Default: 50."""
    batch_size: int | None = None
    """Images of an optimizer step. Default: 8."""
    lr: float | None = None
    """Adam's learning rate for the networks."""
    scalar_lr: float | None = None
    """unrolled: Adam's learning rate for mu and lambda. Default: 1e-2."""
    clip: float | None = None
    """Bound on the norm of the gradient of the mean squared error. Default: 0.1."""
    warmup: int | None = None
    """Optimizer steps over which both rates rise from 0 (at most a fifth of all steps). Default: 50."""
    decay: str | None = None
    """How both rates go on: `cosine` (the default) falls to a hundredth, `constant` stays (the paper's)."""
    patience: int | None = None
    """Stop after so many epochs without a better validation loss; null trains to the end."""
    precision: str | None = None
    """`bf16`: the convolutions of the proximal map (and of a prior that is pre-trained) in bfloat16; data steps, and
    all that is invertible in a flow, stay in float32. `fp32` (the default): all in float32."""
    flip: bool | None = None
    """Mirror training images left to right at random. Default: true."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, section in (("data", DataConfig), ("prior", PriorConfig)):
            if not isinstance(getattr(self, name), section):
                raise ValueError(
                    f"{name} is a {section.__name__}, not {getattr(self, name)!r}; from_dict takes mappings"
                )
        check_choice("method", self.method, METHODS)
        self._set("task", str(check_task(self.task, self.data.size)))
        check_int("seed", self.seed, 0)
        self._settle_prox()
        self._settle_fields()
        self._check_prox()
        self._check_values()
        self._check_together()

    def _settle_prox(self) -> None:
        """Part the name of a map of one's own from its parameters; a built-in one has none."""
        asked = self.prox_of(self.method, self.prox)
        name = None if asked is None else parse_prox(asked)
        if name is not None and name.own and self.prox_parameters is not None:
            name = name.given(read_parameters(name.kind, self.prox_parameters))
        if name is not None and not name.own:
            check_choice(f"prox of method {self.method}", name.kind, METHOD_PROXES[self.method])
        self._set("prox", None if name is None else name.kind)
        self._set("prox_parameters", None if name is None else name.listed)

    def _settle_fields(self) -> None:
        """Take the method's and its proximal map's defaults for what is open, None for what means nothing to them."""
        own = _own_fields(self.method, self.prox)
        for name in _OF_SOME:
            if name not in own or getattr(self, name) is None:
                self._set(name, own.get(name))
        if self.method == "map":
            self._set("pretrain", True)

    def _check_prox(self) -> None:
        for name in ("depth", "levels", "hidden", "last_depth", "features", "blocks", "channels"):
            self._check(name, check_int, 1)
        self._check("pretrain", check_bool)
        self._check("memory", check_choice, MEMORIES)
        if self.levels is not None:
            check_levels(self.levels, self.data.size)
        if self.prox == "score" and self.pretrain and not self.prior.noise:
            raise ValueError(
                "prox: score steps along the score of its pre-trained flow, which explodes at noisy images where the "
                "flow has seen clean ones only (prior.noise is 0); set prior.noise to about the noise of what is "
                "measured, such as 0.1, or pretrain: false"
            )
        if self.prox == "unet" and self.data.size % 16:
            raise ValueError(
                f"the U-Net halves the image four times, so size is a multiple of 16, not {self.data.size}"
            )

    def _check_values(self) -> None:
        for name in ("folds", "epochs", "batch_size", "iterations", "patience"):
            self._check(name, check_int, 1)
        self._check("warmup", check_int, 0)
        for name in ("lr", "scalar_lr", "denoiser_noise", "strength"):
            self._check(name, check_float, 0, 1, positive=True)
        self._check("gamma", check_float, 0)
        self._check("step", check_float, 0, 2, positive=True)
        for name in ("clip", "tv_weight"):
            self._check(name, check_float, 0, positive=True)
        self._check("flip", check_bool)
        self._check("start", check_choice, ("mode", "adjoint") if self.prox in FLOWS else ("adjoint",))
        self._check("weights", check_choice, ("tied", "untied"))
        self._check("end", check_choice, ("prox", "data"))
        self._check("precision", check_choice, PRECISIONS)
        self._check("decay", check_choice, ("cosine", "constant"))

    def _check_together(self) -> None:
        """The rules that are about several fields."""
        if self.prox == "unet" and self.data.size == 16:
            assert self.batch_size
            batches = math.ceil(self.data.train / self.batch_size)  # as `loop.batches` splits them
            if self.data.train // batches == 1:
                raise ValueError(
                    "at size 16 the U-Net's innermost images are single pixels, which its batch normalization can "
                    "train on only where every batch has two images or more; batch_size "
                    f"{self.batch_size} leaves one for the smallest of {batches} batches of {self.data.train} "
                    "training images (train): set batch_size to 3 or more and train to 2 or more, or take size 32"
                )
        if self.end == "data" and self.folds == 1:
            raise ValueError(
                "end: data makes the last fold a data step only, and folds: 1 has no other, so that nothing would be "
                "left to train but its step size; set folds to 2 or more, or end: prox"
            )

    def _check(self, name: str, check: Callable[..., None], *rule: Any, **rules: Any) -> None:
        if getattr(self, name) is not None:
            check(name, getattr(self, name), *rule, **rules)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def mapped_folds(self) -> int:
        """unrolled: how many folds end in a proximal map; all but the last with `end: data`."""
        assert self.folds
        return self.folds - (self.end == "data")

    @property
    def has_own_parts(self) -> bool:
        """Whether the task's operator or the proximal map is somebody's own code, `module:name`: it may do what a
        CUDA graph does not hold, and need not be there in another process."""
        return ":" in f"{self.task} {self.prox}"

    @staticmethod
    @cache
    def field_types() -> dict[str, Any]:
        """Type of each flat field (`data` and `prior` are sections of their own)."""
        return {name: kind for name, kind in get_type_hints(TrialConfig).items() if name not in ("data", "prior")}

    @staticmethod
    def prox_of(method: str, prox: str | None) -> str | None:
        """The proximal map that a trial of `method` has where `prox` is asked for, or left open."""
        default = METHOD_FIELDS.get(method, {}).get("prox")
        return prox if prox is not None and method != "map" and default is not None else default

    @staticmethod
    def applicable(prox: str | None, method: str = "unrolled") -> set[str]:
        """Names of the flat fields that a trial of `method` with the proximal map `prox` can choose."""
        shared = TrialConfig.field_types().keys() - _OF_SOME - {"prox_parameters"}
        own = _own_fields(method, TrialConfig.prox_of(method, prox)).keys()
        return shared | (own - {"prox", "pretrain"} if method == "map" else own)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, `data` and `prior` nested; `from_dict` takes them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrialConfig":
        """The configuration that `to_dict` wrote; unknown names are refused."""
        check_known("a trial", values, {field.name for field in fields(cls)})
        settled: dict[str, Any] = dict(values)
        for name, section in (("data", DataConfig), ("prior", PriorConfig)):
            if name in settled:
                settled[name] = section.from_dict(settled[name])
        return cls(**settled)
