"""Where bfloat16 pays."""

from functools import cache

import torch


@cache
def has_bfloat16(kind: str) -> bool:
    """Whether devices of this kind (`cpu`, `cuda`) multiply bfloat16 matrices in hardware.

    A CPU without (no AVX-512 or AMX, or Arm's equivalent) gives the same numbers a hundred times slower.
    """
    if kind == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) if torch.backends.mkldnn.is_available() else False
    return torch.cuda.is_bf16_supported(including_emulation=False) if kind == "cuda" else True
