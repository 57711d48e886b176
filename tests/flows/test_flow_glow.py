"""Properties of Glow: inverse, log-determinant, likelihood, start, sampling, state, the paper's parameter count."""

import copy
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from flowsearch.flows import Glow, bits_per_dim, dequantize, normal_log_prob

SMALL = {
    "1x4x4-one-level": {"channels": 1, "size": 4, "levels": 1, "last_depth": 2},
    "1x8x8-three-levels": {"channels": 1, "size": 8, "levels": 3, "depth": 2},
    "3x4x4-two-levels": {"channels": 3, "size": 4, "levels": 2, "depth": 3, "last_depth": 2},
    "3x12x12-two-levels": {"channels": 3, "size": 12, "levels": 2, "depth": 1},
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def build(config, **more):
    return Glow(**{"depth": 2, "hidden": 6, **config, **more}, generator=seeded())


def images(flow, batch=2, dtype=torch.float64, seed=1):
    return torch.rand(batch, flow.channels, flow.size, flow.size, dtype=dtype, generator=seeded(seed)) - 0.5


def flat(latents):
    return torch.cat([latent.flatten(1) for latent in latents], dim=1)


every_flow = pytest.mark.parametrize("config", SMALL.values(), ids=SMALL)


@every_flow
def test_inverse_undoes_forward_and_forward_inverse(config, perturbed):
    flow = perturbed(build(config))
    x = images(flow)
    latents, _ = flow(x)
    assert [tuple(latent.shape[1:]) for latent in latents] == flow.latent_shapes
    assert sum(math.prod(shape) for shape in flow.latent_shapes) == flow.dimensions
    torch.testing.assert_close(flow.inverse(latents), x, rtol=0, atol=1e-10)
    drawn = [torch.randn_like(latent) for latent in latents]
    torch.testing.assert_close(flow(flow.inverse(drawn))[0], drawn, rtol=0, atol=1e-10)


@every_flow
def test_log_determinant_is_that_of_autograd(config, perturbed):
    flow = perturbed(build(config))
    x = images(flow)
    logdet = flow(x)[1]
    for index in range(2):
        jacobian = torch.autograd.functional.jacobian(lambda v: flat(flow(v[None])[0]), x[index])
        expected = torch.linalg.slogdet(jacobian.reshape(flow.dimensions, -1)).logabsdet
        torch.testing.assert_close(logdet[index], expected, rtol=0, atol=1e-9)


@every_flow
@pytest.mark.parametrize("loss", ["likelihood", "shrinkage"])
def test_every_parameter_gets_a_gradient(config, loss, perturbed):
    flow = perturbed(build(config))
    x = images(flow)
    if loss == "likelihood":
        flow.log_prob(x).sum().backward()
    else:
        (flow.inverse([latent / 1.1 for latent in flow(x)[0]]) - x).square().sum().backward()
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@every_flow
def test_log_prob_is_the_change_of_variables(config, perturbed):
    flow = perturbed(build(config))
    x = images(flow)
    latents, logdet = flow(x)
    base = torch.distributions.Normal(0.0, 1.0).log_prob(flat(latents)).sum(dim=1)
    torch.testing.assert_close(flow.log_prob(x), base + logdet)
    torch.testing.assert_close(normal_log_prob(latents), base)


def test_density_integrates_to_one(perturbed):
    """Importance sampling over the 4 dimensions of a 2x2 image, from a broader normal distribution."""
    flow = perturbed(build({"channels": 1, "size": 2, "levels": 1, "last_depth": 3}), by=0.3)
    spread = torch.distributions.Normal(0.0, 4.0)
    with torch.no_grad():
        x = 4.0 * torch.randn(400_000, 1, 2, 2, dtype=torch.float64, generator=seeded(3))
        total = (flow.log_prob(x) - spread.log_prob(x).sum(dim=(1, 2, 3))).exp().mean()
    assert total.item() == pytest.approx(1, abs=0.03)


@every_flow
def test_train_and_eval_agree(config, perturbed):
    flow = perturbed(build(config))
    x = images(flow)
    assert torch.equal(flow.train().log_prob(x), flow.eval().log_prob(x))


@every_flow
def test_the_first_training_batch_normalizes_every_latent(config):
    flow = build(config).double().train()
    x = images(flow, batch=64)
    x += 0.1 * torch.randn(x.shape, dtype=x.dtype, generator=seeded(2))
    assert flow.needs_start
    latents, _ = flow(x)
    assert not flow.needs_start
    for latent in latents:
        mean, square = latent.mean().item(), latent.square().mean().item()
        assert mean == pytest.approx(0, abs=0.2)
        assert square == pytest.approx(1, abs=0.3)


def test_evaluation_does_not_start_the_actnorms():
    flow = build(SMALL["3x4x4-two-levels"]).eval()
    flow(images(flow, dtype=torch.float32))
    assert flow.needs_start


def test_gradients_pass_where_start_comes_before_the_mode():
    flow = build(SMALL["3x4x4-two-levels"])
    x = images(flow, dtype=torch.float32)
    flow.start(x)
    (flow(x + flow.mode(2))[1].sum() + flow.mode(2).sum()).backward()
    assert all(parameter.grad is not None for parameter in flow.parameters())


def test_constant_images_start_the_flow_without_harm():
    flow = build(SMALL["3x4x4-two-levels"])
    constant = torch.full((4, 3, 4, 4), 0.25)
    assert flow.log_prob(constant).isfinite().all()
    x = images(flow, dtype=torch.float32)
    torch.testing.assert_close(flow.inverse(flow(x)[0]), x, rtol=0, atol=1e-5)


def test_state_survives_safetensors(tmp_path):
    flow = build(SMALL["3x4x4-two-levels"])
    x = images(flow, dtype=torch.float32)
    expected = flow.log_prob(x)
    save_file(flow.state_dict(), tmp_path / "flow.safetensors")
    other = Glow(**{"hidden": 6, **SMALL["3x4x4-two-levels"]}, generator=seeded(5)).train()
    other.load_state_dict(load_file(tmp_path / "flow.safetensors"))
    assert not other.needs_start
    assert torch.equal(other.log_prob(x), expected)
    assert torch.equal(copy.deepcopy(other).log_prob(x), expected)


@every_flow
def test_mode_is_the_inverse_of_zeros(config, perturbed):
    flow = perturbed(build(config))
    zeros = [torch.zeros(3, *shape, dtype=torch.float64) for shape in flow.latent_shapes]
    torch.testing.assert_close(flow.mode(3), flow.inverse(zeros))
    torch.testing.assert_close(flow.sample(3, temperature=0.0), flow.mode(3))


def test_samples_repeat_with_their_generator(perturbed):
    flow = perturbed(build(SMALL["3x4x4-two-levels"]))
    assert torch.equal(flow.sample(2, 0.7, seeded(4)), flow.sample(2, 0.7, seeded(4)))
    assert not torch.equal(flow.sample(2, 0.7, seeded(4)), flow.sample(2, 0.7, seeded(5)))


def test_weights_repeat_with_their_generator():
    first, second = (build(SMALL["1x8x8-three-levels"]).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("scale", [10.0, 1000.0])
def test_extreme_images_have_finite_gradients(scale, perturbed):
    flow = perturbed(build(SMALL["3x12x12-two-levels"]), by=0.05).float()
    x = (scale * images(flow, dtype=torch.float32)).requires_grad_()
    latents, logdet = flow(x)
    (flow.inverse([latent / 1.1 for latent in latents]).square().mean() - logdet.mean()).backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in flow.parameters())


def test_inverse_is_exact_in_float32_at_depth_32():
    flow = Glow(3, 16, levels=2, depth=32, hidden=16, last_depth=32, generator=seeded())
    with torch.no_grad():
        for step in (step for level in flow.levels for step in level.steps):
            weight = step.coupling.net.last.weight
            weight += 0.005 * torch.randn(weight.shape, generator=seeded(3))
        x = images(flow, batch=4, dtype=torch.float32)
        latents, _ = flow(x)
        assert (flow.inverse(latents) - x).abs().max() < 1e-4
        drawn = [torch.randn(latent.shape, generator=seeded(6)) for latent in latents]
        again, _ = flow(flow.inverse(drawn))
        assert (flat(again) - flat(drawn)).abs().max() < 1e-3


def test_the_papers_preset_has_its_number_of_parameters():
    """Actnorm 2c; 1x1 convolution c^2; convolutions 9 h c/2 + 3h, h^2 + 3h and 9 h c + 2c; c = 12, 24, 48, 96."""
    hidden, steps = 512, {12: 18, 24: 18, 48: 18, 96: 1}

    def of_one_step(c):
        first = 9 * hidden * c // 2 + 3 * hidden
        middle = hidden * hidden + 3 * hidden
        last = 9 * hidden * c + 2 * c
        return 2 * c + c * c + first + middle + last

    counted = sum(parameter.numel() for parameter in Glow(generator=seeded()).parameters())
    assert counted == sum(number * of_one_step(c) for c, number in steps.items()) == 25_771_456


def test_bits_per_dim_counts_the_256_values():
    flow = Glow(1, 4, levels=1, hidden=4, generator=seeded()).eval()
    x = torch.randint(0, 256, (2, 1, 4, 4), generator=seeded(1)) / 255 - 0.5
    spread = dequantize(x, seeded(2))
    bits = flow.bits_per_dim(x, seeded(2))
    torch.testing.assert_close(bits, (math.log(256) * 16 - flow.log_prob(spread)) / (16 * math.log(2)))
    assert bits_per_dim(torch.zeros(1), 16).item() == pytest.approx(8)  # the uniform density on the unit cube


def test_dequantized_values_stay_in_their_bins():
    values = torch.arange(256).repeat(64, 1).view(64, 1, 16, 16)
    spread = dequantize(values.double() / 255 - 0.5, seeded())
    assert torch.equal(((spread + 0.5) * 256).floor().long(), values)
    assert torch.equal(spread, dequantize(values.double() / 255 - 0.5, seeded()))


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"size": 32, "levels": 7}, "size 32 allows at most 5 levels, not 7"),
        ({"size": 12, "levels": 3}, "size 12 allows at most 2 levels, not 3"),
        ({"levels": 0}, "levels is at least 1, not 0"),
        ({"depth": 0}, "depth is at least 1, not 0"),
        ({"last_depth": 0}, "last_depth is at least 1, not 0"),
        ({"hidden": 1.5}, "hidden is a whole number, not 1.5"),
        ({"channels": 0}, "channels is at least 1, not 0"),
    ],
    ids=lambda value: "-".join(f"{name}-{number}" for name, number in value.items()) if isinstance(value, dict) else "",
)
def test_bad_arguments_are_refused_with_the_rule(arguments, rule):
    with pytest.raises(ValueError, match=rule):
        Glow(**arguments)


@pytest.mark.parametrize(
    ("act", "rule"),
    [
        (lambda flow: flow(torch.zeros(1, 3, 8, 8)), r"shape \(B, 3, 4, 4\), not \(1, 3, 8, 8\)"),
        (lambda flow: flow.inverse([torch.zeros(1, 6, 2, 2)]), "latents of shapes"),
        (lambda flow: flow.mode(0), "batch is at least 1, not 0"),
        (lambda flow: flow.sample(1, temperature=-1.0), "temperature is at least 0"),
    ],
    ids=["forward", "inverse", "mode", "sample"],
)
def test_bad_inputs_are_refused_with_the_rule(act, rule):
    with pytest.raises(ValueError, match=rule):
        act(build(SMALL["3x4x4-two-levels"]))
