"""Configurations refuse what cannot be, settle what is open, and survive JSON."""

import itertools
import json
import subprocess
import sys
from contextlib import nullcontext
from typing import Any

import pytest

from flowsearch.data import DataConfig
from flowsearch.training import PriorConfig, TrialConfig
from flowsearch.training.config import METHODS

CONFIGS = [
    TrialConfig(),
    TrialConfig(prox="resnet", folds=1, task="inpaint-19", patience=3),
    TrialConfig(prox="unet", data=DataConfig(size=32, ood=None), weights="tied", lr=1e-5, decay="constant"),
    TrialConfig(prox="unet", task={"deblur": {"sigma": 3, "padding": "reflect"}}),
    TrialConfig(prior=PriorConfig(noise=0.1, epochs=3), end="data", start="adjoint", pretrain=False),
    *(TrialConfig(method=method, data=DataConfig(size=32), levels=3, tv_weight=0.1, gamma=0.0) for method in METHODS),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.method}-{config.prox}")
def test_round_trip_through_json(config: TrialConfig) -> None:
    assert TrialConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("prox", ["glow", "score", "resnet", "unet"])
def test_fields_of_other_maps_are_none(prox: str) -> None:
    config = TrialConfig(prox=prox, depth=4, features=16, channels=8, prior=PriorConfig(noise=0.1))
    for name in TrialConfig.field_types():
        assert (getattr(config, name) is not None) == (name in TrialConfig.applicable(prox)) or name == "patience"


OPEN = {"patience", "tv_weight", "gamma", "strength"}
"""Fields whose None means something."""


@pytest.mark.parametrize("method", METHODS)
def test_fields_of_other_methods_are_none(method: str) -> None:
    given = {"folds": 3, "weights": "tied", "epochs": 4, "lr": 1e-3, "tv_weight": 0.1, "gamma": 0.1, "iterations": 7}
    given |= {"depth": 2, "features": 8, "channels": 8, "pretrain": False, "flip": False, "denoiser_noise": 0.1}
    config = TrialConfig(method=method, data=DataConfig(size=32), **given)
    meaningful = TrialConfig.applicable(None, method) | ({"prox", "pretrain"} if method == "map" else set())
    for name in TrialConfig.field_types():
        value = getattr(config, name)
        assert (value is not None) == (name in meaningful) or name in OPEN, name
        if name in given and name in meaningful and name != "pretrain":
            assert value == given[name], name
    assert (config.tv_weight is None) == (method != "tv")
    assert (config.gamma is None) == (method != "map")


def test_a_map_has_a_pretrained_flow_whatever_is_asked_for() -> None:
    config = TrialConfig(method="map", prox="unet", pretrain=False)
    assert (config.prox, config.pretrain, config.depth) == ("glow", True, 18)


def test_without_a_method_it_is_the_papers_network() -> None:
    old = {"task", "prox", "folds", "weights", "start", "end", "depth", "levels", "hidden", "last_depth", "pretrain"}
    config = TrialConfig()
    assert config.method == "unrolled"
    assert {name: getattr(config, name) for name in old} == {
        "task": "denoise-0.1",
        "prox": "glow",
        "folds": 5,
        "weights": "untied",
        "start": "mode",
        "end": "prox",
        "depth": 18,
        "levels": 4,
        "hidden": 512,
        "last_depth": 1,
        "pretrain": True,
    }
    assert (config.epochs, config.batch_size, config.lr, config.scalar_lr, config.clip) == (50, 8, 1e-5, 1e-2, 0.1)
    assert (config.warmup, config.decay, config.precision, config.flip, config.seed) == (50, "cosine", "fp32", True, 0)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"prox": "glwo"}, "did you mean glow"),
        ({"method": "tvv"}, "method is one of .* did you mean tv"),
        ({"method": "pnp", "prox": "glow"}, "prox of method pnp is one of resnet, unet, not 'glow'"),
        ({"method": "tv", "tv_weight": 0.0}, "tv_weight is above 0"),
        ({"method": "map", "gamma": -1.0}, "gamma is at least 0"),
        ({"method": "pnp", "step": 2.5}, "step is between 0 and 2"),
        ({"method": "map", "iterations": 0}, "iterations is at least 1"),
        ({"method": "feedforward", "data": DataConfig(size=24)}, "multiple of 16"),
        ({"levels": 7}, "size 64 allows at most 6 levels, not 7"),
        ({"levels": 6, "data": DataConfig(size=32)}, "size 32 allows at most 5 levels"),
        ({"folds": 0}, "folds is at least 1, not 0"),
        ({"folds": 1, "end": "data"}, "set folds to 2 or more, or end: prox"),
        ({"folds": 2.0}, "folds is a whole number"),
        ({"folds": True}, "folds is a whole number"),
        ({"lr": 0.0}, "lr is above 0"),
        ({"lr": float("nan")}, "lr is a finite number"),
        ({"lr": "1e-3"}, "lr is a number"),
        ({"pretrain": 1}, "pretrain is true or false"),
        ({"prox": "unet", "start": "mode"}, "start is one of adjoint"),
        ({"prox": "unet", "data": DataConfig(size=24)}, "multiple of 16, not 24"),
        (
            {"prox": "unet", "batch_size": 2, "data": DataConfig(size=16, train=5)},
            "smallest of 3 batches of 5 training",
        ),
        ({"task": "inpaint-64"}, "between 1 and 63, not 64"),
        ({"task": {"deblur": {"sigma": 20}}}, "a quarter of the image, 16 pixels, not 20"),
        ({"weights": "shared"}, "weights is one of tied, untied"),
        ({"prox": "score", "memory": "none"}, "memory is one of invertible, networks, checkpoint, autograd"),
        ({"prox": "score"}, "prior.noise is 0"),
        ({"prox": "score", "levels": 7}, "size 64 allows at most 6 levels, not 7"),
        ({"method": "feedforward", "prox": "score"}, "prox of method feedforward is one of resnet, unet"),
        ({"patience": 0}, "patience is at least 1"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_impossible_values_are_refused(values: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        TrialConfig(**values)


@pytest.mark.parametrize("method", ["unrolled", "feedforward", "pnp"])
@pytest.mark.parametrize("size", [16, 32])
def test_a_unet_of_single_pixels_needs_two_images_in_every_batch(method: str, size: int) -> None:
    import numpy as np
    import torch

    from flowsearch.training.loop import batches

    for train, batch_size in itertools.product(range(1, 10), range(1, 6)):
        made = batches(np.zeros((train, 1, 1, 1), np.uint8), batch_size, False, torch.Generator(), torch.device("cpu"))
        alone = size == 16 and min(map(len, made)) == 1
        with pytest.raises(ValueError, match="single pixels") if alone else nullcontext():
            TrialConfig(method=method, prox="unet", batch_size=batch_size, data=DataConfig(size=size, train=train))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="fold is not a name of a trial; did you mean folds"):
        TrialConfig.from_dict({"fold": 3})


def test_a_configuration_needs_no_torch() -> None:
    code = "import sys; from flowsearch.training import TrialConfig; TrialConfig(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_every_field_is_a_column_of_the_results() -> None:
    from flowsearch.results.schema import CONFIG_COLUMNS

    columns = [column.name for column in CONFIG_COLUMNS]
    assert columns == ["source", "size", *TrialConfig.field_types()]


@pytest.mark.parametrize("section", ["data", "prior"])
def test_a_section_that_is_a_mapping_is_refused(section):
    with pytest.raises(ValueError, match=f"{section} is a .*Config, not .*; from_dict takes mappings"):
        TrialConfig(**{section: {"seed": 1}})
