"""What a coupling network is computed with: 3 x 3 neighbourhoods as columns, and matrix products as each device has
them best. Shapes as in `network`."""

from functools import cache

import torch
from torch import Tensor

from flowsearch.flows.bfloat16 import has_bfloat16


def unfold(x_CBHW: Tensor, dtype: torch.dtype) -> Tensor:
    """The 3 x 3 neighbourhood of every pixel, zeros beyond the border: (K, P), rows in the order (3, 3, C)."""
    channels, batch, height, width = x_CBHW.shape
    padded = x_CBHW.new_zeros(channels, batch, height + 2, width + 2, dtype=dtype)
    padded[:, :, 1:-1, 1:-1] = x_CBHW
    c, b, h, w = padded.stride()
    windows = padded.as_strided((3, 3, channels, batch, height, width), (h, w, c, b, h, w))
    return windows.reshape(9 * channels, batch * height * width)


def fold(columns_KP: Tensor, shape_BHW: torch.Size) -> Tensor:
    """The adjoint of `unfold`: every neighbourhood added where it came from, (C, B, H, W)."""
    batch, height, width = shape_BHW
    windows = columns_KP.view(3, 3, -1, batch, height, width)
    if windows.device.type == "cpu":
        rows = windows[:, 1].clone()
        rows[..., 1:] += windows[:, 2, ..., :-1]
        rows[..., :-1] += windows[:, 0, ..., 1:]
        x_CBHW = rows[1]
        x_CBHW[:, :, 1:] += rows[2, :, :, :-1]
        x_CBHW[:, :, :-1] += rows[0, :, :, 1:]
        return x_CBHW
    # One sum over nine shifted views, where additions would wait for each other.
    padded = windows.new_zeros(3, 3, windows.shape[2], batch, height + 2, width + 2)
    padded[..., 1:-1, 1:-1] = windows
    row, tap, c, b, h, w = padded.stride()
    return padded.as_strided(windows.shape, (row - h, tap - w, c, b, h, w), 2 * h + 2 * w).sum(dim=(0, 1))


def linear_relu(x_PC: Tensor, weight_NC: Tensor, bias_N: Tensor) -> Tensor:
    """`max(0, x weight^T + bias)` at once, on a CPU by oneDNN, on CUDA by cuBLASLt: a pass over the result takes half
    as long as a product in bfloat16."""
    if x_PC.device.type == "cpu" and x_PC.dtype in _in_onednn():
        return torch.ops.mkldnn._linear_pointwise(x_PC.contiguous(), weight_NC, bias_N, "relu", [], "")
    if x_PC.device.type == "cuda":
        return torch._addmm_activation(bias_N, x_PC, weight_NC.t())
    return torch.addmm(bias_N, x_PC, weight_NC.t()).relu_()


def product(left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """`left @ right` in `dtype`, theirs or a wider one.

    On a CPU by oneDNN in float32 too: torch has it from MKL, which leaves AVX-512 unused on AMD's and is half as fast
    there.
    """
    if left.device.type == "cpu" and left.dtype == torch.float32 and left.dtype in _in_onednn():
        return torch.ops.mkldnn._linear_pointwise(left, right.t(), None, "none", [], "").to(dtype)
    if left.device.type == "cuda" and (left.dtype, dtype) == (torch.bfloat16, torch.float32):
        return torch.mm(left, right, out_dtype=dtype)
    return (left @ right).to(dtype)


def column_sums(x_PN: Tensor, dtype: torch.dtype) -> Tensor:
    """The sum over P in `dtype`, (N,); on CUDA as a product, three times as fast as its reduction of rows."""
    if x_PN.device.type == "cuda":
        return product(x_PN.new_ones(1, len(x_PN)), x_PN, dtype)[0]
    return x_PN.sum(dim=0).to(dtype)


def mask(grad: Tensor, output: Tensor) -> None:
    """The backward pass of ReLU from its output, in place."""
    torch.ops.aten.threshold_backward.grad_input(grad, output, 0, grad_input=grad)


@cache
def _in_onednn() -> tuple[torch.dtype, ...]:
    """The types in which oneDNN multiplies on this CPU."""
    if not torch.backends.mkldnn.is_available():
        return ()
    return (torch.float32, torch.bfloat16) if has_bfloat16("cpu") else (torch.float32,)
