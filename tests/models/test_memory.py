"""What the backward pass keeps changes no gradient, and the constant-memory pass keeps one image a fold."""

from typing import Any

import pytest
import torch
from torch import Tensor

from flowsearch.flows import Glow
from flowsearch.models import GlowProx, Unrolled
from flowsearch.models.unrolled import untie
from flowsearch.operators import Task

SIZE = 16
SHAPES: dict[str, dict[str, int]] = {
    "1-level": {"levels": 1, "last_depth": 3},
    "2-levels": {"levels": 2, "depth": 2},
    "3-levels": {"levels": 3, "depth": 2, "last_depth": 2},
}


def images(count: int = 3, dtype: torch.dtype = torch.float64, noise: float = 0.0) -> Tensor:
    """Smooth random images, with noise on top."""
    generator = torch.Generator().manual_seed(2)
    coarse = torch.rand(count, 3, 4, 4, generator=generator) - 0.5
    smooth = torch.nn.functional.interpolate(coarse, size=SIZE, mode="bilinear")
    return (smooth + noise * torch.randn(smooth.shape, generator=generator)).to(dtype)


def flow_of(shape: dict[str, int], memory: str, hidden: int = 6) -> Glow:
    return Glow(size=SIZE, hidden=hidden, memory=memory, generator=torch.Generator().manual_seed(0), **shape)


def network(shape: dict[str, int], memory: str, folds: int, tied: bool, by: float = 0.05, **more: Any) -> Unrolled:
    prox = GlowProx(flow_of(shape, "autograd"))  # one start for all choices, in float32 as it is
    model = Unrolled(
        Task.named("deblur-2", SIZE).operator, [prox] if tied else untie(prox, folds), folds, start="mode", **more
    )
    model.initialize(model.operator(images(8, torch.float32, 0.1)))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.proxes.parameters():
            parameter += by * torch.randn(parameter.shape, generator=generator)
    for prox in model.proxes:
        prox.flow.memory = memory
    return model


def gradient(model: torch.nn.Module) -> Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def difference(one: Tensor, other: Tensor) -> float:
    return ((one.double() - other.double()).norm() / other.double().norm()).item()


@pytest.mark.parametrize("memory", ["invertible", "networks", "checkpoint"])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_gradients_of_the_network_are_those_of_autograd(shape, folds, tied, memory) -> None:
    grads = []
    for choice in (memory, "autograd"):
        model = network(shape, choice, folds, tied).double()
        y = model.operator(images()).requires_grad_()
        (model(y) - images()).square().sum().backward()
        grads.append(torch.cat([gradient(model), y.grad.flatten()]))
    assert difference(*grads) < 1e-8


@pytest.mark.parametrize("memory", ["invertible", "networks", "checkpoint"])
@pytest.mark.parametrize("use", ["log_prob", "inverse", "mode", "sample"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_gradients_of_the_flow_are_those_of_autograd(shape, use, memory) -> None:
    grads = []
    for choice in (memory, "autograd"):
        flow = network(shape, choice, 1, tied=True).proxes[0].flow.double()
        z = [torch.randn(2, *s, generator=torch.Generator().manual_seed(3)).double() for s in flow.latent_shapes]
        inputs = [part.requires_grad_() for part in (z if use == "inverse" else [images(2)])]
        calls = {
            "log_prob": lambda flow=flow, inputs=inputs: flow.log_prob(inputs[0]).square(),
            "inverse": lambda flow=flow, inputs=inputs: flow.inverse(inputs).square(),
            "mode": lambda flow=flow: flow.mode(2).square(),
            "sample": lambda flow=flow: flow.sample(2, 0.7, torch.Generator().manual_seed(4)).square(),
        }
        calls[use]().sum().backward()
        seen = [part.grad.flatten() for part in inputs if part.grad is not None]
        own = [p.grad.flatten() for p in flow.parameters() if p.grad is not None]
        grads.append(torch.cat(seen + own))
    assert difference(*grads) < 1e-8


@pytest.fixture(scope="module", params=[1, 10], ids=["K-1", "K-10"])
def trained(request: pytest.FixtureRequest) -> Unrolled:
    """A tied network after some steps of denoising, in float32."""
    torch.manual_seed(0)
    prox = GlowProx(Glow(size=SIZE, levels=2, depth=4, hidden=16, generator=torch.Generator().manual_seed(0)))
    model = Unrolled(Task.named("denoise-0.1", SIZE).operator, [prox], request.param, start="mode")
    model.initialize(images(32, torch.float32, 0.1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(5)
    x = images(16, torch.float32)
    for _ in range(60 if request.param == 1 else 25):
        loss = (model(x + 0.1 * torch.randn(x.shape, generator=generator)) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
    return model


def test_float32_gradients_hold_after_training(trained) -> None:
    grads = []
    x, y = images(4), images(4, noise=0.1)
    for memory, dtype in (("invertible", torch.float32), ("autograd", torch.float64)):
        model = trained.to(dtype)
        model.proxes[0].flow.memory = memory
        model.zero_grad()
        (model(y.to(dtype)) - x.to(dtype)).square().mean().backward()
        grads.append(gradient(model).double())
    trained.float().proxes[0].flow.memory = "invertible"
    assert difference(*grads) < 1e-3


def test_what_is_rebuilt_gives_the_networks_the_same_bits(trained) -> None:
    grads = []
    x, y = images(4, torch.float32), images(4, torch.float32, noise=0.1)
    for memory in ("invertible", "networks"):  # evaluated again, and kept
        trained.proxes[0].flow.memory = memory
        trained.zero_grad()
        (trained(y) - x).square().mean().backward()
        grads.append(gradient(trained))
    trained.proxes[0].flow.memory = "invertible"
    assert difference(*grads) < 1e-7


def test_bf16_stays_near_fp32_after_training(trained) -> None:
    x, y = images(4, torch.float32), images(4, torch.float32, 0.1)
    psnr = []
    for precision in ("fp32", "bf16"):
        trained.precision = precision
        with torch.no_grad():
            psnr.append(-10 * (trained(y) - x).square().mean().log10().item())
    trained.precision = "fp32"
    assert psnr[1] == pytest.approx(psnr[0], abs=0.05)


@pytest.mark.parametrize("memory", ["invertible", "networks", "checkpoint", "autograd"])
def test_bf16_gradients_are_close_to_fp32(memory) -> None:
    grads = []
    for precision in ("fp32", "bf16"):
        model = network(SHAPES["2-levels"], memory, 2, tied=True, precision=precision)
        (model(model.operator(images(dtype=torch.float32))) - images(dtype=torch.float32)).square().sum().backward()
        grads.append(gradient(model))
    assert 0 < difference(grads[1], grads[0]) < 0.1


@pytest.mark.parametrize("folds", [1, 4])
@pytest.mark.parametrize("depth", [1, 6])
def test_the_graph_keeps_images_only(folds, depth) -> None:
    model = network({"levels": 2, "depth": depth}, "invertible", folds, tied=True)
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights and tensor.dim() == 4 and tensor.dtype == torch.float32:
            kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    y = model.operator(images(dtype=torch.float32))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = (model(y) - images(dtype=torch.float32)).square().sum()
    assert loss.isfinite()
    assert sum(kept.values()) <= (3 * folds + 3) * y.numel()


@pytest.mark.parametrize("memory", ["invertible", "networks"])
def test_a_second_derivative_is_refused(memory) -> None:
    model = network(SHAPES["2-levels"], memory, 1, tied=True)
    loss = model(model.operator(images(dtype=torch.float32))).square().sum()
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(loss, list(model.parameters()), create_graph=True)


def test_weights_changed_before_the_backward_pass_are_noticed() -> None:
    flow = flow_of(SHAPES["2-levels"], "invertible").eval()
    loss = flow.log_prob(images(dtype=torch.float32)).sum()
    with torch.no_grad():
        flow.levels[0].steps[0].coupling.net.middle.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("memory", ["invertible", "networks"])
def test_a_gradient_of_the_image_alone_leaves_nothing_behind(memory) -> None:
    flow = flow_of(SHAPES["2-levels"], memory).eval()
    x = images(dtype=torch.float32).requires_grad_()
    loss = flow.log_prob(x).sum()
    torch.autograd.grad(loss, x, retain_graph=True)
    loss.backward()
    twice = gradient(flow)
    flow.zero_grad()
    flow.log_prob(x).sum().backward()
    torch.testing.assert_close(twice, gradient(flow))


def test_nothing_drifts_over_10_folds_of_32_steps() -> None:
    """Walking 64 steps there and 64 back in each fold adds nothing to what float32 rounds in plain autograd."""
    grads = {}
    for memory in ("invertible", "autograd"):
        for dtype in (torch.float32, torch.float64):
            model = network({"levels": 1, "last_depth": 32}, memory, 10, tied=True, by=0.01)
            model = model.double() if dtype == torch.float64 else model
            (model(model.operator(images(2, dtype))) - images(2, dtype)).square().mean().backward()
            grads[memory, dtype] = gradient(model)
    exact = grads["autograd", torch.float64]
    assert difference(grads["invertible", torch.float64], exact) < 1e-10
    assert difference(grads["invertible", torch.float32], exact) < 1.5 * difference(
        grads["autograd", torch.float32], exact
    )


def test_a_compiled_network_has_the_same_gradient() -> None:
    grads = []
    for compiled in (False, True):
        model = network(SHAPES["2-levels"], "invertible", 2, tied=False)
        call = torch.compile(model, backend="eager") if compiled else model
        (call(images(dtype=torch.float32)) - images(dtype=torch.float32)).square().mean().backward()
        grads.append(gradient(model))
    torch.testing.assert_close(*grads)
