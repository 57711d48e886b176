"""PSNR by its definition, SSIM against scikit-image's."""

from typing import Any

import pytest
import torch

from flowsearch.training import metrics
from flowsearch.training.metrics import psnr, ssim

skimage = pytest.importorskip("skimage.metrics", reason="scikit-image is part of the dev extra")


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(3, 3, 24, 24, generator=generator) - 0.5
    return truth + 0.1 * torch.randn(truth.shape, generator=generator), truth


def test_psnr_of_a_constant_error() -> None:
    truth = torch.zeros(2, 3, 8, 8)
    assert psnr(truth + 0.1, truth).tolist() == pytest.approx([20.0, 20.0], abs=1e-5)


def test_psnr_agrees_with_scikit_image_on_clipped_images() -> None:
    estimate, truth = pair()
    clipped = estimate.clamp(-0.5, 0.5).numpy()
    expected = [
        skimage.peak_signal_noise_ratio(t, e, data_range=1) for t, e in zip(truth.numpy(), clipped, strict=True)
    ]
    assert psnr(estimate, truth).tolist() == pytest.approx(expected, abs=1e-4)


def test_ssim_agrees_with_scikit_image() -> None:
    estimate, truth = pair()
    clipped = estimate.clamp(-0.5, 0.5).double().numpy()
    options: dict[str, Any] = {
        "data_range": 1.0,
        "channel_axis": 0,
        "gaussian_weights": True,
        "use_sample_covariance": False,
    }
    expected = [
        skimage.structural_similarity(t + 0.5, e + 0.5, sigma=1.5, win_size=11, **options)
        for t, e in zip(truth.double().numpy(), clipped, strict=True)
    ]
    assert ssim(estimate, truth).tolist() == pytest.approx(expected, abs=1e-6)


def test_ssim_is_the_same_in_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ssim(*pair())
    monkeypatch.setattr(metrics, "_SQUARE", 19)
    torch.testing.assert_close(ssim(*pair()), whole, rtol=0, atol=1e-14)


def test_ssim_of_a_photograph_is_never_of_all_its_pixels_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of twelve million pixels took 58 GB on a CPU."""
    largest = 0
    convolve = torch.nn.functional.conv2d

    def watched(x_BCHW: torch.Tensor, window: torch.Tensor, **options: Any) -> torch.Tensor:
        nonlocal largest
        largest = max(largest, x_BCHW[0, 0].numel())
        return convolve(x_BCHW, window, **options)

    monkeypatch.setattr("torch.nn.functional.conv2d", watched)
    picture = torch.rand(1, 1, 300, 500, generator=torch.Generator().manual_seed(0)) - 0.5
    assert float(ssim(picture, picture)) == pytest.approx(1)
    assert 0 < largest <= 100 * 100


def test_identical_images_are_perfect() -> None:
    _, truth = pair()
    assert ssim(truth, truth).tolist() == pytest.approx([1.0] * 3)
    assert psnr(truth, truth).min() >= 120
