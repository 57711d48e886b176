"""A trained network, read back from its checkpoint."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from flowsearch.models import Feedforward, Unrolled
from flowsearch.operators import Task
from flowsearch.training import checkpoint
from flowsearch.training.build import build_feedforward, build_model
from flowsearch.training.config import TRAINED, TrialConfig
from flowsearch.training.device import resolve


@dataclass(frozen=True)
class Saved:
    """A trial's network in evaluation, on `device`, with the task that it reconstructs from."""

    path: Path
    config: TrialConfig
    channels: int
    """Of its images: 1 for grey, 3 for colour."""
    task: Task
    model: Unrolled | Feedforward
    device: torch.device
    images: dict[str, str] = field(default_factory=dict)
    """sha256 over the pixels of the trial's `val`, `test` and `ood` images; nothing where none was kept."""

    @property
    def size(self) -> int:
        """Height and width of its images."""
        return self.config.data.size

    def with_task(self, task: object) -> "Saved":
        """The network on another task, untrained for it.

        It sees measurements through A and A^T only, so any task of its image size fits. The network of `self` is
        changed; its step sizes stay the same shares of 1 / |A|^2.
        """
        other = Task.named(task, self.size, self.channels)
        self.model.operator = other.operator.to(self.device)
        return replace(self, task=other)


def load_saved(path: Path | str, device: str = "auto") -> Saved:
    """The network of a checkpoint file, or of the folder that holds it, such as `results/NAME/checkpoints/TRIAL`.

    A part of one's own that the model names, `module:name`, is imported, which runs its code, and nothing is said.
    Raises ValueError where the file holds no network, or it does not fit what its configuration builds;
    FileNotFoundError where there is none.
    """
    path, place = Path(path), resolve(device)
    path = path / checkpoint.BEST if path.is_dir() else path
    try:
        tensors, about = checkpoint.read(path)
    except ValueError as error:
        raise ValueError(f"{error}; name a trial's {checkpoint.BEST}") from error
    try:
        config = TrialConfig.from_dict(about["config"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} holds no trained network; name a trial's {checkpoint.BEST}") from error
    if config.method not in TRAINED:
        raise ValueError(
            f"{path} is of method {config.method}, which trains no network from measurements to images; name a trial "
            f"of method {' or '.join(TRAINED)}"
        )
    channels = about.get("channels", 3)
    task = Task.named(config.task, config.data.size, channels)
    model: Unrolled | Feedforward
    if config.method == "feedforward":
        model = build_feedforward(config, channels, task.operator)
    else:
        model = build_model(config, channels, operator=task.operator)
    try:
        checkpoint.restore(tensors, model)
    except RuntimeError as error:
        raise ValueError(
            f"{path} does not fit the network of its configuration, prox {config.prox}; was its code changed since? "
            f"({str(error).splitlines()[-1].strip()})"
        ) from error
    return Saved(path, config, channels, task, model.to(place).eval(), place, about.get("images", {}))
