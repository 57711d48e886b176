"""Linear measurement operators: y = A x (paper eq. (1)), each with its exact adjoint, and the simplest of them.

Shapes: x_BCHW is a batch of images; a measurement `y` has B first and any shape behind it, real or complex.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from flowsearch.operators.spectrum import largest_singular_value


class LinearOperator(nn.Module, ABC):
    """A linear map A on real images: `forward` is A, `adjoint` is A^T, so that Re<A x, y> = <x, A^T y>.

    A measurement may be complex; its adjoint is a real image all the same.
    """

    image_shape: tuple[int, int, int] | None = None
    """Channels, height and width of the images, from which `norm` starts where it has to be computed."""

    shift_period: int | None = None
    """Where A acts alike in every place, but for its boundary: after how many pixels it does so again (1 of a blur, the
    scale of super-resolution). None where it belongs to images of one size, such as a mask."""

    local = False
    """Whether each measured number is of its own `shift_period` x `shift_period` pixels alone, so that a part of a
    measurement is the measurement of a part."""

    @abstractmethod
    def forward(self, x_BCHW: Tensor) -> Tensor:
        """A x."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """A^T y, real images."""

    def resized(self, height: int, width: int) -> "LinearOperator":
        """The same measurement of pictures of another size, multiples of `shift_period`; `ValueError` where A belongs
        to images of one size.

        Its `norm` is this one's, which a network's steps were trained by: with the size |A| changes at the boundary.
        """
        if not self.local:
            raise ValueError(
                f"{type(self).__name__} belongs to images of one size, and cannot measure pictures of {height}x{width}"
            )
        return self

    @property
    def norm(self) -> float:
        """The largest singular value of A, or a safe value up to 2% above it: a gradient step of 1 / norm^2 cannot
        overshoot.

        An operator that knows its own overrides this, and keeps what takes long: every data step asks for it. Otherwise
        it is computed when it is first asked for.
        """
        if "_norm" not in self.__dict__:
            if self.image_shape is None:
                raise ValueError(
                    f"{type(self).__name__} has no image_shape, from which its norm could be computed; set it to "
                    "(channels, height, width)"
                )
            self.__dict__["_norm"] = largest_singular_value(self, self.image_shape)
        norm: float = self.__dict__["_norm"]
        return norm


class Identity(LinearOperator):
    """A x = x: denoising (paper section VI-C)."""

    shift_period = 1
    local = True

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW

    def adjoint(self, y_BCHW: Tensor) -> Tensor:
        return y_BCHW

    @property
    def norm(self) -> float:
        return 1.0


class Mask(LinearOperator):
    """A x = m * x with a mask m of zeros and ones: inpainting (paper section VI-D). A is its own adjoint.

    A measurement keeps the image's shape: of a noisy one the hidden pixels hold noise alone, which A^T takes away, and
    which the residual and the measurement's PSNR count.
    """

    mask_HW: Tensor

    def __init__(self, mask_HW: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask_HW", mask_HW, persistent=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW * self.mask_HW.to(x_BCHW.dtype)

    def adjoint(self, y_BCHW: Tensor) -> Tensor:
        return self(y_BCHW)

    @property
    def norm(self) -> float:
        return 1.0


def centre_mask(size: int, width: int) -> Tensor:
    """Ones with a `width` x `width` square of zeros in the middle, as a `size` x `size` tensor."""
    return _square_mask(size, width, (size - width) // 2, (size - width) // 2)


def square_mask(size: int, width: int, seed: int) -> Tensor:
    """Ones with a `width` x `width` square of zeros; each place where it is whole is equally likely."""
    places = torch.randint(size - width + 1, (2,), generator=torch.Generator().manual_seed(seed))
    return _square_mask(size, width, int(places[0]), int(places[1]))


def pixel_mask(size: int, hidden: float, seed: int) -> Tensor:
    """Ones with zeros at the share `hidden` of all pixels, drawn at random without repetition."""
    mask_N = torch.ones(size * size)
    order = torch.randperm(size * size, generator=torch.Generator().manual_seed(seed))
    mask_N[order[: round(hidden * size * size)]] = 0
    return mask_N.reshape(size, size)


def _square_mask(size: int, width: int, top: int, left: int) -> Tensor:
    mask_HW = torch.ones(size, size)
    mask_HW[top : top + width, left : left + width] = 0
    return mask_HW
