"""Pictures of any size through a network of one size.

A fresh ResNet is the identity, so a fresh network of one fold gives back what one full data step makes of the
measurement: for denoising and masks the measurement, for super-resolution each mean on its block.
"""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsearch.data import DataConfig
from flowsearch.operators import Mask, Task
from flowsearch.training import TrialConfig
from flowsearch.training.build import build_model
from flowsearch.training.reconstruct import reconstruct, reconstruct_measured
from flowsearch.training.saved import Saved
from flowsearch.training.windows import Blend, corners, fitted


def fresh(task: str, size: int = 16, channels: int = 3) -> Saved:
    config = TrialConfig(prox="resnet", features=4, blocks=1, folds=1, task=task, data=DataConfig(size=size))
    made = Task.named(config.task, size, channels)
    model = build_model(config, channels, operator=made.operator).eval()
    return Saved(Path("x"), config, channels, made, model, torch.device("cpu"))


def picture(height: int, width: int, channels: int = 3) -> torch.Tensor:
    return torch.rand(channels, height, width, generator=torch.Generator().manual_seed(height * 1000 + width)) - 0.5


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@given(
    st.integers(1, 70), st.integers(1, 70), st.sampled_from(["denoise-0.1", "superres-2", "inpaint-5", "compress-0.25"])
)
@settings(max_examples=25, deadline=None)
def test_every_pixel_comes_back(height: int, width: int, task: str) -> None:
    found = reconstruct(fresh(task), picture(height, width), generator())
    assert found.measurement_CHW.shape == found.reconstruction_CHW.shape == (3, height, width)
    torch.testing.assert_close(found.reconstruction_CHW, found.measurement_CHW, atol=1e-5, rtol=1e-5)


@given(st.integers(16, 80), st.integers(16, 80), st.integers(1, 16))
@settings(max_examples=50, deadline=None)
def test_windows_cover_a_picture_and_blend_to_it(height: int, width: int, step: int) -> None:
    places, x_CHW = corners(height, width, 16, step), picture(height, width, 1)
    assert all(0 <= top <= height - 16 and 0 <= left <= width - 16 for top, left in places)
    blend = Blend(height, width, 16, torch.device("cpu"))
    blend.add(places, torch.stack([x_CHW[:, top : top + 16, left : left + 16] for top, left in places]))
    torch.testing.assert_close(blend.mean(), x_CHW, atol=1e-5, rtol=1e-5)


def test_a_picture_is_mirrored_to_fit() -> None:
    x_CHW = picture(5, 7)
    y_CHW = fitted(x_CHW, 16, 4)
    assert y_CHW.shape == (3, 16, 16)
    assert torch.equal(y_CHW[:, :5, :7], x_CHW)
    assert torch.equal(y_CHW[:, 5:10], y_CHW[:, :5].flip(1))
    assert fitted(picture(17, 20), 16, 4).shape == (3, 20, 20)


def test_the_noise_of_the_whole_picture_is_of_one_draw() -> None:
    x_CHW = picture(40, 33)
    found = reconstruct(fresh("denoise-0.1"), x_CHW, generator())
    noise = (found.measurement_CHW - x_CHW) / 0.1
    assert torch.equal(found.measurement_CHW, fresh("denoise-0.1").task.measure(x_CHW[None], generator())[0])
    assert abs(noise.std() - 1) < 0.05


def test_what_depends_on_the_place_is_measured_tile_by_tile_and_once() -> None:
    saved, x_CHW = fresh("inpaint-5"), picture(32, 48)
    found = reconstruct(saved, x_CHW, generator())
    assert isinstance(saved.task.operator, Mask)
    mask_HW = saved.task.operator.mask_HW.repeat(2, 3)
    assert torch.equal(found.measurement_CHW, x_CHW * mask_HW)
    assert torch.equal(found.reconstruction_CHW == 0, (x_CHW * mask_HW) == 0)


def test_a_blend_has_no_seam() -> None:
    """A network with zero padding at its borders: neighbouring pixels at a window's border differ as others do."""
    saved = fresh("denoise(noise=0.000001)")
    with torch.no_grad():
        for parameter in saved.model.proxes.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator()) * 0.3)
    flat = torch.full((3, 64, 64), 0.2)
    found_CHW = reconstruct(saved, flat, generator()).reconstruction_CHW[:, 8:-8, 8:-8]
    alone = saved.model(flat[None, :, :16, :16])[0].detach()
    at_border = (alone[:, 0] - alone[:, 8]).abs().max()
    assert found_CHW.diff(dim=1).abs().max() < 0.35 * at_border


@pytest.mark.parametrize("task", ["denoise-0.1", "inpaint-5"], ids=["windows", "tiles"])
def test_it_is_told_how_many_windows_are_done(task: str) -> None:
    told: list[tuple[int, int]] = []
    reconstruct(fresh(task), picture(200, 100), generator(), lambda done, total: told.append((done, total)))
    total = 288 if task == "denoise-0.1" else 91
    assert told == [(min(done, total), total) for done in range(50, total + 50, 50)]


@pytest.mark.parametrize("shape", [(16, 16), (40, 23), (9, 9)])
def test_a_measured_picture_is_taken_as_it_is(shape: tuple[int, int]) -> None:
    y_CHW = picture(*shape)
    found = reconstruct_measured(fresh("denoise-0.1"), y_CHW)
    assert torch.equal(found.measurement_CHW, y_CHW)
    torch.testing.assert_close(found.reconstruction_CHW, y_CHW, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("task", "shape", "rule"),
    [
        ("superres-2", (16, 16), "is no image of the same size"),
        ("mri-4", (16, 16), r"is no image of the same size.* load_saved\(MODEL\)\.model takes it"),
        ("deblur-1", (32, 16), "has the network's 16x16 pixels, not 16x32; only denoising takes any size"),
    ],
)
def test_what_cannot_be_a_measurement_is_refused(task: str, shape: tuple[int, int], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        reconstruct_measured(fresh(task), picture(*shape))


@pytest.mark.parametrize("task", ["superres-4", "denoise-0.3", "inpaint-3"])
def test_another_task_keeps_steps_as_shares_of_the_longest(task: str) -> None:
    saved = fresh("superres-2").with_task(task)
    assert saved.model.mu_K[0].item() * saved.task.operator.norm**2 == pytest.approx(1)
    found = reconstruct(saved, picture(20, 36), generator())
    torch.testing.assert_close(found.reconstruction_CHW, found.measurement_CHW, atol=1e-5, rtol=1e-5)
