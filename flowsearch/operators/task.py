"""A named task: what is measured, and how noisily."""

from dataclasses import dataclass

import torch
from torch import Tensor

from flowsearch.operators.linear import CircularBlur, Identity, LinearOperator, Mask, centre_mask, gaussian_kernel
from flowsearch.operators.names import check_task


@dataclass(frozen=True)
class Task:
    """y = A x + sigma n with n standard normal (paper eq. (1)); images in [-0.5, 0.5]."""

    name: str
    operator: LinearOperator
    sigma: float

    @classmethod
    def named(cls, name: str, size: int) -> "Task":
        """The task of that name for images of `size` x `size`, e.g. `denoise-0.1`, `inpaint-19`, `deblur-5`."""
        spec = check_task(name, size)
        if spec.kind == "denoise":
            return cls(name, Identity(), spec.value)
        if spec.kind == "inpaint":
            return cls(name, Mask(centre_mask(size, int(spec.value))), 0.0)
        return cls(name, CircularBlur(gaussian_kernel(size, spec.value)), 0.0)

    def measure(self, x_BCHW: Tensor, generator: torch.Generator) -> Tensor:
        """Measurements of the images; the noise comes from `generator`, on the generator's device."""
        y_BCHW = self.operator(x_BCHW)
        if self.sigma == 0:
            return y_BCHW
        noise = torch.randn(y_BCHW.shape, generator=generator, device=generator.device, dtype=y_BCHW.dtype)
        return y_BCHW + self.sigma * noise.to(y_BCHW.device)
