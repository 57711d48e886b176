"""Micro-batches: the same gradient, and so the same network, as the whole batch gives."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from flowsearch.data import DataConfig
from flowsearch.training import TrialConfig, run_trial
from flowsearch.training.config import PriorConfig
from flowsearch.training.loop import Step, split

SMALL = TrialConfig(
    data=DataConfig(source="faces", size=32, train=10, val=4, test=2),
    prior=PriorConfig(epochs=1, batch_size=5),
    epochs=1, folds=1, levels=2, depth=1, hidden=8, batch_size=5, lr=1e-3, warmup=0,
)  # fmt: skip


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 4, 7, 9], ids=str)
def test_the_gradient_is_that_of_the_whole_batch(micro_batch):
    x, y = torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).split([4, 1], dim=1)
    found = {}
    for size in (None, micro_batch):
        model = nn.Linear(4, 1, dtype=torch.float64)
        nn.init.ones_(model.weight)
        nn.init.zeros_(model.bias)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        parts = split([x, y], size)
        assert max(len(part[0]) for part in parts) <= (size or 7)
        step = Step(lambda a, b, model=model: nn.functional.mse_loss(model(a), b), model, optimizer, 100.0)
        loss, norm = step(parts, "", str)
        found[size] = torch.cat([model.weight.flatten(), model.bias, torch.tensor([loss, norm])])
    torch.testing.assert_close(found[micro_batch], found[None], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pretrain", [True, False], ids=["with a prior", "without"])
def test_a_trial_in_micro_batches_is_the_same_trial(tmp_path, pretrain):
    config = replace(SMALL, pretrain=pretrain)
    whole = list(run_trial(config, checkpoint_dir=tmp_path / "whole", device="cpu"))
    parts = list(run_trial(config, checkpoint_dir=tmp_path / "parts", device="cpu", micro_batch=2))
    for one, other in zip(whole, parts, strict=True):
        for name in ("train_loss", "val_loss", "grad_norm"):
            if one.get(name) is not None:
                assert other[name] == pytest.approx(one[name], rel=2e-3, abs=2e-4), (one["phase"], name)


@pytest.mark.parametrize("own", [{"prox": "unet", "channels": 4}, {"prox": "resnet", "features": 4}], ids=str)
def test_batch_normalization_takes_no_micro_batches(tmp_path, own):
    config = TrialConfig(data=SMALL.data, folds=1, epochs=1, **own)
    with pytest.raises(MemoryError, match="batch normalization"):
        list(run_trial(config, checkpoint_dir=tmp_path, device="cpu", micro_batch=2))
