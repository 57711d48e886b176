"""Proximal maps of one's own: named, built, tried, and refused where they are none."""

import itertools
import json
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_trial import numbers

from flowsearch.data import DataConfig
from flowsearch.models import GlowProx
from flowsearch.models.own_prox import OwnProx
from flowsearch.training import TrialConfig, checkpoint, notice, run_trial
from flowsearch.training.build import build_feedforward, build_model, build_optimizer
from flowsearch.training.judge import judge
from flowsearch.training.prox_names import ProxName, parse_prox
from flowsearch.training.saved import load_saved

MODULE = """
import random
import numpy as np
import torch
from torch import nn
from flowsearch.models import ProximalMap

class Net(nn.Module):
    def __init__(self, channels, size, width=4, layers=1, dropout=0.0):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
                                  *[nn.Conv2d(width, width, 1) for _ in range(layers)], nn.Conv2d(width, channels, 1),
                                  *[nn.Dropout(dropout)] * (dropout > 0))
    def forward(self, x):
        return x + self.body(x)

class Noisy(Net):
    def forward(self, x):
        return super().forward(x + 0.1 * torch.randn_like(x))

class ByNumpy(Net):
    def forward(self, x):
        return super().forward(x) + 0.1 * np.random.randn()

class InTraining(Net):
    def forward(self, x):
        return super().forward(x) * (1 + random.random() if self.training else 1)

class Late(Net):
    def forward(self, x):
        if not hasattr(self, "head"):
            self.head = nn.Conv2d(x.shape[1], x.shape[1], 1)
            nn.init.dirac_(self.head.weight)
        return self.head(super().forward(x))

class Twice(nn.Module):
    def __init__(self, channels, size):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = self.first
    def forward(self, x):
        return self.second(self.first(x))

class Soft(ProximalMap):
    shrinks = True
    def __init__(self, channels, size):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
    def forward(self, x, shrinkage=None):
        return self.scale * x / (1 + shrinkage)

class Spectral(nn.Module):
    def __init__(self, channels, size):
        super().__init__()
        self.weight = nn.Parameter(0.1 * torch.randn(channels, size, size // 2 + 1, dtype=torch.complex64))
        self.register_buffer("turn", torch.polar(torch.ones(size // 2 + 1), torch.rand(size // 2 + 1)).conj())
    def forward(self, x):
        return x + torch.fft.irfft2(torch.fft.rfft2(x) * self.turn * self.weight, s=x.shape[-2:])

class Bad(nn.Module):
    def __init__(self, channels, size, how="none"):
        super().__init__()
        self.how, self.used = how, nn.Conv2d(channels, channels, 1)
        if how == "unused":
            self.unused = nn.Linear(2, 2)
        if how == "lazy":
            self.lazy = nn.LazyConv2d(3, 1)
        if how == "generator":
            self.held = (one for one in "abc")
    def forward(self, x):
        y = self.used(x)
        return {"shape": y[..., 1:], "double": y.double(), "nan": y / 0 * 0, "detached": y.detach(), "tuple": (y,),
                "ignores": self.used(torch.zeros_like(x)) + x.detach()}.get(self.how, y)

class Unmade(nn.Module):
    def __init__(self, channels, size):
        self.size = size
    def forward(self, x):
        return x

def no_module(channels, size):
    return abs
"""


@pytest.fixture(scope="module", autouse=True)
def own_maps(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_maps.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield
    sys.modules.pop("own_maps", None)


def config_of(prox: object, **values: object) -> TrialConfig:
    return TrialConfig(prox=prox, data=DataConfig(size=16), folds=2, **values)  # type: ignore[arg-type]


PARAMETERS = st.dictionaries(
    st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=4,
    ),
    max_size=4,
)  # fmt: skip


@given(PARAMETERS)
@settings(max_examples=100, deadline=None)
def test_a_map_survives_its_text_and_json(parameters: dict) -> None:
    name = parse_prox({"mylab.nets:Net": parameters})
    assert parse_prox(str(name)) == name == ProxName("mylab.nets:Net", parameters)
    config = TrialConfig(prox=str(name))
    assert config == TrialConfig(prox={"mylab.nets:Net": parameters})  # type: ignore[arg-type]
    assert TrialConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert (config.prox, config.prox_parameters is None) == ("mylab.nets:Net", not parameters)


def test_it_has_defaults_of_its_own_and_fields_of_no_other() -> None:
    config = TrialConfig(prox="mylab.nets:Net", depth=4, features=8)
    assert (config.start, config.lr, config.depth, config.features) == ("adjoint", 1e-3, None, None)
    assert "depth" not in TrialConfig.applicable("mylab.nets:Net")
    assert TrialConfig(prox="mylab.nets:Net(a=1)", method="tv").prox_parameters is None


@pytest.mark.parametrize(
    ("prox", "rule"),
    [
        ("glwo", "or a map of your own, module:name; not 'glwo'; did you mean glow"),
        ({"glow": {"depth": 3}}, "prox glow takes no parameters of its own"),
        ({"a:b": 3}, "takes a mapping of its parameters"),
        ({"a:b": {"x": float("inf")}}, "a finite number or a list"),
        ({"a:b": {}, "c:d": {}}, "a mapping of that name to its parameters"),
        ("a:b(x=1,x=2)", "prox a:b.*x stands twice"),
        ("a:b-3", "not 'a:b-3'"),
    ],
)
def test_what_names_no_map_is_refused(prox: object, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        TrialConfig(prox=prox)  # type: ignore[arg-type]


def test_a_parameter_is_given_once() -> None:
    with pytest.raises(ValueError, match=r"layers is given with the map, and as prox\.layers too"):
        parse_prox("a:b(layers=2)").given({"layers": 3})


def test_it_is_called_with_shape_and_parameters() -> None:
    model = build_model(config_of({"own_maps:Net": {"width": 6, "layers": 2}}), 1)
    assert isinstance(model.prox(0), OwnProx)
    assert model.prox(0).network.body[0].weight.shape == (6, 1, 3, 3)
    assert len(model.prox(0).network.body) == 6
    assert model.prox(0) is not model.prox(1)
    assert not model.prox(0).network.body[1].num_batches_tracked  # the check ran on a copy
    assert model.lambda_K is None
    build_optimizer(model, config_of("own_maps:Net"))


def test_its_weights_depend_on_the_seed_only() -> None:
    first, other = (build_model(config_of("own_maps:Net", seed=seed), 3).state_dict() for seed in (0, 1))
    torch.manual_seed(9)
    again = build_model(config_of("own_maps:Net"), 3).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_what_it_draws_is_the_same_however_often_it_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = DataConfig(size=16, train=12, val=4, test=4, ood=None)
    trial = TrialConfig(prox="own_maps:Net(dropout=0.5)", data=data, folds=2, epochs=3, batch_size=3)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    undisturbed = list(run_trial(trial, checkpoint_dir=tmp_path / "a"))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    looks = itertools.count(1)
    monkeypatch.setattr(notice, "given", lambda: next(looks) % 3 == 0)
    broken: list[dict] = []
    left = 0
    while not broken or broken[-1]["phase"] != "final":
        try:
            broken += islice(run_trial(trial, checkpoint_dir=tmp_path / "b"), 1)
        except notice.LeavingError:
            left += 1
    assert left >= 3
    assert numbers(undisturbed) == numbers(broken)
    monkeypatch.undo()
    other = next(run_trial(replace(trial, prox="own_maps:Net", prox_parameters=None)))
    assert other["train_loss"] != undisturbed[0]["train_loss"]


def test_a_map_that_draws_in_evaluation_has_the_trials_numbers_there(tmp_path: Path) -> None:
    data = DataConfig(size=16, train=12, val=4, test=4)
    *_, final = run_trial(TrialConfig(prox="own_maps:Noisy", data=data, folds=2, epochs=1), checkpoint_dir=tmp_path)
    for split in ("test", "ood"):
        of_trial = [row["psnr"] for row in final["images"] if row["split"] == split]
        assert [row["psnr"] for row in judge(load_saved(tmp_path), split)["per_image"]] == of_trial


def test_a_proximal_map_is_told_lambda() -> None:
    model = build_model(config_of("own_maps:Soft"), 3)
    assert not isinstance(model.prox(0), OwnProx | GlowProx)
    model(torch.randn(1, 3, 16, 16)).sum().backward()
    assert (model.raw_lambda_K.grad != 0).all()
    with pytest.raises(ValueError, match="shrinks by lambda, which method feedforward does not have"):
        build_feedforward(config_of("own_maps:Soft", method="feedforward"), 3, model.operator)


def test_layers_that_share_a_tensor_are_kept(tmp_path: Path) -> None:
    model = build_model(config_of("own_maps:Twice", weights="tied"), 3)
    checkpoint.write(tmp_path / "x.safetensors", checkpoint.state_tensors(model), {})
    other = build_model(config_of("own_maps:Twice", weights="tied", seed=1), 3)
    checkpoint.restore(checkpoint.read(tmp_path / "x.safetensors")[0], other)
    x = torch.randn(1, 3, 16, 16)
    assert torch.equal(model(x), other(x))


def test_complex_weights_are_trained_and_kept(tmp_path: Path) -> None:
    data = DataConfig(size=16, train=12, val=4, test=4, ood=None)
    trial = TrialConfig(prox="own_maps:Spectral", data=data, folds=2, weights="tied", epochs=3, batch_size=4)
    *_, final = whole = list(run_trial(trial, checkpoint_dir=tmp_path / "a"))
    assert final["train_seconds"] > 0
    fresh, saved = build_model(trial, 3).prox(0), load_saved(tmp_path / "a").model.prox(0)
    assert not torch.equal(saved.network.weight, fresh.network.weight)
    assert torch.equal(saved.network.turn, fresh.network.turn)
    begun = list(islice(run_trial(trial, checkpoint_dir=tmp_path / "b"), 1))
    assert numbers(begun + list(run_trial(trial, checkpoint_dir=tmp_path / "b"))) == numbers(whole)


@pytest.mark.parametrize(
    ("prox", "rule"),
    [
        ("own_maps:Bad(how=shape)", r"\(1, 3, 16, 16\) torch.float32 became \(1, 3, 16, 15\)"),
        ("own_maps:Bad(how=double)", "became .* torch.float64"),
        ("own_maps:Bad(how=nan)", "not finite"),
        ("own_maps:Bad(how=detached)", "not differentiable"),
        ("own_maps:Bad(how=tuple)", "gives a tensor, not tuple"),
        ("own_maps:Bad(how=ignores)", "lets no gradient reach the images|no gradient reach"),
        ("own_maps:Bad(how=unused)", "lets no gradient reach its parameter network.unused.weight"),
        ("own_maps:Bad(how=lazy)", "a parameter without a shape, network.lazy.weight"),
        ("own_maps:Bad(how=generator)", "cannot be copied for each fold"),
        ("own_maps:Net(depth=3)", "called with channels 3, size 16 .*unexpected keyword argument 'depth'"),
        ("own_maps:ByNumpy", "differ from call to call: draw by torch's global generators"),
        ("own_maps:InTraining", "differ from call to call: draw by torch's global generators"),
        ("own_maps:Late", r"once it is made; network\.head\.weight came when it was called"),
        ("own_maps:Unmade", r"Unmade begins its __init__ by super\(\)\.__init__\(\)"),
        ("own_maps:no_module", "makes a torch.nn.Module, not builtin_function_or_method"),
        ("own_maps:Nat", "holds no Nat; did you mean Net"),
        ("own_nowhere:Net", "there is no module own_nowhere"),
    ],
)
def test_what_is_no_map_is_refused(prox: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        build_model(config_of(prox), 3)
