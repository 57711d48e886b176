"""Batched L-BFGS on problems with known answers; the latent MAP on a small flow; plug-and-play."""

import pytest
import torch
from scipy.optimize import minimize as scipy_minimize
from torch import Tensor

from flowsearch.flows import Glow
from flowsearch.models import Adjoint, Denoiser, LatentMap, PlugAndPlay, ProximalMap
from flowsearch.models.lbfgs import minimize
from flowsearch.operators import Task

SIZE = 16


def rosenbrock(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Each row its own valley: the minimum is at (a, a^2, a^4, ...) with a = 1 + row / 10."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        a = 1 + rows[:, None] / 10
        value = (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2).sum(dim=1) + ((x[:, :1] - a) ** 2).sum(dim=1)
        (grad,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), grad


def test_each_problem_comes_to_its_own_minimum() -> None:
    start = torch.zeros(5, 4, dtype=torch.float64)
    x, value = minimize(rosenbrock, start, 300, tolerance=1e-14)
    a = 1 + torch.arange(5, dtype=torch.float64) / 10
    torch.testing.assert_close(x, torch.stack([a, a**2, a**4, a**8], dim=1), atol=1e-4, rtol=0)
    assert value.max() < 1e-8


def test_a_problem_does_not_depend_on_its_neighbours() -> None:
    start = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    together, _ = minimize(rosenbrock, start, 25)
    for row in range(4):
        alone, _ = minimize(lambda x, rows, row=row: rosenbrock(x, rows + row), start[row : row + 1], 25)
        torch.testing.assert_close(together[row], alone[0])


def test_it_is_about_as_quick_as_scipys() -> None:
    """On an ill-conditioned quadratic, in iterations."""
    scales = torch.logspace(0, 4, 30, dtype=torch.float64)

    def quadratic(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        return 0.5 * (scales * (x - 1) ** 2).sum(dim=1), scales * (x - 1)

    theirs = scipy_minimize(
        lambda x: tuple(part[0].numpy() for part in quadratic(torch.from_numpy(x)[None], torch.zeros(1))),
        torch.zeros(30, dtype=torch.float64).numpy(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 60, "maxcor": 10, "ftol": 0, "gtol": 0},
    )
    _, ours = minimize(quadratic, torch.zeros(1, 30, dtype=torch.float64), 60, tolerance=0.0)
    assert ours.item() < 100 * theirs.fun + 1e-10


def test_values_never_rise_and_nan_is_refused() -> None:
    def cliff(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        value = torch.where(x[:, 0] > 0.5, torch.nan, -x[:, 0])
        return value, -torch.ones_like(x)

    x, value = minimize(cliff, torch.zeros(2, 1), 20)
    assert torch.isfinite(value).all()
    assert (value < -0.4).all()
    assert (x <= 0.5).all()


def prior() -> Glow:
    """A flow of smooth images: trained for a moment on images of one colour."""
    flow = Glow(channels=3, size=SIZE, levels=2, depth=2, hidden=16, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(flow.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        (-flow.log_prob(smooth(16, generator)).mean() / flow.dimensions).backward()
        optimizer.step()
    return flow


def smooth(count: int, generator: torch.Generator) -> Tensor:
    colour = 0.6 * torch.rand(count, 3, 1, 1, generator=generator) - 0.3
    return colour + 0.03 * torch.randn(count, 3, SIZE, SIZE, generator=generator)


@pytest.fixture(scope="module")
def flow() -> Glow:
    return prior()


@pytest.mark.parametrize("task", ["denoise-0.2", "inpaint-7"])
def test_latent_map_lowers_its_objective_and_beats_the_adjoint(task: str, flow: Glow) -> None:
    named = Task.named(task, SIZE)
    generator = torch.Generator().manual_seed(3)
    x = smooth(4, generator)
    y = named.measure(x, generator)
    model = LatentMap(named.operator, flow, gamma=named.sigma**2 or 1e-3, iterations=40)
    z, value = model.solve(y)
    assert (value < model.objective(torch.zeros_like(z), y)).all()
    torch.testing.assert_close(value, model.objective(z, y), rtol=1e-4, atol=1e-5)
    errors = [(estimate - x).square().mean() for estimate in (model(y), Adjoint(named.operator)(y))]
    assert errors[0] < errors[1] / 2


def test_latent_map_ends_where_the_gradient_vanishes(flow: Glow) -> None:
    named = Task.named("denoise-0.2", SIZE)
    y = named.measure(smooth(2, torch.Generator().manual_seed(4)), torch.Generator().manual_seed(5))
    model = LatentMap(named.operator, flow, gamma=0.5, iterations=300)
    z, _ = model.solve(y)
    grads = []
    for point in (torch.zeros_like(z), z):
        point = point.clone().requires_grad_()
        (grad,) = torch.autograd.grad(model.objective(point, y).sum(), point)
        grads.append(grad.norm(dim=1))
    assert (grads[1] < 0.02 * grads[0]).all()


class Shrink(ProximalMap):
    """A denoiser that is a contraction: it halves the image's distance to zero, noise channel and all."""

    def forward(self, x_BCHW: Tensor, shrinkage: Tensor | None = None) -> Tensor:
        return x_BCHW / 2


@pytest.mark.parametrize("task", ["denoise-0.1", "inpaint-5", "deblur-2"])
def test_plug_and_play_comes_to_its_fixed_point(task: str) -> None:
    operator = Task.named(task, SIZE).operator
    y = operator(torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) - 0.5)
    model = PlugAndPlay(operator, Denoiser(Shrink()), strength=0.1, step=0.7, iterations=200, tolerance=1e-6)
    x = model(y)
    again = (x - 0.7 * operator.adjoint(operator(x) - y)) / 2
    torch.testing.assert_close(x, again, atol=1e-5, rtol=0)
    assert len(list(model.iterates(y))) < 200


def test_the_denoiser_is_told_the_noise() -> None:
    class Tell(ProximalMap):
        def forward(self, x_BCHW: Tensor, shrinkage: Tensor | None = None) -> Tensor:
            return x_BCHW[:, -1:].expand_as(x_BCHW)

    told = Denoiser(Tell())(torch.zeros(2, 3, SIZE, SIZE), torch.tensor([0.1, 0.2]))
    assert told.shape == (2, 3, SIZE, SIZE)
    assert told.amax(dim=(1, 2, 3)).tolist() == pytest.approx([0.1, 0.2])


def test_the_latent_map_works_in_inference_mode() -> None:
    operator = Task.named("inpaint-4", SIZE).operator
    solver = LatentMap(operator, Glow(channels=3, size=SIZE, levels=2, depth=1, hidden=4), 0.01, iterations=3)
    y = operator(torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) - 0.5)
    expected = solver(y)
    with torch.inference_mode():
        assert torch.equal(solver(y), expected)
