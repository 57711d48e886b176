"""How a trial's prior is made: the section `prior` of a study file."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from flowsearch.checks import MEMORIES, check_choice, check_float, check_int, check_known


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """How a Glow prior is pre-trained by maximum likelihood (paper eq. (14))."""

    epochs: int = 100
    lr: float = 1e-3
    """Adam's learning rate."""
    batch_size: int = 16
    noise: float = 0.0
    """Standard deviation of Gaussian noise added to the training images; 0 leaves dequantization only, which is not
    enough for `prox: score`."""
    clip: float = 100.0
    """Bound on the gradient's norm; the loss is in nats per dimension."""
    warmup: int = 50
    """Optimizer steps over which the rate rises from 0 to `lr`."""
    seed: int = 0
    memory: str = "networks"
    """What the backward pass keeps, as a trial's `memory`. The default is the fastest; `invertible` takes least."""

    def __post_init__(self) -> None:
        check_int("prior.epochs", self.epochs, 1)
        check_float("prior.lr", self.lr, 0, 1, positive=True)
        check_int("prior.batch_size", self.batch_size, 1)
        check_float("prior.noise", self.noise, 0, 1)
        check_float("prior.clip", self.clip, 0, positive=True)
        check_int("prior.warmup", self.warmup, 0)
        check_int("prior.seed", self.seed, 0)
        check_choice("prior.memory", self.memory, MEMORIES)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` takes them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "PriorConfig":
        """The configuration that `to_dict` wrote; unknown names are refused."""
        check_known("prior", values, {field.name for field in fields(cls)})
        return cls(**values)
