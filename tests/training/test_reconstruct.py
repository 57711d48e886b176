"""Pictures of any size through a network of one size.

A fresh ResNet is the identity, so a fresh network of one fold gives back what one full data step makes of the
measurement: for denoising and masks the measurement, for super-resolution each mean on its block.
"""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from flowsearch.data import DataConfig
from flowsearch.models import ProximalMap, Unrolled
from flowsearch.operators import Blur, LinearOperator, Mask, Task
from flowsearch.operators.blur import gaussian_kernel, motion_kernel
from flowsearch.training import TrialConfig
from flowsearch.training.build import build_feedforward, build_model
from flowsearch.training.reconstruct import reconstruct, reconstruct_measured
from flowsearch.training.saved import Saved
from flowsearch.training.windows import Blend, Windowed, corners, fitted

GLOW = {"prox": "glow", "levels": 2, "depth": 2, "hidden": 4, "pretrain": False, "features": None, "blocks": None}
WHOLE = [
    "denoise-0.1",
    "deblur-2",
    "deblur(sigma=2,padding=zero)",
    "deblur(sigma=2,padding=reflect,noise=0.1)",
    "motion(length=6,angle=35)",
    "superres-4",
    "superres(scale=2,blur=1)",
]
"""Tasks that act alike in every place but for their boundary."""


def fresh(task: Any, size: int = 16, channels: int = 3, **settings: Any) -> Saved:
    shape: dict[str, Any] = {"prox": "resnet", "features": 4, "blocks": 1, "folds": 1}
    config = TrialConfig(task=task, data=DataConfig(size=size), **(shape | settings))
    made = Task.named(config.task, size, channels)
    if config.method == "feedforward":
        return _saved(config, channels, made, build_feedforward(config, channels, made.operator))
    return _saved(config, channels, made, build_model(config, channels, operator=made.operator))


def _saved(config: TrialConfig, channels: int, task: Task, model: Any) -> Saved:
    return Saved(Path("x"), config, channels, task, model.eval(), torch.device("cpu"))


def stirred(saved: Saved) -> Saved:
    """The network with proximal maps that are far from the identity."""
    with torch.no_grad():
        for parameter in saved.model.proxes.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator()) * 0.3)
    return saved


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


class EveryOtherRow(LinearOperator):
    """An operator of one's own, with a name of its own for its spacing."""

    stride = 2

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return x_BCHW[..., :: self.stride, :]

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        x_BCHW = y.new_zeros(*y.shape[:2], self.size, self.size)
        x_BCHW[..., :: self.stride, :] = y
        return x_BCHW


class HalfBlur(Blur):
    """An operator of one's own that inherits from flowsearch's: half as bright."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__(partial(gaussian_kernel, sigma=1.0), size, size)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return super().forward(x_BCHW) / 2

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return super().adjoint(y) / 2

    @property
    def norm(self) -> float:
        return super().norm / 2


@pytest.mark.parametrize("name", ["EveryOtherRow", "HalfBlur"])
def test_an_operator_of_ones_own_measures_tile_by_tile(name: str) -> None:
    saved, x_CHW = fresh({f"{__name__}:{name}": {}}), picture(40, 23)
    whole = reconstruct(saved, x_CHW, generator()).measurement_CHW
    tile = reconstruct(saved, x_CHW[:, 16:32, :16], generator()).measurement_CHW
    torch.testing.assert_close(whole[:, 16:32, :16], tile)


@pytest.mark.parametrize("task", WHOLE)
def test_a_picture_of_the_networks_size_is_the_networks_own(task: str) -> None:
    saved, x_CHW = stirred(fresh(task, folds=2)), picture(16, 16)
    y = saved.task.measure(x_CHW[None], generator())
    with torch.no_grad():
        assert torch.equal(reconstruct(saved, x_CHW, generator()).reconstruction_CHW, saved.model(y)[0])


@pytest.mark.parametrize(
    ("padding", "mode", "truncate"), [("circular", "wrap", 9), ("zero", "constant", 4), ("reflect", "mirror", 4)]
)
def test_a_blur_is_one_of_the_whole_picture(padding: str, mode: str, truncate: float) -> None:
    x_CHW = picture(40, 53)
    gaussian = reconstruct(fresh(f"deblur(sigma=2,padding={padding})"), x_CHW, generator()).measurement_CHW
    expected = ndimage.gaussian_filter(x_CHW.double().numpy(), 2, mode=mode, truncate=truncate, axes=(1, 2))
    torch.testing.assert_close(gaussian.double(), torch.from_numpy(expected), rtol=0, atol=1e-6)
    motion = reconstruct(fresh(f"motion(length=6,angle=35,padding={padding})"), x_CHW, generator()).measurement_CHW
    expected = ndimage.convolve(x_CHW.double().numpy(), motion_kernel(6, 35).numpy()[None], mode=mode)
    torch.testing.assert_close(motion.double(), torch.from_numpy(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ["unrolled", "feedforward"])
@pytest.mark.parametrize("task", WHOLE)
def test_data_steps_are_of_the_whole_picture(task: str, method: str) -> None:
    """With maps that are the identity the network is plain gradient descent from A^T y / |A|^2."""
    shaped = {"folds": 3} if method == "unrolled" else {"method": method, "folds": None}
    saved, x_CHW = fresh(task, **shaped), picture(36, 52)
    whole, norm = saved.task.operator.resized(36, 52), saved.task.operator.norm
    y = Task(task, whole, saved.task.sigma).measure(x_CHW[None], generator())
    expected = whole.adjoint(y) / norm**2
    if isinstance(saved.model, Unrolled):
        for step in (1, 1 / 2, 1 / 3):
            expected = expected + step / norm**2 * whole.adjoint(y - whole(expected))
    found = reconstruct(saved, x_CHW, generator())
    torch.testing.assert_close(found.reconstruction_CHW, expected[0], atol=1e-5, rtol=1e-5)


class Dimmed(ProximalMap):
    """x = w x~ / (1 + lambda) in each pixel, which is the same in windows and whole."""

    def __init__(self, weight: float, shrinks: bool) -> None:
        super().__init__()
        self.weight, self.shrinks = torch.nn.Parameter(torch.tensor(weight)), shrinks

    def forward(self, x_BCHW: torch.Tensor, shrinkage: torch.Tensor | None) -> torch.Tensor:
        return self.weight * x_BCHW / (1 if shrinkage is None else 1 + shrinkage)


@pytest.mark.parametrize("end", ["prox", "data"])
@pytest.mark.parametrize("shrinks", [True, False], ids=["with lambda", "without"])
@pytest.mark.parametrize("weights", [[0.9], [1.2, 0.8, 0.6]], ids=["tied", "untied"])
def test_each_fold_keeps_its_step_its_map_and_its_lambda(weights: list[float], shrinks: bool, end: str) -> None:
    saved = fresh("deblur-1")
    operator, whole = saved.task.operator, saved.task.operator.resized(36, 52)
    proxes = [Dimmed(weight, shrinks) for weight in weights]
    folds = 3 if end == "prox" else 4
    model = Unrolled(operator, proxes, folds, end=end).eval()
    with torch.no_grad():
        model.share_K.copy_(torch.linspace(0.9, 0.3, folds))
        if model.raw_lambda_K is not None:
            model.raw_lambda_K.copy_(torch.linspace(-3, 1, folds))
    expected = Unrolled(whole, proxes, folds, end=end)
    expected.share_K, expected.raw_lambda_K = model.share_K, model.raw_lambda_K
    y_CHW = picture(36, 52)
    found = reconstruct_measured(_saved(saved.config, 3, saved.task, model), y_CHW)
    with torch.no_grad():
        torch.testing.assert_close(found.reconstruction_CHW, expected(y_CHW[None])[0], atol=1e-5, rtol=1e-5)


def flow(**settings: Any) -> Saved:
    saved = fresh("denoise-0.1", **GLOW, **settings)
    with torch.no_grad():
        for parameter in saved.model.proxes.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator()) * 0.05)
    return saved


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_flow_maps_the_windows(precision: str) -> None:
    """In a picture's corner only one window lies, and the result is what the network makes of that window alone."""
    saved = flow(precision=precision)
    found = reconstruct(saved, picture(24, 32), generator())
    with torch.no_grad():
        alone = saved.model(found.measurement_CHW[None, :, :16, :16])[0]
    assert found.reconstruction_CHW.dtype == torch.float32
    near = 1e-5 if precision == "fp32" else 1e-2
    torch.testing.assert_close(found.reconstruction_CHW[:, :8, :8], alone[:, :8, :8], atol=near, rtol=0)


def test_a_flows_mode_starts_every_window() -> None:
    saved = flow(start="mode", folds=2)
    with torch.no_grad():
        alone = saved.model.prox(0).mode(1)
        windows = Windowed(saved.model.prox(0), (24, 32), 16, corners(24, 32, 16, 8), lambda _: None).mode(1)
    assert windows.shape == (1, 3, 24, 32)
    assert alone.std() > 0.01
    torch.testing.assert_close(windows[..., :8, :8], alone[..., :8, :8])
    torch.testing.assert_close(windows[..., -8:, -8:], alone[..., -8:, -8:])
    assert reconstruct(saved, picture(24, 32), generator()).reconstruction_CHW.isfinite().all()


@pytest.mark.parametrize(("task", "bound"), [("denoise(noise=0.000001)", 0.05), ("deblur-1", 0.01)])
def test_a_blend_has_no_seam(task: str, bound: float) -> None:
    """A network with zero padding at its borders: neighbouring pixels at a window's border differ as others do."""
    saved = stirred(fresh(task))
    flat = torch.full((3, 64, 64), 0.2)
    found_CHW = reconstruct(saved, flat, generator()).reconstruction_CHW[:, 8:-8, 8:-8]
    alone = saved.model(flat[None, :, :16, :16])[0].detach()
    at_border = (alone[:, 0] - alone[:, 8]).abs().max()
    assert found_CHW.diff(dim=1).abs().max() < bound * at_border


def test_it_is_told_how_many_windows_are_done() -> None:
    told: list[tuple[int, int]] = []
    saved = fresh("deblur-1", folds=2)
    reconstruct(saved, picture(100, 60), generator(), lambda done, total: told.append((done, total)))
    assert told == [(done, 168) for done in (50, 84, 134, 168)]  # 12 x 7 windows in each fold


def test_it_is_told_how_many_tiles_are_done() -> None:
    told: list[tuple[int, int]] = []
    reconstruct(fresh("inpaint-5"), picture(200, 100), generator(), lambda done, total: told.append((done, total)))
    assert told == [(50, 91), (91, 91)]


@pytest.mark.parametrize("shape", [(16, 16), (40, 23), (9, 9)])
def test_a_measured_picture_is_taken_as_it_is(shape: tuple[int, int]) -> None:
    y_CHW = picture(*shape)
    found = reconstruct_measured(fresh("denoise-0.1"), y_CHW)
    assert torch.equal(found.measurement_CHW, y_CHW)
    torch.testing.assert_close(found.reconstruction_CHW, y_CHW, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("task", ["denoise-0.1", "deblur-2", "motion(length=6,angle=35,padding=reflect)"])
def test_a_measured_picture_is_reconstructed_as_a_simulated_one(task: str) -> None:
    saved = stirred(fresh(task, folds=2))
    simulated = reconstruct(saved, picture(40, 23), generator())
    measured = reconstruct_measured(saved, simulated.measurement_CHW)
    assert torch.equal(measured.reconstruction_CHW, simulated.reconstruction_CHW)


@pytest.mark.parametrize(
    ("task", "shape", "rule"),
    [
        ("superres-2", (16, 16), "is no image of the same size"),
        ("mri-4", (16, 16), r"is no image of the same size.* load_saved\(MODEL\)\.model takes it"),
        ("inpaint-5", (32, 16), "has the network's 16x16 pixels, not 16x32; only denoising and deblurring take any"),
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
