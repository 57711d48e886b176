"""Every operator is linear, has an exact adjoint, and a norm that bounds it."""

import pytest
import torch

from flowsearch.operators import Task, check_task

TASKS = ["denoise-0.1", "inpaint-5", "inpaint-8", "deblur-1", "deblur-2.5", "deblur-4"]
SIZES = [16, 21]


def images(size: int, seed: int, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, channels, size, size, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", TASKS)
class TestOperator:
    def test_adjoint(self, name: str, size: int) -> None:
        operator = Task.named(name, size).operator
        x, y = images(size, 0), images(size, 1)
        left, right = (operator(x) * y).sum(), (x * operator.adjoint(y)).sum()
        assert torch.isclose(left, right, rtol=1e-12)

    def test_linear(self, name: str, size: int) -> None:
        operator = Task.named(name, size).operator
        x, y = images(size, 0), images(size, 1)
        torch.testing.assert_close(operator(2 * x - 3 * y), 2 * operator(x) - 3 * operator(y))

    def test_norm_bounds_and_is_reached(self, name: str, size: int) -> None:
        operator = Task.named(name, size).operator
        x = images(size, 0)
        for _ in range(300):
            x = operator.adjoint(operator(x))
            x = x / x.norm()
        largest = operator(x).norm().item()
        assert largest == pytest.approx(operator.norm, rel=1e-3)

    def test_float32_agrees_with_float64(self, name: str, size: int) -> None:
        operator = Task.named(name, size).operator
        x = images(size, 0)
        torch.testing.assert_close(operator(x.float()).double(), operator(x), rtol=1e-5, atol=1e-5)


def test_blur_is_the_direct_convolution() -> None:
    size, sigma = 15, 1.5
    operator = Task.named(f"deblur-{sigma}", size).operator
    x = images(size, 0, channels=1)[:1]
    offsets = torch.arange(-40, 41, dtype=torch.float64)
    taps = torch.exp(-0.5 * (offsets / sigma) ** 2)
    taps = taps / taps.sum()
    rows = sum(tap * x.roll(int(o), dims=-1) for tap, o in zip(taps, offsets, strict=True))
    both = sum(tap * rows.roll(int(o), dims=-2) for tap, o in zip(taps, offsets, strict=True))
    torch.testing.assert_close(operator(x), both, rtol=1e-10, atol=1e-10)


def test_blur_refuses_another_size() -> None:
    with pytest.raises(ValueError, match=r"images of \(16, 16\), not \(32, 32\)"):
        Task.named("deblur-2", 16).operator(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(("size", "width"), [(64, 19), (64, 20), (33, 5)])
def test_inpainting_hides_a_centred_square(size: int, width: int) -> None:
    y = Task.named(f"inpaint-{width}", size).operator(torch.ones(1, 1, size, size))[0, 0]
    hidden = (y == 0).nonzero()
    assert len(hidden) == width**2
    assert (hidden.float().mean(dim=0) - (size - 1) / 2).abs().max() <= 0.5


def test_noise_has_its_level_and_comes_from_the_generator() -> None:
    task = Task.named("denoise-0.2", 64)
    x = torch.zeros(8, 3, 64, 64)
    y = task.measure(x, torch.Generator().manual_seed(3))
    assert y.std().item() == pytest.approx(0.2, rel=0.02)
    assert torch.equal(y, task.measure(x, torch.Generator().manual_seed(3)))
    assert not torch.equal(y, task.measure(x, torch.Generator().manual_seed(4)))


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("denose-0.1", "did you mean denoise"),
        ("denoise", "task is one of"),
        ("denoise-0", "above 0"),
        ("denoise-2", "at most 1"),
        ("inpaint-64", "from 1 to 63"),
        ("inpaint-3.5", "whole number"),
        ("deblur-40", "quarter of the image"),
    ],
)
def test_impossible_tasks_are_refused(name: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        check_task(name, 64)
