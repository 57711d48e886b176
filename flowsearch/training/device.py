"""Where a trial runs."""

import re

import torch

from flowsearch.flows.bfloat16 import has_bfloat16


def resolve(name: str) -> torch.device:
    """The device of that name; `auto` is CUDA where there is one, else the CPU.

    Raises ValueError for another kind, such as `mps`, which has no float64, or a device that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d{1,2})?", name):
        raise ValueError(f"device is auto, cpu, cuda or cuda:N, not {name!r}")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"there is no CUDA device for {name}; use auto or cpu")
    return device


def check_precision(precision: str, device: torch.device) -> None:
    """Raise ValueError for bfloat16 on a device that would be a hundred times slower with it."""
    if precision == "bf16" and not has_bfloat16(device.type):
        raise ValueError(f"precision: bf16 needs a {device.type.upper()} that multiplies bfloat16; use precision: fp32")
