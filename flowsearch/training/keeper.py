"""When the state of a trial or a prior that trains is written to its folder."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn, optim

from flowsearch.training import checkpoint

SHARE = 0.05
"""The share of the time that checkpoints may take before an epoch goes without one."""


class Pace:
    """Has a state written after each epoch, as long as that takes no more than `SHARE` of the time: what large networks
    leave on a slow disk is written less often."""

    def __init__(self) -> None:
        self._due = 0.0

    @contextmanager
    def after_epoch(self, write: Callable[[], None], last: bool) -> Iterator[bool]:
        """Write the state where it is due or the `last`, and say so; where the generator is closed inside, in any case.

        What is done inside after a write, such as to send the files elsewhere, counts as its time.
        """
        began = time.perf_counter()
        due = last or began >= self._due
        if due:
            write()
        try:
            yield due
        except GeneratorExit:
            if not due:
                write()
            raise
        if due:
            now = time.perf_counter()
            self._due = now + (now - began) * (1 / SHARE - 1)


class Keeper:
    """Keeps the last state and the best weights of a model in `folder`, at a `Pace`. (The best weights are copied to
    the CPU after each epoch that is the best so far; that is not counted.)"""

    def __init__(self, folder: Path, model: nn.Module, optimizer: optim.Optimizer) -> None:
        self.folder, self.model, self.optimizer = folder, model, optimizer
        self._best: tuple[dict[str, Tensor], dict[str, Any]] | None = None
        self._pace = Pace()

    def is_best(self, about: dict[str, Any]) -> None:
        """Hold on to the model as it is, as the best so far."""
        tensors = checkpoint.state_tensors(self.model)
        self._best = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}, about

    def write(self, about: dict[str, Any]) -> None:
        """Write the state, and the best weights where they are not written yet."""
        if self._best is not None:
            checkpoint.write(self.folder / checkpoint.BEST, *self._best)
            self._best = None
        tensors = checkpoint.state_tensors(self.model, self.optimizer)
        checkpoint.write(self.folder / checkpoint.LAST, tensors, about)

    def after_epoch(self, about: dict[str, Any], last: bool) -> AbstractContextManager[bool]:
        """Keep the state as `Pace.after_epoch` says."""
        return self._pace.after_epoch(partial(self.write, about), last)
