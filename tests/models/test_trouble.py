"""A number that is not finite is traced to the fold and level where it arose."""

import pytest
import torch
from torch import Tensor

from flowsearch.flows import Glow
from flowsearch.models import GlowProx, ResNetProx, ScoreProx, Unrolled, trouble
from flowsearch.models.prox import FlowProx
from flowsearch.models.unrolled import untie
from flowsearch.operators import Task

NAN = float("nan")


def glow_network(start: str = "adjoint", by: type[FlowProx] = GlowProx) -> Unrolled:
    flow = Glow(size=16, levels=2, depth=2, hidden=4, generator=torch.Generator().manual_seed(0))
    model = Unrolled(Task.named("denoise-0.1", 16).operator, untie(by(flow), 3), 3, start=start)
    model.initialize(images())
    return model.eval()


def images() -> Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) - 0.5


def spoil(model: torch.nn.Module, name: str, value: float = NAN) -> None:
    with torch.no_grad():
        dict(model.named_parameters())[name].fill_(value)


@pytest.mark.parametrize("by", [GlowProx, ScoreProx])
@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("proxes.1.flow.levels.0.steps.1.coupling.net.last.bias", "fold 2, level 1 of f"),
        ("proxes.2.flow.levels.1.steps.0.actnorm.bias", "fold 3, level 2 of f"),
        ("share_K", "the data step of fold 1"),
    ],
)
def test_a_loss_is_traced_to_its_fold_and_level(name: str, place: str, by: type[FlowProx]) -> None:
    model = glow_network(by=by)
    assert trouble.in_network(model, images()) is None
    spoil(model, name)
    assert trouble.in_network(model, images()) == place


def test_the_inverse_and_the_start_are_told_apart() -> None:
    model = glow_network()
    spoil(model, "raw_lambda_K", -200.0)
    flow = model.prox(0).flow
    huge = [torch.full((1, *shape), 3e38) for shape in flow.latent_shapes]
    assert not flow.inverse(huge).isfinite().all()
    with torch.no_grad():
        model.raw_lambda_K[1] = float("inf")  # f's latents over infinity are 0, and g(0) is fine
    assert trouble.in_network(model, images()) is None
    with torch.no_grad():
        model.raw_lambda_K[1] = NAN
    assert trouble.in_network(model, images()) == "fold 2, level 2 of g"
    assert trouble.in_network(glow_network(), images() * float("inf")) == "the image before the first fold"


@pytest.mark.parametrize("value", [NAN, 1e25], ids=["not a number", "its square is infinite"])
def test_a_network_without_levels_is_traced_to_its_fold(value: float) -> None:
    model = Unrolled(Task.named("denoise-0.1", 16).operator, untie(ResNetProx(features=4), 2), 2).eval()
    spoil(model, "proxes.1.tail.4.bias", value)
    assert trouble.in_network(model, images()) == "the proximal map of fold 2"


def test_a_prior_is_traced_to_its_level() -> None:
    flow = glow_network().prox(0).flow
    assert trouble.in_flow(flow, images()) is None
    spoil(flow, "levels.1.steps.0.conv.vectors")
    assert trouble.in_flow(flow, images()) == "level 2 of f"


@pytest.mark.parametrize("value", [NAN, 1e25], ids=["not a number", "its square is infinite"])
def test_a_gradient_is_traced_to_the_last_bad_fold_and_its_levels(value: float) -> None:
    model = glow_network()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    assert trouble.in_gradient(model) is None
    names = dict(model.named_parameters())
    for name in ("proxes.0.flow.levels.0.steps.0.actnorm.bias", "proxes.1.flow.levels.1.steps.0.actnorm.bias"):
        names[name].grad.fill_(value)
    assert trouble.in_gradient(model) == "fold 2, level 2"
    assert trouble.in_gradient(model.prox(0)) == "level 1"


@pytest.mark.parametrize(
    ("folds", "end", "where"),
    [(3, "prox", "the map that all folds share"), (1, "prox", "fold 1"), (2, "data", "fold 1")],
)
def test_a_gradient_of_a_shared_map_is_of_no_fold(folds: int, end: str, where: str) -> None:
    flow = Glow(size=16, levels=2, depth=1, hidden=4, generator=torch.Generator().manual_seed(0))
    model = Unrolled(Task.named("denoise-0.1", 16).operator, [GlowProx(flow)], folds, end=end)
    bad = dict(model.named_parameters())["proxes.0.flow.levels.1.steps.0.actnorm.bias"]
    bad.grad = torch.full_like(bad, NAN)
    assert trouble.in_gradient(model) == f"{where}, level 2"
