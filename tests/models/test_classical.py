"""Total variation against its certificate and other solvers; the gradient and its adjoint; the plain inversions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scaled import Scaled
from skimage.restoration import denoise_tv_chambolle
from torch import Tensor

from flowsearch.models import Adjoint, Measurement, TotalVariation
from flowsearch.models.classical import gradient, gradient_adjoint, total_variation
from flowsearch.operators import LinearOperator, Task

SIZE = 16


def images(count: int = 3, channels: int = 3, seed: int = 2, size: int = SIZE) -> Tensor:
    """Blocks of one colour with a little texture."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, size // 4, size // 4, generator=generator, dtype=torch.float64) - 0.5
    return 0.8 * torch.kron(coarse, torch.ones(4, 4, dtype=torch.float64))


def noisy(x: Tensor, sigma: float = 0.1) -> Tensor:
    return x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=x.dtype)


class Twice(LinearOperator):
    """A x = 2 i x: a measurement that is complex, and a norm that is not 1."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return 2j * x_BCHW

    def adjoint(self, y_BCHW: Tensor) -> Tensor:
        return (-2j * y_BCHW).real

    @property
    def norm(self) -> float:
        return 2.0


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**31),
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 7), st.integers(1, 7)),
)
def test_the_gradient_and_its_adjoint_are_a_pair(seed: int, shape: tuple[int, int, int, int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    q = torch.randn((2, *shape), generator=generator, dtype=torch.float64)
    left, right = (gradient(x) * q).sum(), (x * gradient_adjoint(q)).sum()
    torch.testing.assert_close(left, right, atol=1e-10, rtol=1e-10)
    assert gradient(x).square().sum() <= 8 * x.square().sum() + 1e-12


def test_total_variation_by_hand() -> None:
    step = torch.zeros(1, 3, 4, 4)
    step[:, :, :, 2:] = 1.0  # an edge of 4 pixels in 3 channels
    assert total_variation(step).item() == pytest.approx(4 * 3**0.5)
    corner = torch.zeros(1, 1, 2, 2)
    corner[..., 0, 0] = 1.0  # down and right at once: sqrt(2)
    assert total_variation(corner).item() == pytest.approx(2**0.5)
    assert total_variation(torch.ones(2, 3, 4, 4)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("weight", [0.02, 0.1])
def test_denoising_is_the_proximal_operator_of_another_solver(weight: float) -> None:
    """scikit-image's Chambolle iteration minimizes TV + |x - y|^2 / (2 w) for grey images."""
    y = noisy(images(1, channels=1))
    x, _ = TotalVariation(Task.named("denoise-0.1", SIZE).operator, weight, tolerance=1e-4).solve(y)
    other = denoise_tv_chambolle(y[0, 0].numpy(), weight=weight, eps=1e-9, max_num_iter=5000)
    assert np.abs(x[0, 0].numpy() - other).max() < 5e-3


@pytest.mark.parametrize("weight", [1e-3, 0.03])
@pytest.mark.parametrize("task", ["denoise-0.1", "inpaint-5", "deblur-1"])
def test_no_smooth_solver_finds_a_better_image(task: str, weight: float) -> None:
    """L-BFGS on TV with its corners rounded off by e is at most w e per pixel above the minimum."""
    operator = Task.named(task, SIZE).operator
    y = operator(noisy(images(1), 0.02))
    solver = TotalVariation(operator, weight, tolerance=1e-4)
    x, gap = solver.solve(y)
    assert gap.item() < 1e-4
    z = operator.adjoint(y).clone().requires_grad_()
    search = torch.optim.LBFGS([z], max_iter=400, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        rounded = (gradient(z).square().sum(dim=(0, 2)) + 1e-8).sqrt().sum()
        value = 0.5 * (operator(z) - y).square().sum() + weight * rounded
        value.backward()
        return value

    search.step(closure)
    ours, theirs = solver.objective(x, y).item(), solver.objective(z.detach(), y).item()
    assert ours <= theirs * (1 + 1e-4)


def test_an_image_does_not_depend_on_its_neighbours_and_complex_measurements_do() -> None:
    y = Twice()(noisy(images()))
    solver = TotalVariation(Twice(), 0.2)
    together = solver(y)
    alone = torch.cat([solver(one) for one in y.split(1)])
    torch.testing.assert_close(together, alone, atol=1e-9, rtol=0)
    real = TotalVariation(Task.named("denoise-0.1", SIZE).operator, 0.05)(noisy(images()))  # 4 / 2 |x - y|^2 + 0.2 TV
    torch.testing.assert_close(together, real, atol=0.02, rtol=0)


@pytest.mark.parametrize("scale", [0.01, 1000.0], ids="scale {:g}".format)
def test_the_units_of_the_measurement_change_nothing(scale: float) -> None:
    y = Scaled("deblur-1", 1.0)(noisy(images(), 0.02))
    plain, _ = TotalVariation(Scaled("deblur-1", 1.0), 1e-3).solve(y)
    x, gap_B = TotalVariation(Scaled("deblur-1", scale), 1e-3 * scale**2).solve(scale * y)
    assert gap_B.max() < 1e-3
    torch.testing.assert_close(x, plain, atol=1e-6, rtol=0)


def test_known_pixels_stay_and_hidden_ones_are_filled_where_nothing_is_noisy() -> None:
    operator = Task.named("inpaint-5", SIZE).operator
    flat = torch.full((1, 3, SIZE, SIZE), 0.3, dtype=torch.float64)
    x = TotalVariation(operator, 1e-3)(operator(flat))
    torch.testing.assert_close(x, flat, atol=0.01, rtol=0)


def test_images_that_have_not_converged_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    operator = Task.named("deblur-2", SIZE).operator
    TotalVariation(operator, 0.01)(operator(images()))
    assert not caplog.records
    TotalVariation(operator, 1e-5, most_iterations=200)(operator(images()))
    assert "3 of 3 images by total variation of weight 1e-05" in caplog.text


def test_the_weight_is_above_zero() -> None:
    with pytest.raises(ValueError, match="tv_weight is above 0"):
        TotalVariation(Task.named("denoise-0.1", SIZE).operator, 0.0)


def test_a_measurement_is_shown_as_it_is_only_where_it_is_an_image() -> None:
    x = images()
    assert torch.equal(Measurement(Task.named("denoise-0.1", SIZE).operator)(x), x)
    assert Measurement(Twice())(Twice()(x)).dtype == x.dtype
    torch.testing.assert_close(Adjoint(Twice())(Twice()(x)), x)
