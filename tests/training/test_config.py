"""Configurations refuse what cannot be, settle what is open, and survive JSON."""

import json
import subprocess
import sys
from typing import Any

import pytest

from flowsearch.data import DataConfig
from flowsearch.training import PriorConfig, TrialConfig

CONFIGS = [
    TrialConfig(),
    TrialConfig(prox="resnet", folds=1, task="inpaint-19", patience=3),
    TrialConfig(prox="unet", data=DataConfig(size=32, ood=None), weights="tied", lr=1e-5, decay="constant"),
    TrialConfig(prox="unet", task={"deblur": {"sigma": 3, "padding": "reflect"}}),
    TrialConfig(prior=PriorConfig(noise=0.1, epochs=3), end="data", start="adjoint", pretrain=False),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.prox)
def test_round_trip_through_json(config: TrialConfig) -> None:
    assert TrialConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("prox", ["glow", "resnet", "unet"])
def test_fields_of_other_maps_are_none(prox: str) -> None:
    config = TrialConfig(prox=prox, depth=4, features=16, channels=8)
    for name in TrialConfig.field_types():
        assert (getattr(config, name) is not None) == (name in TrialConfig.applicable(prox)) or name == "patience"


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"prox": "glwo"}, "did you mean glow"),
        ({"levels": 7}, "size 64 allows at most 6 levels, not 7"),
        ({"levels": 6, "data": DataConfig(size=32)}, "size 32 allows at most 5 levels"),
        ({"folds": 0}, "folds is at least 1, not 0"),
        ({"folds": 2.0}, "folds is a whole number"),
        ({"folds": True}, "folds is a whole number"),
        ({"lr": 0.0}, "lr is above 0"),
        ({"lr": float("nan")}, "lr is a finite number"),
        ({"lr": "1e-3"}, "lr is a number"),
        ({"pretrain": 1}, "pretrain is true or false"),
        ({"prox": "unet", "start": "mode"}, "start is one of adjoint"),
        ({"prox": "unet", "data": DataConfig(size=24)}, "multiple of 16, not 24"),
        ({"task": "inpaint-64"}, "between 1 and 63, not 64"),
        ({"task": {"deblur": {"sigma": 20}}}, "a quarter of the image, 16 pixels, not 20"),
        ({"weights": "shared"}, "weights is one of tied, untied"),
        ({"patience": 0}, "patience is at least 1"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_impossible_values_are_refused(values: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        TrialConfig(**values)


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
