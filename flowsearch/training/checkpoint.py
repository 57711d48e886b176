"""Checkpoints: one safetensors file each, tensors with a JSON header, that is whole or not there at all."""

import json
import logging
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn, optim

from flowsearch.training.header import BEST, CHOSEN, LAST, about

__all__ = ["BEST", "CHOSEN", "LAST", "about", "read", "restore", "state_tensors", "there", "write"]

_log = logging.getLogger(__name__)


def write(path: Path, tensors: dict[str, Tensor], subject: dict[str, Any]) -> None:
    """Write tensors and what they are about (JSON-able) aside, then rename: a reader never sees half a file.

    Raises OSError where the file cannot be written; what was there before stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    held: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        # Conjugates are a note to torch beside the numbers, which the file would not have.
        one = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        # Two layers may share one tensor; the format wants each name to have its own memory.
        held[name] = one.clone() if one.data_ptr() in seen else one
        seen.add(one.data_ptr())
    aside = path.with_name(f".{path.name}.{uuid4().hex}")
    aside.open("xb").close()
    mode = aside.stat().st_mode
    try:
        save_file(held, aside, metadata={"about": json.dumps(subject)})
        aside.chmod(mode)  # safetensors leaves a file that only its owner may read; results may be shared
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException as error:
        aside.unlink(missing_ok=True)
        if isinstance(error, SafetensorError):
            raise OSError(f"{path} could not be written: {error}") from error
        raise


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and what they are about, as `write` took them; on the CPU. Raises as `about` does."""
    subject = about(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: its tensors cannot be read ({error})") from error
    return tensors, subject


def there(path: Path) -> bool:
    """Whether there is a checkpoint to go on from. A damaged one is moved aside, so that it can be begun again."""
    try:
        about(path)
    except FileNotFoundError:
        return False
    except ValueError as error:
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        _log.warning("%s; it is now %s, and what it held begins again", error, aside.name)
        return False
    return True


def state_tensors(model: nn.Module, optimizer: optim.Optimizer | None = None) -> dict[str, Tensor]:
    """The state of a model, and of its optimizer, under flat names: `model.NAME`, `optimizer.PARAMETER.NAME`."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    if optimizer is not None:
        for index, state in optimizer.state_dict()["state"].items():
            tensors.update({f"optimizer.{index}.{name}": value for name, value in state.items()})
    return tensors


def restore(tensors: dict[str, Tensor], model: nn.Module, optimizer: optim.Optimizer | None = None) -> None:
    """Put what `state_tensors` gave back into a model, and into its optimizer (learning rates stay as they are)."""
    model.load_state_dict(_below(tensors, "model."))
    if optimizer is not None:
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below(tensors, "optimizer.").items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = tensor
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
