"""Properties of every layer of the flow: inverse, log-determinant, gradients, modes, errors."""

import math

import pytest
import torch

from flowsearch.flows import ActNorm, AffineCoupling, FlowStep, InvertibleConv1x1, Level, Split, Squeeze
from flowsearch.flows.coupling import Bounds
from flowsearch.flows.layers import LOG_BOUND


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


LAYERS = {
    "actnorm": (lambda: ActNorm(4), 4),
    "conv1x1": (lambda: InvertibleConv1x1(4, seeded()), 4),
    "conv1x1-of-1-channel": (lambda: InvertibleConv1x1(1, seeded()), 1),
    "coupling": (lambda: AffineCoupling(4, 8, seeded()), 4),
    "squeeze": (Squeeze, 3),
    "split": (Split, 4),
    "step": (lambda: FlowStep(4, 8, seeded()), 4),
    "level": (lambda: Level(3, 2, 8, seeded()), 3),
    "level-of-1-channel": (lambda: Level(1, 3, 8, seeded()), 1),
    "level-of-many-steps": (lambda: Level(1, 6, 8, seeded()), 1),
}
LEARNED = {name: entry for name, entry in LAYERS.items() if name not in ("conv1x1-of-1-channel", "squeeze", "split")}
every_layer = pytest.mark.parametrize(("build", "channels"), LAYERS.values(), ids=LAYERS)


def images(channels, batch=2, size=4, dtype=torch.float64, seed=1):
    return torch.randn(batch, channels, size, size, dtype=dtype, generator=seeded(seed))


def flat(y):
    return torch.cat([part.flatten() for part in y]) if isinstance(y, tuple) else y.flatten()


@every_layer
def test_inverse_undoes_forward(build, channels, perturbed):
    layer, x = perturbed(build()), images(channels)
    torch.testing.assert_close(layer.inverse(layer(x)[0]), x, rtol=0, atol=1e-12)


@every_layer
def test_forward_undoes_inverse(build, channels, perturbed):
    layer = perturbed(build())
    y = layer(images(channels))[0]
    y = tuple(torch.randn_like(part) for part in y) if isinstance(y, tuple) else torch.randn_like(y)
    torch.testing.assert_close(flat(layer(layer.inverse(y))[0]), flat(y), rtol=0, atol=1e-12)


@every_layer
def test_log_determinant_is_that_of_autograd(build, channels, perturbed):
    layer, x = perturbed(build()), images(channels)
    logdet = layer(x)[1]
    assert logdet.shape == (2,)
    for index in range(2):
        jacobian = torch.autograd.functional.jacobian(lambda v: flat(layer(v[None])[0]), x[index])
        expected = torch.linalg.slogdet(jacobian.reshape(x[index].numel(), -1)).logabsdet
        torch.testing.assert_close(logdet[index], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("build", "channels"), LEARNED.values(), ids=LEARNED)
@pytest.mark.parametrize("way", ["forward", "inverse"])
def test_every_parameter_gets_a_gradient(build, channels, way, perturbed):
    layer, x = perturbed(build()), images(channels)
    if way == "forward":
        y, logdet = layer(x)
        (y.square().sum() - logdet.sum()).backward()
    else:
        layer.inverse(layer(x)[0].detach()).square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@every_layer
def test_input_gradient_is_that_of_finite_differences(build, channels, perturbed):
    layer = perturbed(build())
    x = images(channels, batch=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: flat(layer(v)[0]), x)
    y = layer(x)[0]
    parts = y if isinstance(y, tuple) else (y,)
    leaves = tuple(part.detach().clone().requires_grad_() for part in parts)
    assert torch.autograd.gradcheck(lambda *v: layer.inverse(v if isinstance(y, tuple) else v[0]), leaves)


@every_layer
def test_train_and_eval_agree(build, channels, perturbed):
    layer, x = perturbed(build()), images(channels)
    y, logdet = layer.train()(x)
    y_eval, logdet_eval = layer.eval()(x)
    assert torch.equal(flat(y), flat(y_eval))
    assert torch.equal(logdet, logdet_eval)


def test_a_level_is_its_steps_one_after_the_other(perturbed):
    level, x = perturbed(Level(3, 3, 8, seeded())), images(3)
    y, logdet = level.squeeze(x)
    for step in level.steps:
        y, more = step(y)
        logdet = logdet + more
    torch.testing.assert_close(level(x), (y, logdet), rtol=0, atol=1e-12)
    torch.testing.assert_close(level.inverse(y), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_actnorm_starts_with_zero_mean_and_unit_variance(dtype):
    actnorm = ActNorm(4).to(dtype)
    x = 3 * images(4, batch=8, size=8, dtype=dtype) + torch.arange(4)[:, None, None]
    y, _ = actnorm(x)
    variance, mean = torch.var_mean(y, dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-5)
    torch.testing.assert_close(variance, torch.ones_like(variance), rtol=0, atol=1e-4)


def test_actnorm_starts_once_and_only_in_training():
    actnorm, x = ActNorm(4), images(4, dtype=torch.float32)
    assert torch.equal(actnorm.eval()(x)[0], x)
    assert not actnorm.initialized
    first = actnorm.train()(x)[0]
    assert actnorm.initialized
    actnorm(5 * x)
    assert torch.equal(actnorm(x)[0], first)


def test_actnorm_leaves_the_scale_of_a_constant_channel():
    x = images(4, dtype=torch.float32)
    x[:, 1] = 0.3
    actnorm = ActNorm(4)
    y, logdet = actnorm(x)
    assert y[:, 1].abs().max() < 1e-6
    assert actnorm.raw_scale[1] == 0
    assert logdet.isfinite().all()


def test_a_loaded_state_decides_whether_actnorm_starts():
    x = images(4, dtype=torch.float32)
    started, fresh = ActNorm(4), ActNorm(4)
    started(x)
    copy = ActNorm(4)
    copy.load_state_dict(started.state_dict())
    assert torch.equal(copy(5 * x)[0], started(5 * x)[0])
    copy.load_state_dict(fresh.state_dict())
    assert copy.needs_start


@pytest.mark.parametrize("spread", [1.0, 1e-3], ids=["at-random", "nearly-parallel"])
@pytest.mark.parametrize("channels", [1, 4, 12, 48, 96])
def test_conv1x1_is_orthogonal_whatever_its_vectors(channels, spread):
    conv = InvertibleConv1x1(channels, seeded()).double()
    with torch.no_grad():
        conv.vectors.mul_(spread).add_(1 - spread)
    weight = conv.weight()
    torch.testing.assert_close(weight @ weight.mT, torch.eye(channels).double(), rtol=0, atol=1e-12)


def test_conv1x1_is_the_product_of_its_reflections():
    conv = InvertibleConv1x1(5, seeded()).double()
    product = torch.eye(5).double()
    for vector in conv.vectors.detach().T:
        product @= torch.eye(5) - 2 * vector.outer(vector) / vector.dot(vector)
    torch.testing.assert_close(conv.weight(), product, rtol=0, atol=1e-12)


def test_a_flow_from_before_orthogonal_convolutions_is_refused_with_what_to_do():
    old = {f"conv.{name}": torch.eye(12) for name in ("packed", "permutation")}
    with pytest.raises(ValueError, match="of an earlier version"):
        FlowStep(12, 4, seeded()).load_state_dict(old, strict=False)


def test_the_couplings_of_a_deep_level_do_no_more_than_four():
    for depth in (1, 4, 5, 18):
        level = Level(1, depth, 4, seeded())
        bounds = [step.coupling.bounds for step in level.steps]
        assert sum(one.scale for one in bounds) == pytest.approx(0.8 * min(depth, 4))
        assert sum(one.shift for one in bounds) == pytest.approx(2.0 * min(depth, 4))


@pytest.mark.parametrize("raw", [-1e6, 1e6], ids=["far-below", "far-above"])
def test_scales_stay_bounded_whatever_the_parameters(raw):
    actnorm, coupling = ActNorm(4), AffineCoupling(4, 8, seeded(), Bounds(0.3, 1.0))
    with torch.no_grad():
        actnorm.raw_scale.fill_(raw)
        coupling.net.last.bias.fill_(raw)
    x = images(4, dtype=torch.float32)
    for layer, bound in ((actnorm.eval(), 4 * LOG_BOUND), (coupling, 2 * 0.3)):
        y, logdet = layer(x)
        assert y.isfinite().all()
        assert layer.inverse(x).isfinite().all()
        assert logdet.abs().max() <= bound * 16 * 1.0001
    assert (coupling(x)[0] - x).abs().max() <= 1.0 + (math.exp(0.3) - 1) * x.abs().max() + 1e-5


def test_coupling_starts_as_the_identity():
    x = images(4, dtype=torch.float32)
    y, logdet = AffineCoupling(4, 8, seeded())(x)
    assert torch.equal(y, x)
    assert torch.equal(logdet, torch.zeros(2))


@pytest.mark.parametrize(
    ("act", "rule"),
    [
        (lambda: ActNorm(0), "channels is at least 1, not 0"),
        (lambda: InvertibleConv1x1(0), "channels is at least 1, not 0"),
        (lambda: AffineCoupling(3, 8), "even number of channels, not 3"),
        (lambda: AffineCoupling(4, 0), "hidden is at least 1, not 0"),
        (lambda: Level(3, 0, 8), "depth is at least 1, not 0"),
        (lambda: Squeeze()(torch.zeros(1, 3, 5, 4)), "even height and width"),
        (lambda: Split()(torch.zeros(1, 3, 4, 4)), "even number of channels, not 3"),
    ],
    ids=["actnorm", "conv1x1", "coupling", "hidden", "level", "squeeze", "split"],
)
def test_bad_arguments_are_refused_with_the_rule(act, rule):
    with pytest.raises(ValueError, match=rule):
        act()
