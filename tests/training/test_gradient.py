"""The gradient of a loss, as it is and replayed as a CUDA graph."""

import pytest
import torch
from torch import Tensor, nn

from flowsearch.data import DataConfig
from flowsearch.training import TrialConfig, run_trial
from flowsearch.training.config import PriorConfig
from flowsearch.training.gradient import Gradient

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def network(device: str) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1)).to(device)


def parts(device: str) -> list[list[Tensor]]:
    """Batches of two sizes, in turns."""
    generator = torch.Generator().manual_seed(1)
    return [[torch.randn(6 + number % 2, 4, generator=generator).to(device)] for number in range(12)]


def descend(device: str, *, graphs: bool) -> tuple[list[float], nn.Module, Gradient]:
    """Twelve steps of plain descent, and their losses."""
    model = network(device)
    parameters = list(model.parameters())
    gradient = Gradient(lambda x: model(x).square().mean(), parameters, graphs=graphs)
    losses = []
    for part in parts(device):
        losses.append(float(gradient(part)))
        with torch.no_grad():
            for parameter in parameters:
                parameter -= 0.1 * parameter.grad
    return losses, model, gradient


def test_a_gradient_takes_the_place_of_the_one_before():
    model = network("cpu")
    gradient = Gradient(lambda x: model(x).mean(), list(model.parameters()), graphs=False)
    part = parts("cpu")[0]
    gradient(part)
    once = [parameter.grad.clone() for parameter in model.parameters()]
    gradient(part)
    for parameter, before in zip(model.parameters(), once, strict=True):
        torch.testing.assert_close(parameter.grad, before)


@cuda
def test_replayed_steps_are_the_steps():
    losses, model, gradient = descend("cuda", graphs=True)
    plain_losses, plain, _ = descend("cuda", graphs=False)
    assert len(gradient.captured) == 2, "batches of both sizes are replayed"
    assert losses == pytest.approx(plain_losses, rel=1e-5)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=1e-4, atol=1e-6, msg=name)


def test_steps_that_cannot_be_replayed_are_computed_as_they_are_and_logged_once(monkeypatch, caplog):
    """What is logged is heard by the worker, and stands in the table of trials."""

    def refuse(*_: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr("flowsearch.training.gradient._Captured", refuse)
    model = network("cpu")
    gradient = Gradient(lambda x: model(x).mean(), list(model.parameters()), graphs=False)
    gradient.graphs = True  # as on a GPU
    values = [float(gradient(parts("cpu")[0])) for _ in range(5)]
    assert values == pytest.approx(values[:1] * 5)
    assert [record.getMessage() for record in caplog.records] == [
        "steps are not replayed as a CUDA graph: operation not permitted when stream is capturing"
    ]


@cuda
def test_a_loss_that_waits_for_the_device_is_computed_as_it_is(caplog):
    model = network("cuda")

    def loss(x: Tensor) -> Tensor:
        return model(x).mean() * float(x.sum())

    gradient = Gradient(loss, list(model.parameters()), graphs=True)
    part = parts("cuda")[0]
    values = [float(gradient(part)) for _ in range(2)]
    assert not caplog.records
    values += [float(gradient(part)) for _ in range(2)]
    assert [record.getMessage()[:22] for record in caplog.records] == ["steps are not replayed"]
    assert values == pytest.approx(values[:1] * 4, rel=1e-5)
    assert not gradient.captured


SMALL = {
    "data": DataConfig(source="faces", size=32, train=27, val=4, test=2),
    "prior": PriorConfig(epochs=2, batch_size=5, noise=0.1),
    "epochs": 3, "folds": 2, "batch_size": 5, "lr": 1e-3, "warmup": 0, "levels": 2, "depth": 2, "hidden": 16,
}  # fmt: skip


@cuda
@pytest.mark.parametrize(
    "own",
    [
        {},
        {"precision": "bf16"},
        {"weights": "tied"},
        {"memory": "networks"},
        {"memory": "checkpoint"},
        {"memory": "autograd"},
        {"prox": "score"},
        {"task": "deblur-2"},
        {"task": "mri-4"},
        {"prox": "resnet", "features": 8},
        {"prox": "unet", "channels": 4},
        {"method": "pnp", "prox": "resnet", "features": 8, "folds": None, "iterations": 3},
    ],
    ids=lambda own: ", ".join(map(str, own.values())) or "invertible",
)
def test_a_trial_on_a_gpu_is_the_same_trial_replayed(tmp_path, monkeypatch, caplog, own):
    config = TrialConfig(**SMALL | own)
    replayed = list(run_trial(config, checkpoint_dir=tmp_path / "replayed", device="cuda"))
    assert "steps are not replayed" not in caplog.text
    monkeypatch.setattr("flowsearch.training.gradient._EAGER", 10**9)
    plain = list(run_trial(config, checkpoint_dir=tmp_path / "plain", device="cuda"))
    rtol = 0.05 if config.precision == "bf16" else 5e-3
    for one, other in zip(replayed, plain, strict=True):
        for name in ("train_loss", "val_loss"):
            if one.get(name) is not None:
                assert one[name] == pytest.approx(other[name], rel=rtol, abs=rtol / 10), (one["phase"], name)
