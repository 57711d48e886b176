"""Operators from elsewhere: wrapped, named in a task, and refused where they are none."""

from pathlib import Path

import pytest
import torch
from all_tasks import dense, images, inner
from torch import Tensor, nn

from flowsearch.operators import LinearOperator, Task, check_operator, wrap


class FakePhysics(nn.Module):
    """The interface of deepinv's linear physics: A, A_adjoint, and a call that adds noise."""

    def __init__(self, *, own_adjoint: bool = True, offset: float = 0.0) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.linspace(0.5, 2, 16))
        self.own_adjoint, self.offset = own_adjoint, offset

    def forward(self, x: Tensor) -> Tensor:
        return self.A(x) + torch.randn(1)

    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        return (x * self.weights).roll(1, dims=-1)[..., ::2] + self.offset

    def A_adjoint(self, y: Tensor, **kwargs: object) -> Tensor:
        wide = torch.zeros(*y.shape[:-1], 16, dtype=y.dtype)
        wide[..., ::2] = y
        return wide.roll(-1, dims=-1) * self.weights if self.own_adjoint else wide * self.weights


class Broken:
    """An object whose two maps are given."""

    def __init__(self, ahead: object, back: object) -> None:
        self.A, self.A_adjoint = ahead, back


def ahead_of(x: Tensor) -> Tensor:
    """Sums of neighbours."""
    return x + x.roll(1, dims=-1)


def by_grad(y: Tensor) -> Tensor:
    """Its adjoint by a backward pass that torch does not see."""
    with torch.enable_grad():
        x = torch.zeros_like(y, requires_grad=True)
        return torch.autograd.grad(ahead_of(x), x, y)[0]


def by_vjp(y: Tensor) -> Tensor:
    """Its adjoint by a backward pass that torch sees."""
    return torch.func.vjp(ahead_of, torch.zeros_like(y))[1](y)[0]


def by_numpy(x: Tensor) -> Tensor:
    """A map through numpy, its own adjoint."""
    return torch.from_numpy(3 * x.numpy())


def test_a_physics_becomes_an_operator() -> None:
    physics = FakePhysics()
    operator = wrap(physics, 3, 16)
    assert isinstance(operator, LinearOperator)
    x = images(16, 0, dtype=torch.float32)
    y = operator(x)
    assert torch.equal(y, physics.A(x))
    assert inner(y, y) == pytest.approx(inner(x, operator.adjoint(y)), rel=1e-5)
    assert not any(parameter.requires_grad for parameter in operator.parameters())
    assert 2 <= operator.norm <= 2.05


def test_an_adjoint_by_differentiation_is_one() -> None:
    operator = wrap(Broken(ahead_of, by_vjp), 3, 16)
    y = images(16, 0).requires_grad_()
    operator.adjoint(y).sum().backward()
    assert y.grad is not None
    assert torch.equal(y.grad, ahead_of(torch.ones_like(y)))


def test_its_norm_is_computed_once() -> None:
    calls = []

    def ahead(x: Tensor) -> Tensor:
        calls.append(1)
        return 3 * x

    operator = wrap(Broken(ahead, lambda y: 3 * y), 1, 16)
    assert operator.norm == pytest.approx(3, rel=0.0215)
    before = len(calls)
    assert operator.norm >= 3
    assert len(calls) == before


def test_norm_bounds_a_spectrum_without_a_gap() -> None:
    matrix = torch.randn(256, 256, generator=torch.Generator().manual_seed(1)) / 16

    def ahead(x: Tensor) -> Tensor:
        return x.flatten(1) @ matrix.T

    operator = wrap(Broken(ahead, lambda y: (y @ matrix).reshape(-1, 1, 16, 16)), 1, 16)
    largest = float(torch.linalg.svdvals(matrix)[0])
    assert largest <= operator.norm <= 1.0215 * largest


@pytest.mark.parametrize(
    ("physics", "rule"),
    [
        (FakePhysics(own_adjoint=False), r"Re<A x, y> = <x, A\^T y>"),
        (FakePhysics(offset=1.0), "no linear map"),
        (
            object(),
            "a flowsearch.operators.LinearOperator, .* or has the methods A and A_adjoint; object is none and has not",
        ),
        (Broken(lambda x: x, lambda y: 1.01 * y), "apart"),
        (Broken(lambda x: x + 1e-2 * torch.randn_like(x), lambda y: y), "call to call; noise belongs in the task"),
        (Broken(lambda x: x - x.mean(dim=0), lambda y: y), "by itself"),
        (Broken(lambda x: x.sum(), lambda y: y), "for each image of a batch"),
        (Broken(lambda x: x, lambda y: y[..., 0]), "gives real images"),
        (Broken(lambda x: torch.fft.fft2(x), lambda y: torch.fft.ifft2(y)), "gives real images"),
        (Broken(lambda x: x.double(), lambda y: y), r"type torch.float64; what numpy made needs \.float\(\)"),
        (Broken(lambda x: x / 0, lambda y: y), "not finite"),
        (Broken(lambda x: 0 * x, lambda y: y), "measures nothing"),
        (Broken(lambda x: x @ torch.eye(3), lambda y: y), "A x failed: RuntimeError"),
        (Broken(lambda x: (x,), lambda y: y), "is a tensor, not tuple"),
        (Broken(ahead_of, by_grad), r"the gradient of <x, A\^T y> is A x, and differs by 1.0e\+00"),
        (Broken(lambda x: 2 * x.detach(), lambda y: 2 * y), r"the gradient of <A x, y> is A\^T y, and differs"),
        (Broken(lambda x: x + x.detach(), lambda y: 2 * y), r"the gradient of <A x, y> is A\^T y, and differs by 5"),
        (Broken(by_numpy, by_numpy), r"differentiated by torch, failed: RuntimeError: Can't call numpy"),
    ],
)
def test_what_is_no_operator_is_refused(physics: object, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        wrap(physics, 3, 16)


@pytest.mark.parametrize("task", ["denoise-0.1", "mri-4", "superres-2", "deblur(sigma=3,padding=reflect)"])
def test_our_own_operators_pass(task: str) -> None:
    check_operator(Task.named(task, 16).operator, task, 3, 16)


MODULE = """
import torch
from flowsearch.operators import LinearOperator

class Rows(LinearOperator):
    def __init__(self, channels, size, keep=2, flip=False):
        super().__init__()
        self.size, self.keep = size, keep
        assert channels == 3
    def forward(self, x):
        return x[..., :: self.keep, :]
    def adjoint(self, y):
        x = y.new_zeros(*y.shape[:-2], self.size, y.shape[-1])
        x[..., :: self.keep, :] = y
        return x

class Scaled:
    def __init__(self, factor):
        self.factor = factor
    def A(self, x):
        return self.factor * x
    def A_adjoint(self, y):
        return self.factor * y

def scaled(channels, size, factor=2.0):
    return Scaled(factor)

def drawn(channels, size):
    return Scaled(torch.rand(()))

def wrong(channels, size):
    operator = Rows(channels, size)
    operator.adjoint = lambda y: 2 * Rows.adjoint(operator, y)
    return operator

class Unmade(LinearOperator):
    def __init__(self, channels, size):
        self.size = size
    def forward(self, x):
        return x
    adjoint = forward

class Known(Rows):
    image_shape = (1, 2, 3)
    def __init__(self, channels, size, norm=1.0):
        super().__init__(channels, size)
        self.known = norm
    @property
    def norm(self):
        return self.known

class Shaped(Rows):
    def __init__(self, channels, size):
        super().__init__(channels, size)
        self.shape = channels, size, size
    @property
    def image_shape(self):
        return self.shape

constant = 3
"""


@pytest.fixture
def mylab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mylab_ops.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "mylab_ops", raising=False)


@pytest.mark.usefixtures("mylab")
class TestOwnTasks:
    def test_an_operator_is_called_with_shape_and_parameters(self) -> None:
        task = Task.named({"mylab_ops:Rows": {"keep": 4, "noise": 0.1}}, 16)
        assert task.name == "mylab_ops:Rows(keep=4,noise=0.1)"
        assert task.sigma == 0.1
        assert task.operator(images(16, 0)).shape == (2, 3, 4, 16)
        largest = float(torch.linalg.svdvals(dense(task.operator, 16))[0])
        assert largest <= task.operator.norm <= 1.0215 * largest

    def test_it_may_know_its_norm_and_is_told_the_images_shape(self) -> None:
        operator = Task.named("mylab_ops:Known", 16).operator
        assert operator.norm == 1.0
        assert operator.image_shape == (3, 16, 16)

    def test_it_may_say_the_images_shape_by_a_property(self) -> None:
        assert Task.named("mylab_ops:Shaped", 16).operator.image_shape == (3, 16, 16)

    def test_a_function_may_give_a_physics(self) -> None:
        operator = Task.named("mylab_ops:scaled(factor=0.5)", 16).operator
        x = images(16, 0)
        assert torch.equal(operator(x), 0.5 * x)

    def test_what_it_draws_is_the_same_each_time(self) -> None:
        x = images(16, 0)
        torch.manual_seed(5)
        first = Task.named("mylab_ops:drawn", 16).operator(x)
        after = torch.rand(())
        assert torch.equal(first, Task.named("mylab_ops:drawn", 16).operator(x))
        torch.manual_seed(5)
        assert torch.equal(after, torch.rand(()))

    @pytest.mark.parametrize(
        ("task", "rule"),
        [
            ("mylab_ops:wrong", "apart"),
            ("mylab_ops:Row", "holds no Row; did you mean Rows"),
            ("mylab_ops:Unmade", r"Unmade begins its __init__ by super\(\)\.__init__\(\)"),
            ("mylab_ops:Known(norm=0.9)", "0.9 is below 1, by which .* gradient steps would overshoot"),
            ("mylab_ops:Known(norm=null)", "a property norm, a number, not None"),
            ("mylab_ops:constant", "is a function or a class, not int"),
            ("mylab_ops:Rows(kep=3)", "called with channels 3, size 16.*unexpected keyword argument 'kep'"),
            ("mylab_none:Rows", "there is no module mylab_none"),
        ],
    )
    def test_what_cannot_be_used_is_refused(self, task: str, rule: str) -> None:
        with pytest.raises(ValueError, match=rule):
            Task.named(task, 16)
