"""Blurs and super-resolution against direct convolutions."""

import numpy as np
import pytest
import torch
from all_tasks import images
from scipy import ndimage
from torch.nn.functional import avg_pool2d

from flowsearch.operators import Task
from flowsearch.operators.blur import motion_kernel

MODES = {"circular": "wrap", "zero": "constant", "reflect": "mirror"}


@pytest.mark.parametrize("padding", MODES)
@pytest.mark.parametrize("size", [16, 21])
@pytest.mark.parametrize("sigma", [0.6, 1.5, 3.9])
def test_a_gaussian_blur_is_the_direct_convolution(padding: str, size: int, sigma: float) -> None:
    x = images(size, 0)
    y = Task.named({"deblur": {"sigma": sigma, "padding": padding}}, size).operator(x)
    truncate = 9.0 if padding == "circular" else min(4.0, (size - 1) / sigma)  # periodic: with its whole tails
    expected = ndimage.gaussian_filter(x.numpy(), sigma, mode=MODES[padding], truncate=truncate, axes=(-2, -1))
    torch.testing.assert_close(y, torch.from_numpy(expected), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("padding", MODES)
@pytest.mark.parametrize(("length", "angle"), [(7, 0), (6, 35), (9, 120), (16, 90)])
def test_a_motion_blur_is_the_direct_convolution(padding: str, length: int, angle: float) -> None:
    x = images(17, 0, channels=1)[:1]
    y = Task.named({"motion": {"length": length, "angle": angle, "padding": padding}}, 17).operator(x)
    kernel = motion_kernel(length, angle).numpy()
    expected = ndimage.convolve(x[0, 0].numpy(), kernel, mode=MODES[padding])
    torch.testing.assert_close(y[0, 0], torch.from_numpy(expected), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("angle", [0, 45, 90, 135])
@pytest.mark.parametrize("length", [5, 8])
def test_a_motion_is_a_straight_line_of_its_length_and_angle(length: int, angle: float) -> None:
    kernel = motion_kernel(length, angle).numpy()
    arm = len(kernel) // 2
    up, right = arm - np.arange(len(kernel))[:, None], np.arange(len(kernel))[None, :] - arm
    along = right * np.cos(np.radians(angle)) + up * np.sin(np.radians(angle))
    across = up * np.cos(np.radians(angle)) - right * np.sin(np.radians(angle))
    assert kernel.sum() == pytest.approx(1)
    assert (kernel * along).sum() == pytest.approx(0, abs=1e-9)
    spread = (kernel * along**2).sum()
    assert spread == pytest.approx((length**2 - 1) / 12, abs=0.26)
    assert (kernel * across**2).sum() < 0.26


def test_an_odd_motion_along_the_rows_is_a_box() -> None:
    kernel = motion_kernel(5, 0)
    assert torch.equal(kernel[2], torch.full((5,), 0.2, dtype=torch.float64))
    assert kernel.sum() == pytest.approx(1)


@pytest.mark.parametrize("padding", MODES)
def test_a_constant_image_stays_constant_inside(padding: str) -> None:
    y = Task.named({"deblur": {"sigma": 2, "padding": padding}}, 24).operator(torch.ones(1, 1, 24, 24))
    torch.testing.assert_close(y[..., 8:-8, 8:-8], torch.ones(1, 1, 8, 8))
    assert (y[0, 0, 0, 0] < 0.5) == (padding == "zero")


def test_blur_refuses_another_size() -> None:
    with pytest.raises(ValueError, match=r"images of \(16, 16\), not \(32, 32\)"):
        Task.named("deblur-2", 16).operator(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize("sigma", [0.012, 1e-200])
def test_a_gaussian_much_narrower_than_a_pixel_takes_the_nearest_ones(sigma: float) -> None:
    x = images(12, 0)
    blurred = {scale: Task.named({"superres": {"scale": scale, "blur": sigma}}, 12).operator for scale in (2, 3)}
    torch.testing.assert_close(blurred[2](x), avg_pool2d(x, 2))
    torch.testing.assert_close(blurred[3](x), x[..., 1::3, 1::3])
    assert [operator.norm for operator in blurred.values()] == pytest.approx([0.5, 1.0])


@pytest.mark.parametrize("scale", [2, 4])
def test_super_resolution_measures_the_means_of_blocks(scale: int) -> None:
    x = images(16, 0)
    operator = Task.named(f"superres-{scale}", 16).operator
    expected = x.numpy().reshape(2, 3, 16 // scale, scale, 16 // scale, scale).mean(axis=(3, 5))
    torch.testing.assert_close(operator(x), torch.from_numpy(expected))
    small = operator(x)
    torch.testing.assert_close(operator(operator.adjoint(small) / operator.norm**2), small)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_decimation_keeps_an_image_in_its_place(scale: int) -> None:
    """A mirror image is measured as the mirrored measurement: the blur is centred in each block."""
    x = images(24, 0)
    operator = Task.named({"superres": {"scale": scale, "blur": 1.3}}, 24).operator
    torch.testing.assert_close(operator(x.flip(-1)), operator(x).flip(-1))
    torch.testing.assert_close(operator(x.mT), operator(x).mT)


def test_decimation_is_the_direct_convolution() -> None:
    x = images(15, 0, channels=1)[:1]
    y = Task.named("superres(scale=3,blur=1.2)", 15).operator(x)
    blurred = ndimage.gaussian_filter(x[0, 0].numpy(), 1.2, mode="wrap", truncate=9.0)
    torch.testing.assert_close(y[0, 0], torch.from_numpy(blurred[1::3, 1::3]), rtol=1e-9, atol=1e-9)
