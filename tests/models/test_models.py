"""Proximal maps and the unrolled network: identities of the method, gradients, sizes."""

import pytest
import torch
from scaled import Scaled
from torch import Tensor, nn

from flowsearch.flows import Glow
from flowsearch.models import (
    Denoiser,
    Feedforward,
    GlowProx,
    OwnProx,
    ProximalMap,
    ResNetProx,
    ScoreProx,
    UNetProx,
    Unrolled,
)
from flowsearch.models.unrolled import untie
from flowsearch.operators import Task

SIZE = 16


def make(prox: str) -> ProximalMap:
    torch.manual_seed(0)
    if prox in ("glow", "score"):
        flow = Glow(channels=3, size=SIZE, levels=2, depth=2, hidden=8)
        return GlowProx(flow) if prox == "glow" else ScoreProx(flow)
    return ResNetProx(3, features=8, blocks=2) if prox == "resnet" else UNetProx(3, base_channels=4)


def stir(model: nn.Module) -> nn.Module:
    """Move every parameter off its start, where some are zero on purpose."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model


def unrolled(prox: str, task: str = "denoise-0.1", folds: int = 3, tied: bool = False, end: str = "prox") -> Unrolled:
    start = "mode" if prox == "glow" else "adjoint"
    proxes = [make(prox)] if tied else untie(make(prox), folds - (end == "data"))
    return Unrolled(Task.named(task, SIZE).operator, proxes, folds, start=start, end=end)


def images(count: int = 4) -> Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2)) - 0.5


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("prox", ["glow", "score", "resnet", "unet"])
@pytest.mark.parametrize("task", ["denoise-0.1", "inpaint-5", "deblur-2", "superres-2", "mri-3"])
def test_every_parameter_gets_a_gradient(prox: str, task: str, tied: bool) -> None:
    model = stir(unrolled(prox, task, tied=tied))
    x = images()
    model.initialize(model.operator(x))
    (model(model.operator(x)) - x).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("prox", ["resnet", "unet"])
def test_network_maps_start_as_the_identity(prox: str) -> None:
    x = images()
    assert torch.equal(make(prox)(x), x)


def test_glow_prox_without_shrinkage_is_the_identity_and_with_it_nears_the_mode() -> None:
    prox = stir(make("glow")).eval()
    x = images()
    torch.testing.assert_close(prox(x, torch.tensor(0.0)), x, atol=1e-4, rtol=0)
    torch.testing.assert_close(prox(x, torch.tensor(1e6)), prox.mode(4), atol=1e-3, rtol=0)


@pytest.mark.parametrize("memory", ["invertible", "autograd"])
def test_score_prox_steps_along_the_gradient_of_the_log_density(memory: str) -> None:
    prox = stir(ScoreProx(Glow(size=SIZE, levels=2, depth=2, hidden=8, memory=memory))).double().eval()
    x, direction = images().double(), torch.randn(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3)).double()
    moved = prox(x, torch.tensor(0.01, dtype=torch.float64))
    step = 1e-7  # so small that no ReLU bends in between
    up, down = (prox.flow.log_prob(x + sign * step * direction) for sign in (1, -1))
    along = ((moved - x) / 0.01 * direction).sum(dim=(1, 2, 3))
    torch.testing.assert_close(along, (up - down) / (2 * step), rtol=1e-5, atol=0)
    with torch.no_grad():
        assert torch.equal(prox(x, torch.tensor(0.01, dtype=torch.float64)), moved)


def test_score_prox_of_a_gaussian_density_is_wieners_filter() -> None:
    """Images of variance 0.03 around 0.2, noise of 0.01: their mean given y is 0.2 + 0.03 / (0.03 + 0.01) (y - 0.2)."""
    flow = Glow(size=SIZE, levels=1, last_depth=1, hidden=8)  # fresh: actnorm, a rotation, the identity
    generator = torch.Generator().manual_seed(4)
    clean, noise = (torch.randn(256, 3, SIZE, SIZE, generator=generator) * s**0.5 for s in (0.03, 0.01))
    y = clean + 0.2 + noise
    flow.train()
    flow(y)
    prox = ScoreProx(flow.eval())
    moved = prox(y, torch.tensor(0.01)).detach()
    torch.testing.assert_close(moved, 0.2 + 0.75 * (y - 0.2), atol=0.02, rtol=0)


def test_score_prox_is_differentiated_alike_whatever_is_kept() -> None:
    grads = []
    for memory in ("invertible", "networks", "checkpoint", "autograd"):
        torch.manual_seed(0)
        prox = ScoreProx(Glow(size=SIZE, levels=2, depth=2, hidden=8, memory=memory))
        assert prox.computed_again == (memory in ("invertible", "checkpoint"))
        model = Unrolled(Task.named("deblur-2", SIZE).operator, untie(prox, 3), 3, start="mode")
        y = model.operator(images())
        model.initialize(y)
        stir(model).double()
        (model(y.double()) - images()).square().mean().backward()
        grads.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    for other in grads[1:]:
        torch.testing.assert_close(other, grads[0], rtol=1e-10, atol=0)


def test_lambda_starts_where_the_map_wants_it() -> None:
    assert unrolled("score").lambda_K[0].item() == pytest.approx(0.01, rel=0.01)
    assert unrolled("glow").lambda_K[0].item() == pytest.approx(0.127, rel=0.01)
    flow = Glow(size=SIZE, levels=1, last_depth=1, hidden=8)
    for noise, start in ((0.05, 0.0025), (0.0, 1 / 12 / 256**2), (0.5, 0.25), (1.0, 1.0)):
        model = Unrolled(Task.named("denoise-0.1", SIZE).operator, [ScoreProx(flow, noise)], 2)
        assert model.lambda_K[1].item() == pytest.approx(start, rel=1e-4)


class Halve(ProximalMap):
    """A map simple enough to work the folds out by hand."""

    def forward(self, x_BCHW: Tensor, shrinkage: Tensor | None = None) -> Tensor:
        return x_BCHW / 2


@pytest.mark.parametrize("task", ["denoise-0.1", "inpaint-5", "deblur-2", "superres-2", "compress-0.3", "mri-3"])
def test_folds_are_proximal_gradient_steps(task: str) -> None:
    operator = Task.named(task, SIZE).operator
    model = Unrolled(operator, [Halve()], folds=2)
    y = operator(images())
    x0 = operator.adjoint(y) / operator.norm**2
    x1 = (x0 + model.mu_K[0] * operator.adjoint(y - operator(x0))) / 2
    x2 = (x1 + model.mu_K[1] * operator.adjoint(y - operator(x1))) / 2
    torch.testing.assert_close(torch.stack(model.iterates(y)), torch.stack([x1, x2]))


@pytest.mark.parametrize("task", ["inpaint-5", "deblur-2", "superres-4", "compress-0.3", "mri-3"])
def test_data_step_descends_the_residual(task: str) -> None:
    operator = Task.named(task, SIZE).operator
    y, x = operator(images()), images().flip(0)
    stepped = x + operator.adjoint(y - operator(x)) / operator.norm**2
    assert (y - operator(stepped)).norm() < (y - operator(x)).norm()


@pytest.mark.parametrize("scale", [0.05, 20.0], ids=["dark", "bright"])
def test_a_network_is_the_same_whatever_the_scale_of_the_operator(scale: float) -> None:
    prox = stir(make("resnet"))
    plain, scaled = (Unrolled(Scaled("deblur-2", number), [prox], 3).eval() for number in (1.0, scale))
    y = plain.operator(images())
    torch.testing.assert_close(scaled(scale * y), plain(y), atol=1e-4, rtol=1e-4)


def trained(scale: float) -> Tensor:
    """What a network makes of measurements by an operator of this scale after five steps of its optimizer."""
    model = Unrolled(Scaled("deblur-2", scale), [make("resnet")], folds=2)
    x = images()
    y = model.operator(x + 0.1)
    optimizer = torch.optim.Adam([{"params": model.scalars(), "lr": 1e-2}, {"params": model.proxes.parameters()}])
    for _ in range(5):
        optimizer.zero_grad()
        (model(y) - x).square().mean().backward()
        optimizer.step()
    return model(y).detach()


@pytest.mark.parametrize("scale", [0.05, 200.0], ids=["dark", "bright"])
def test_training_is_the_same_whatever_the_scale_of_the_operator(scale: float) -> None:
    torch.testing.assert_close(trained(scale), trained(1.0), atol=1e-4, rtol=0)


def test_weights_of_earlier_versions_hold_mu_itself() -> None:
    model = unrolled("resnet", "superres-2")
    earlier = {name: value.clone() for name, value in model.state_dict().items()}
    del earlier["share_K"]
    earlier["mu_K"] = torch.tensor([3.0, 2.0, 1.0])
    model.load_state_dict(earlier)
    assert model.mu_K.tolist() == pytest.approx([3, 2, 1])


def test_end_data_skips_the_last_prox() -> None:
    operator = Task.named("denoise-0.1", SIZE).operator
    y = images()
    with_prox, without = (Unrolled(operator, [Halve()], folds=2, end=end).iterates(y) for end in ("prox", "data"))
    assert torch.equal(with_prox[0], without[0])
    torch.testing.assert_close(with_prox[1], without[1] / 2)


@pytest.mark.parametrize(("folds", "tied"), [(3, False), (3, True), (2, False)], ids=["untied", "tied", "one map"])
@pytest.mark.parametrize("prox", ["glow", "resnet"])
def test_end_data_has_no_map_that_is_not_used(prox: str, folds: int, tied: bool) -> None:
    model = stir(unrolled(prox, folds=folds, tied=tied, end="data"))
    assert len(model.proxes) == (1 if tied else folds - 1)
    model.initialize(images())
    model(images()).square().mean().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())


@pytest.mark.parametrize("prox", ["glow", "score", "resnet", "unet"])
def test_untied_has_a_map_for_each_fold_and_tied_one(prox: str) -> None:
    counts = {tied: sum(p.numel() for p in unrolled(prox, tied=tied).proxes.parameters()) for tied in (True, False)}
    assert counts[False] == 3 * counts[True]


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_mu_and_lambda_belong_to_each_fold(tied: bool) -> None:
    model = unrolled("glow", tied=tied)
    assert [tuple(p.shape) for p in model.scalars()] == [(3,), (3,)]
    assert (model.lambda_K > 0).all()
    assert unrolled("unet", tied=tied).lambda_K is None


def test_start_mode_needs_a_flow() -> None:
    with pytest.raises(ValueError, match="start: mode needs a flow"):
        Unrolled(Task.named("denoise-0.1", SIZE).operator, [make("unet")], 2, start="mode")


def test_maps_are_one_or_one_for_each_fold() -> None:
    operator = Task.named("denoise-0.1", SIZE).operator
    for count, end in ((2, "prox"), (3, "data")):
        with pytest.raises(ValueError, match=f"one for each, not {count}"):
            Unrolled(operator, [Halve() for _ in range(count)], 3, end=end)


def test_paper_sizes() -> None:
    count = {name: sum(p.numel() for p in prox.parameters()) for name, prox in PAPER.items()}
    assert 31.03e6 <= count["unet"] <= 31.05e6
    assert 0.155e6 <= count["resnet with 64 feature maps"] <= 0.165e6


PAPER = {"unet": UNetProx(3, 64), "resnet with 64 feature maps": ResNetProx(3, 64, 2)}


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"start": "adjiont"}, "start is one of mode, adjoint, not 'adjiont'; did you mean adjoint?"),
        ({"end": "dta"}, "end is one of prox, data, not 'dta'"),
        ({"folds": 0}, "folds is at least 1, not 0"),
        ({"folds": 2.0}, "folds is a whole number, not 2.0"),
        ({"proxes": [nn.Conv2d(3, 3, 3)]}, "is a flowsearch.models.ProximalMap, .* not Conv2d; .*OwnProx"),
    ],
    ids=["start", "end", "no fold", "folds", "plain module"],
)
def test_a_network_that_is_none_is_refused_where_it_is_made(given: dict, rule: str) -> None:
    asked = {"proxes": [make("resnet")], "folds": 2} | given
    with pytest.raises(ValueError, match=rule):
        Unrolled(Task.named("denoise-0.1", SIZE).operator, **asked)


def test_a_precision_that_there_is_none_of_is_not_taken_for_fp32() -> None:
    with pytest.raises(ValueError, match="did you mean bf16"):
        Feedforward(Task.named("denoise-0.1", SIZE).operator, make("resnet"), "bf61")
    with pytest.raises(ValueError, match="did you mean bf16"):
        Denoiser(ResNetProx(4, 8), "bf61")


@pytest.mark.parametrize("prox", ["glow", "score"])
def test_a_flows_map_without_lambda_says_what_it_lacks(prox: str) -> None:
    with pytest.raises(ValueError, match="call it with lambda"):
        make(prox)(images())


def test_maps_of_different_kinds_share_a_network() -> None:
    """Whichever comes first, lambda is there for the one that shrinks, from where that one wants it."""
    operator = Task.named("deblur-2", SIZE).operator
    x = images()
    for proxes in ([make("resnet"), make("score")], [make("score"), OwnProx(nn.Conv2d(3, 3, 1))]):
        model = Unrolled(operator, proxes, 2)
        (model(operator(x)) - x).square().mean().backward()
        assert model.lambda_K[0].item() == pytest.approx(0.01, rel=0.01)
        assert torch.isfinite(model.raw_lambda_K.grad).all()


@pytest.mark.parametrize("prox", ["glow", "score", "resnet"])
def test_inference_mode_gives_the_same_images(prox: str) -> None:
    model = stir(unrolled(prox, "deblur-2")).eval()
    y = model.operator(images())
    with torch.no_grad():
        expected = model(y)
    with torch.inference_mode():
        assert torch.equal(model(y), expected)
        assert torch.equal(model(model.operator(images())), expected)
