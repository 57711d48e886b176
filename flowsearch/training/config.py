"""The configuration of one trial: flat names, the same in a study file, on the command line and in the results."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, get_type_hints

from flowsearch.checks import check_bool, check_choice, check_float, check_int, check_known, check_levels
from flowsearch.data.config import DataConfig
from flowsearch.operators.names import check_task
from flowsearch.training.prox_names import PROXES, parse_prox, read_parameters

MEMORIES = ("invertible", "checkpoint", "autograd")
PRECISIONS = ("fp32", "bf16")

OWN_FIELDS: dict[str, dict[str, Any]] = {
    "glow": {"depth": 18, "levels": 4, "hidden": 512, "last_depth": 1, "pretrain": True, "memory": "invertible"},
    "resnet": {"features": 128, "blocks": 2},
    "unet": {"channels": 64},
}
"""Fields that belong to one proximal map only, with the paper's values (section VI)."""

DEFAULT_LR = {"glow": 1e-5, "resnet": 1e-3, "unet": 1e-3}
"""The paper's rate for its flow, which larger ones upset; rates at which the two baselines train well."""

OWN_LR = 1e-3
"""Of a proximal map of one's own, where no lr is given."""


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """How a Glow prior is pre-trained by maximum likelihood (paper eq. (14))."""

    epochs: int = 100
    lr: float = 1e-3
    """Adam's learning rate."""
    batch_size: int = 16
    noise: float = 0.0
    """Standard deviation of Gaussian noise added to the training images; 0 leaves dequantization only."""
    clip: float = 100.0
    """Bound on the gradient's norm; the loss is in nats per dimension."""
    warmup: int = 50
    """Optimizer steps over which the rate rises from 0 to `lr`."""
    seed: int = 0

    def __post_init__(self) -> None:
        check_int("prior.epochs", self.epochs, 1)
        check_float("prior.lr", self.lr, 0, 1, positive=True)
        check_int("prior.batch_size", self.batch_size, 1)
        check_float("prior.noise", self.noise, 0, 1)
        check_float("prior.clip", self.clip, 0, positive=True)
        check_int("prior.warmup", self.warmup, 0)
        check_int("prior.seed", self.seed, 0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` takes them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "PriorConfig":
        """The configuration that `to_dict` wrote; unknown names are refused."""
        check_known("prior", values, {field.name for field in fields(cls)})
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """Everything that decides a trial's numbers. Fields that mean nothing to the chosen proximal map become None."""

    data: DataConfig = field(default_factory=DataConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)

    task: str = "denoise-0.1"
    """What is measured, and how noisily: `denoise-SIGMA`, `inpaint-W`, `deblur-SIGMA` (paper sections VI-C to VI-E), or
    any other of `operators.names.TASKS`, as a name or as a mapping such as {deblur: {sigma: 3, padding: reflect}}.
    Becomes its canonical text."""
    prox: str = "glow"
    """The proximal map: `glow`, `resnet`, `unet`, or one of one's own, `module:name`, with parameters as a mapping such
    as {mylab.nets:DnCNN: {layers: 5}} or as text. Becomes its name; the parameters move to `prox_parameters`."""
    prox_parameters: str | None = None
    """Parameters of a map of one's own, as text: `layers=5,width=32`. In a study file they stand with `prox`."""
    folds: int = 5
    """K, the number of unrolled iterations."""
    weights: str = "untied"
    """`untied`: each fold has its own proximal map; `tied`: all share one."""
    start: str | None = None
    """x0: `mode` is g(0) of the first fold's flow, `adjoint` is A^T y. Default: mode for glow, adjoint otherwise."""
    end: str = "prox"
    """`prox`: the last fold shrinks too; `data`: eq. (12) read literally, the last fold is a data step only."""

    depth: int | None = None
    """glow: steps of flow in each level but the last."""
    levels: int | None = None
    """glow: levels of the multi-scale architecture."""
    hidden: int | None = None
    """glow: hidden channels of the coupling networks."""
    last_depth: int | None = None
    """glow: steps of flow in the last level."""
    pretrain: bool | None = None
    """glow: start from a prior trained by maximum likelihood."""
    memory: str | None = None
    """glow: what the backward pass keeps. `invertible`: one image a fold, the rest is rebuilt by the flow's inverse;
    `checkpoint`: what enters each level; `autograd`: every activation. The gradients are the same."""
    features: int | None = None
    """resnet: feature maps."""
    blocks: int | None = None
    """resnet: residual blocks."""
    channels: int | None = None
    """unet: channels of the first level; each level below has twice as many."""

    epochs: int = 50
    batch_size: int = 8
    lr: float | None = None
    """Adam's learning rate for the networks."""
    scalar_lr: float = 1e-2
    """Adam's learning rate for mu and lambda."""
    clip: float = 0.1
    """Bound on the norm of the gradient of the mean squared error."""
    warmup: int = 50
    """Optimizer steps over which both rates rise from 0 (at most a fifth of all steps)."""
    decay: str = "cosine"
    """How both rates go on: `cosine` falls to a hundredth, `constant` stays (the paper's)."""
    patience: int | None = None
    """Stop after so many epochs without a better validation loss; null trains to the end."""
    precision: str = "fp32"
    """`bf16`: the convolutions of the proximal map (and of a prior that is pre-trained) in bfloat16; data steps, and
    all that is invertible in a flow, stay in float32. `fp32`: all in float32."""
    flip: bool = True
    """Mirror training images left to right at random."""
    seed: int = 0

    def __post_init__(self) -> None:
        self._settle_prox()
        object.__setattr__(self, "task", str(check_task(self.task, self.data.size)))
        check_choice("weights", self.weights, ("tied", "untied"))
        check_choice("end", self.end, ("prox", "data"))
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("decay", self.decay, ("cosine", "constant"))
        self._settle("start", "mode" if self.prox == "glow" else "adjoint")
        check_choice("start", self.start, ("mode", "adjoint") if self.prox == "glow" else ("adjoint",))
        self._settle("lr", DEFAULT_LR.get(self.prox, OWN_LR))
        for prox, own in OWN_FIELDS.items():
            for name, default in own.items():
                if prox == self.prox:
                    self._settle(name, default)
                else:
                    object.__setattr__(self, name, None)
        for name in ("folds", "epochs", "batch_size"):
            check_int(name, getattr(self, name), 1)
        for name in ("warmup", "seed"):
            check_int(name, getattr(self, name), 0)
        if self.patience is not None:
            check_int("patience", self.patience, 1)
        for name in ("lr", "scalar_lr"):
            check_float(name, getattr(self, name), 0, 1, positive=True)
        check_float("clip", self.clip, 0, positive=True)
        check_bool("flip", self.flip)
        if self.prox in PROXES:
            getattr(self, f"_check_{self.prox}")()

    def _settle_prox(self) -> None:
        """Part the name of a map of one's own from its parameters."""
        name = parse_prox(self.prox)
        if self.prox_parameters is not None:
            name = name.given(read_parameters(name.kind, self.prox_parameters))
        object.__setattr__(self, "prox", name.kind)
        object.__setattr__(self, "prox_parameters", name.listed)

    def _settle(self, name: str, default: Any) -> None:
        if getattr(self, name) is None:
            object.__setattr__(self, name, default)

    def _check_glow(self) -> None:
        for name in ("depth", "levels", "hidden", "last_depth"):
            check_int(name, getattr(self, name), 1)
        check_bool("pretrain", self.pretrain)
        check_choice("memory", self.memory, MEMORIES)
        assert self.levels is not None
        check_levels(self.levels, self.data.size)

    def _check_resnet(self) -> None:
        check_int("features", self.features, 1)
        check_int("blocks", self.blocks, 1)

    def _check_unet(self) -> None:
        check_int("channels", self.channels, 1)
        if self.data.size % 16:
            raise ValueError(
                f"the U-Net halves the image four times, so size is a multiple of 16, not {self.data.size}"
            )

    @staticmethod
    def field_types() -> dict[str, Any]:
        """Type of each flat field (`data` and `prior` are sections of their own)."""
        return {name: kind for name, kind in get_type_hints(TrialConfig).items() if name not in ("data", "prior")}

    @staticmethod
    def applicable(prox: str) -> set[str]:
        """Names of the flat fields that mean something to `prox`."""
        others = {name for other, own in OWN_FIELDS.items() if other != prox for name in own}
        return set(TrialConfig.field_types()) - others - ({"prox_parameters"} if prox in PROXES else set())

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
