"""Every operator is linear, has an exact adjoint, and a norm that bounds it."""

import pytest
import torch
from all_tasks import CASES, dense, images, inner, noise

from flowsearch.operators import Task


def check_adjoint(name: str, size: int, channels: int, dtype: torch.dtype, device: str) -> None:
    operator = Task.named(name, size, channels).operator.to(device)
    x = images(size, 0, channels, dtype).to(device)
    measured = operator(x)
    y = noise(measured.shape, 1, measured.dtype).to(device)
    back = operator.adjoint(y)
    assert (back.shape, back.dtype) == (x.shape, dtype)
    assert measured.dtype in (dtype, dtype.to_complex())
    off = abs(inner(measured, y) - inner(x, back)) / float(measured.norm() * y.norm())
    assert off < (1e-6 if dtype == torch.float32 else 1e-14)
    assert inner(measured, measured) == pytest.approx(inner(x, operator.adjoint(measured)), rel=1e-5)


@pytest.mark.parametrize(("name", "size"), CASES)
class TestOperator:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_adjoint(self, name: str, size: int, channels: int, dtype: torch.dtype) -> None:
        check_adjoint(name, size, channels, dtype, "cpu")

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    def test_adjoint_on_cuda(self, name: str, size: int) -> None:
        check_adjoint(name, size, 3, torch.float32, "cuda")

    def test_linear(self, name: str, size: int) -> None:
        operator = Task.named(name, size).operator
        x, y = images(size, 0), images(size, 1)
        torch.testing.assert_close(operator(2 * x - 3 * y), 2 * operator(x) - 3 * operator(y))

    def test_norm_is_the_largest_singular_value_or_a_little_more(self, name: str, size: int) -> None:
        operator = Task.named(name, size).operator
        largest = float(torch.linalg.svdvals(dense(operator, size))[0])
        assert largest * (1 - 1e-9) <= operator.norm <= largest * 1.0215

    def test_a_full_step_cannot_overshoot(self, name: str, size: int) -> None:
        operator = Task.named(name, size).operator
        x, y = images(size, 0), operator(images(size, 1))
        closer = x + operator.adjoint(y - operator(x)) / operator.norm**2
        assert (y - operator(closer)).norm() <= (y - operator(x)).norm()

    def test_float32_agrees_with_float64(self, name: str, size: int) -> None:
        operator = Task.named(name, size).operator
        x = images(size, 0)
        y = operator(x)
        torch.testing.assert_close(operator(x.float()).to(y.dtype), y, rtol=1e-5, atol=1e-5)

    def test_gradients_flow_through_both(self, name: str, size: int) -> None:
        """The gradient of |A x|^2 / 2 is A^T A x, and that of |A^T A x|^2 / 2 is (A^T A)^2 x."""
        operator = Task.named(name, size, 1).operator
        x = images(size, 0, 1).requires_grad_()
        normal = operator.adjoint(operator(x))
        (first,) = torch.autograd.grad(operator(x).abs().square().sum() / 2, x)
        torch.testing.assert_close(first, normal)
        (second,) = torch.autograd.grad(normal.square().sum() / 2, x)
        torch.testing.assert_close(second, operator.adjoint(operator(normal)))

    def test_the_same_task_is_the_same_operator(self, name: str, size: int) -> None:
        x = images(size, 0)
        assert torch.equal(Task.named(name, size).operator(x), Task.named(name, size).operator(x))


@pytest.mark.parametrize(
    "form",
    [
        "inpaint(square=5,seed={})",
        "inpaint(random=0.5,seed={})",
        "compress(ratio=0.2,seed={})",
        "mri(acceleration=3,seed={})",
    ],
)
def test_another_seed_is_another_operator(form: str) -> None:
    x = images(32, 0)
    one, other = (Task.named(form.format(seed), 32).operator for seed in (0, 1))
    assert not torch.equal(one.adjoint(one(x)), other.adjoint(other(x)))


@pytest.mark.parametrize(("size", "width"), [(64, 19), (64, 20), (33, 5)])
def test_inpainting_hides_a_centred_square(size: int, width: int) -> None:
    y = Task.named(f"inpaint-{width}", size).operator(torch.ones(1, 1, size, size))[0, 0]
    hidden = (y == 0).nonzero()
    assert len(hidden) == width**2
    assert (hidden.float().mean(dim=0) - (size - 1) / 2).abs().max() <= 0.5


def test_a_random_square_is_whole_wherever_it_lies() -> None:
    corners = set()
    for seed in range(40):
        y = Task.named({"inpaint": {"square": 14, "seed": seed}}, 16).operator(torch.ones(1, 1, 16, 16))[0, 0]
        hidden = (y == 0).nonzero()
        assert len(hidden) == 14**2
        corners.add(tuple(hidden.min(dim=0).values.tolist()))
    assert corners == {(top, left) for top in range(3) for left in range(3)}


def test_random_pixels_are_hidden_in_all_channels() -> None:
    y = Task.named("inpaint(random=0.3)", 20).operator(torch.ones(1, 3, 20, 20))[0]
    assert int((y[0] == 0).sum()) == 120
    assert torch.equal(y[0], y[1])


def test_noise_has_its_level_and_comes_from_the_generator() -> None:
    task = Task.named("denoise-0.2", 64)
    x = torch.zeros(8, 3, 64, 64)
    y = task.measure(x, torch.Generator().manual_seed(3))
    assert y.std().item() == pytest.approx(0.2, rel=0.02)
    assert torch.equal(y, task.measure(x, torch.Generator().manual_seed(3)))
    assert not torch.equal(y, task.measure(x, torch.Generator().manual_seed(4)))


def test_complex_noise_has_its_level_in_both_parts() -> None:
    task = Task.named("mri(acceleration=2,noise=0.2)", 64)
    y = task.measure(torch.zeros(8, 3, 64, 64), torch.Generator().manual_seed(3))
    assert y.dtype == torch.complex64
    assert y.real.std().item() == pytest.approx(0.2, rel=0.02)
    assert y.imag.std().item() == pytest.approx(0.2, rel=0.02)
    assert abs(float((y.real * y.imag).mean())) < 0.001


@pytest.mark.parametrize("name", ["deblur-2", "motion(length=5,angle=30,padding=reflect)"])
def test_a_change_of_precision_leaves_a_blur_as_it_is(name: str) -> None:
    x = images(16, 0)
    operator = Task.named(name, 16).operator
    y = operator(x)
    torch.testing.assert_close(operator.to(torch.float32)(x), y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "denoise-0.1",
        "deblur-0.7",
        "deblur(sigma=1,padding=zero)",
        "deblur(sigma=1,padding=reflect)",
        "motion(length=6,angle=35,padding=reflect)",
        "superres-4",
        "superres(scale=2,blur=0.7)",
    ],
)
def test_an_operator_that_acts_alike_in_every_place_takes_pictures_of_any_size(name: str) -> None:
    small = Task.named(name, 16).operator
    large = small.resized(24, 40)
    assert small.shift_period is not None
    assert large.norm == pytest.approx(small.norm, rel=1e-12)
    x = torch.zeros(1, 3, 24, 40, dtype=torch.float64)
    x[..., 14:18, 22:26] = images(4, 0)[:1]
    measured = large(x)
    y = noise(measured.shape, 1, measured.dtype)
    assert inner(measured, y) == pytest.approx(inner(x, large.adjoint(y)), rel=1e-12)
    top, left, side = (place // small.shift_period if name.startswith("superres") else place for place in (8, 16, 16))
    alone = small(x[..., 8:24, 16:32])
    torch.testing.assert_close(measured[..., top : top + side, left : left + side], alone, rtol=0, atol=1e-6)


def test_an_operator_of_one_size_is_not_resized() -> None:
    with pytest.raises(ValueError, match="Mask belongs to images of one size, and cannot measure pictures of 24x40"):
        Task.named("inpaint-5", 16).operator.resized(24, 40)
