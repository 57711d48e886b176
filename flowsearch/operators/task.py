"""A task: what is measured, and how noisily."""

from dataclasses import dataclass

import torch
from torch import Tensor

from flowsearch.operators.blur import blur, gaussian_blur, motion_kernel
from flowsearch.operators.fourier import UndersampledFourier, cartesian_pattern, radial_pattern
from flowsearch.operators.linear import Identity, LinearOperator, Mask, centre_mask, pixel_mask, square_mask
from flowsearch.operators.names import TaskSpec, check_task, measurements
from flowsearch.operators.sensing import GaussianSensing, SubsampledTransform
from flowsearch.operators.superres import BoxDecimation, GaussianDecimation
from flowsearch.operators.wrapped import check_operator, device_of, wrap
from flowsearch.parts import blamed, load_part


@dataclass(frozen=True)
class Task:
    """y = A x + sigma n with n standard normal (paper eq. (1)); images in [-0.5, 0.5].

    Where measurements are complex, so is n: its real and its imaginary part are standard normal each.
    """

    name: str
    operator: LinearOperator
    sigma: float

    @classmethod
    def named(cls, task: object, size: int, channels: int = 3) -> "Task":
        """The task for images of `size` x `size`, e.g. `denoise-0.1` or `{deblur: {sigma: 3}}` (see `parse_task`).

        Raises ValueError where there is no such task, or where an operator of one's own is none.
        """
        spec = check_task(task, size)
        return cls(str(spec), build_operator(spec, size, channels), spec.noise)

    def measure(self, x_BCHW: Tensor, generator: torch.Generator) -> Tensor:
        """Measurements of the images; the noise comes from `generator`, on the generator's device."""
        y = self.operator(x_BCHW)
        if self.sigma == 0:
            return y
        shape = (*y.shape, 2) if y.is_complex() else y.shape
        noise = torch.randn(shape, generator=generator, device=generator.device, dtype=y.dtype.to_real())
        noise = torch.view_as_complex(noise) if y.is_complex() else noise
        return y + self.sigma * noise.to(y.device)


def build_operator(spec: TaskSpec, size: int, channels: int) -> LinearOperator:
    """The operator of a task that `check_task` allowed for that size; a researcher's own one is checked here."""
    if spec.own:
        return _own(spec, size, channels)
    values = spec.parameters
    if spec.kind == "denoise":
        return Identity()
    if spec.kind == "inpaint":
        if values["centre"] is not None:
            return Mask(centre_mask(size, values["centre"]))
        if values["square"] is not None:
            return Mask(square_mask(size, values["square"], values["seed"]))
        return Mask(pixel_mask(size, values["random"], values["seed"]))
    if spec.kind == "deblur":
        return gaussian_blur(size, values["sigma"], values["padding"])
    if spec.kind == "motion":
        return blur(motion_kernel(values["length"], values["angle"]), size, values["padding"])
    if spec.kind == "superres":
        if values["blur"] is None:
            return BoxDecimation(values["scale"])
        return GaussianDecimation(size, size, values["scale"], values["blur"])
    if spec.kind == "compress":
        count = measurements(values["ratio"], size)
        if values["by"] == "gaussian":
            return GaussianSensing(size, count, values["seed"])
        return SubsampledTransform(size, count, values["by"], values["seed"])
    assert spec.kind == "mri"
    if values["mask"] == "radial":
        return UndersampledFourier(radial_pattern(size, values["acceleration"]))
    return UndersampledFourier(cartesian_pattern(size, values["acceleration"], values["centre"], values["seed"]))


def _own(spec: TaskSpec, size: int, channels: int) -> LinearOperator:
    """The operator that the callable `module:name` makes of channels, size and the task's parameters.

    What it draws from torch's own generator is the same each time, so that a trial that goes on finds its operator.
    """
    factory = load_part(spec.kind)
    called = f"task {spec}: {spec.kind} is called with channels {channels}, size {size} and the task's parameters, and"
    with blamed(called), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = factory(channels, size, **spec.parameters)
    if not isinstance(made, LinearOperator):
        return wrap(made, channels, size)
    check_operator(made, spec.kind, channels, size)
    if made.image_shape is None or tuple(made.image_shape) != (channels, size, size):  # a property may say it
        made.image_shape = (channels, size, size)
    if type(made).norm is not LinearOperator.norm:
        _check_norm(made, spec.kind, channels, size)
    made.shift_period = None  # it was made for this size; one that inherits from Blur would be resized to a plain Blur
    return made.requires_grad_(False)


@torch.no_grad()
def _check_norm(operator: LinearOperator, name: str, channels: int, size: int) -> None:
    """Refuse a norm that the researcher's class gives and that A proves too small, by |A^T A A^T A x| / |A A^T A x|."""
    given: object = operator.norm
    try:
        known = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f"{name} has a property norm, a number, not {given!r}") from None
    x = torch.randn(1, channels, size, size, generator=torch.Generator().manual_seed(0)).to(device_of(operator))
    y = operator(operator.adjoint(operator(x)))
    least = float(operator.adjoint(y).norm() / y.norm())
    if not known >= 0.999 * least:
        raise ValueError(
            f"{name} has a norm that is A's largest singular value, or above it: {known:.6g} is below {least:.6g}, by "
            "which A^T makes an A x longer, and gradient steps would overshoot; a class without norm has it computed"
        )
