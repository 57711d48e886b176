"""`gpu: auto`: what a trial needs, its share, and how Ray packs by it."""

import json
import subprocess
import sys
import weakref
from dataclasses import replace

import pytest
import torch
from small_study import TEXT
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from flowsearch.data import DataConfig
from flowsearch.study.file import read
from flowsearch.study.machines import slots
from flowsearch.study.packing import CONTEXT_BYTES, Gpu, Packing, room_for, share_of
from flowsearch.study.shapes import Shapes, prior_shape_of, shape_of
from flowsearch.study.source import Source
from flowsearch.training.build import build_model, build_prox
from flowsearch.training.config import PriorConfig, TrialConfig
from flowsearch.training.need import STATE_BYTES, estimate, estimate_prior
from flowsearch.training.trial import run_trial

GB = 10**9


def config_of(**values) -> TrialConfig:
    return TrialConfig(data=DataConfig(size=16), **values)


@pytest.mark.parametrize(
    "values",
    [
        {"prox": "glow", "folds": 3, "depth": 2, "levels": 3, "hidden": 8, "last_depth": 1},
        {"prox": "glow", "folds": 2, "depth": 3, "levels": 2, "hidden": 6, "weights": "tied"},
        {"prox": "score", "folds": 2, "depth": 3, "levels": 2, "hidden": 6, "pretrain": False},
        {"prox": "resnet", "folds": 4, "features": 8},
        {"prox": "unet", "folds": 2, "channels": 4, "weights": "tied"},
        {"prox": "glow", "folds": 3, "depth": 2, "levels": 2, "hidden": 6, "end": "data"},
        {"prox": "resnet", "folds": 3, "features": 8, "weights": "tied", "end": "data"},
    ],
    ids=["glow untied", "glow tied", "score", "resnet untied", "unet tied", "last untied", "last tied"],
)
def test_parameters_are_counted_exactly(values):
    config = config_of(**values)
    real = sum(parameter.numel() for parameter in build_model(config, 3).parameters())
    assert estimate(config).parameters == real


@pytest.mark.parametrize("method", ["feedforward", "pnp", "map", "tv", "adjoint"])
def test_every_method_has_a_need(method):
    config = config_of(method=method)
    need = estimate(config)
    assert need.bytes > STATE_BYTES * need.parameters
    if method == "pnp":
        assert need.parameters == sum(parameter.numel() for parameter in build_prox(config, 4).parameters())


def test_memory_modes_are_in_order():
    needs = [
        estimate(config_of(prox="glow", folds=4, memory=memory)).activation_bytes
        for memory in ("invertible", "checkpoint", "networks")
    ]
    assert needs == sorted(needs)
    folds = [estimate(config_of(prox="unet", folds=K)).activation_bytes for K in (1, 2, 4)]
    assert folds[2] - folds[1] == pytest.approx(2 * (folds[1] - folds[0]), rel=0.01)
    image = 8 * 4 * 8 * 3 * 16**2
    without = estimate(config_of(prox="unet", folds=5, end="data")).activation_bytes
    assert without - image == pytest.approx(folds[2], rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    "values",
    [{"prox": "unet", "channels": 16}, {"prox": "score", "depth": 4, "levels": 2, "hidden": 48, "pretrain": False}],
    ids=["unet", "score"],
)
def test_the_formula_is_near_what_a_step_takes(values):
    from flowsearch.bench.model import activation_bytes

    config = TrialConfig(data=DataConfig(size=32), folds=2, batch_size=16, **values)
    measured = activation_bytes(config, 16, torch.device("cpu"))
    assert measured * 0.8 < estimate(config).activation_bytes < measured * 2


class Held(TorchDispatchMode):
    """The most bytes that tensors hold at once, as CUDA's allocator counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, int] = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for one in tree_leaves(found):
            if isinstance(one, torch.Tensor) and one.untyped_storage()._cdata not in self._known:
                storage = one.untyped_storage()
                self._known[storage._cdata] = storage.nbytes()
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._free, storage._cdata)
        return found

    def _free(self, storage: int) -> None:
        self.now -= self._known.pop(storage)


FLOW = {"depth": 2, "levels": 2, "hidden": 16, "last_depth": 1}


@pytest.mark.parametrize(
    ("values", "test"),
    [
        ({"prox": "glow", "folds": 2, "pretrain": False, **FLOW}, 50),
        ({"prox": "glow", "folds": 2, "pretrain": True, **FLOW}, 50),
        ({"prox": "resnet", "folds": 2, "features": 16, "batch_size": 1}, 50),
        ({"prox": "resnet", "folds": 2, "features": 16, "precision": "bf16"}, 50),
        ({"prox": "resnet", "folds": 2, "features": 16}, 1000),
        ({"method": "pnp", "features": 8, "iterations": 3}, 50),
        ({"prox": "glow", "folds": 2, "pretrain": False, "memory": "checkpoint", **FLOW}, 50),
        ({"prox": "score", "folds": 2, "pretrain": False, **FLOW, "depth": 6, "hidden": 48}, 50),
        ({"method": "map", "iterations": 12, **FLOW}, 50),
        ({"method": "tv"}, 50),
        ({"method": "adjoint"}, 1000),
    ],
    ids=[
        "invertible",
        "pre-trained",
        "batches of one",
        "bf16",
        "many test images",
        "a denoiser",
        "checkpoint",
        "score",
        "latent MAP",
        "total variation",
        "no network",
    ],
)
def test_a_whole_trial_takes_no_more_than_its_need(values, test):
    """Evaluation too, which takes batches of its own, and SSIM in double precision."""
    trained = {"epochs": 1} if "method" not in values or values["method"] == "pnp" else {}
    data = DataConfig(size=16, train=8, val=50, test=test, ood=None)
    config = TrialConfig(data=data, prior=PriorConfig(epochs=1), **values, **trained)
    with Held() as held:
        assert [record["phase"] for record in run_trial(config, device="cpu")][-1] == "final"
    assert held.peak < estimate(config).bytes < 1.8 * held.peak


def test_a_measured_step_does_not_hide_the_evaluation(tmp_path):
    config = TrialConfig(data=DataConfig(size=16, test=100_000), prox="resnet", folds=1, features=8)
    packing = Packing(Gpu("Fake 10", 10 * GB), 3, Shapes("Fake 10", tmp_path / "shapes.json"))
    packing.took(config.to_dict(), 10**6)
    assert packing.need(config.to_dict()) > 2 * 4 * 3 * 16**2 * 100_000


@pytest.mark.parametrize(
    ("values", "peak"),
    [
        ({"prox": "resnet", "features": 128, "blocks": 2}, 1_197_403_648),
        ({"prox": "unet", "channels": 64}, 3_741_599_232),
        ({"prox": "glow", "depth": 18, "levels": 4, "hidden": 512, "memory": "networks"}, 10_819_239_424),
    ],
    ids=["resnet", "unet", "glow"],
)
def test_the_formula_is_near_what_an_h100_counted(values, peak):
    """Peaks of trials at full size, torch 2.11, at 37c8f37 (tests/benchmarks/gpu.md, Done 9)."""
    config = TrialConfig(data=DataConfig(size=64), folds=5, batch_size=16, precision="bf16", **values)
    assert 0.99 * peak < estimate(config).bytes < 1.2 * peak


@pytest.mark.parametrize(
    ("need", "share"),
    [(0, 0.07), (1 * GB, 0.19), (7 * GB, 0.91), (80 * GB, 1.0)],
    ids=["nothing", "small", "large", "more than there is"],
)
def test_a_share_is_the_need_with_headroom(need, share):
    assert share_of(need, 10 * GB) == share
    assert share == 1.0 or share * 10 * GB >= 1.2 * need + CONTEXT_BYTES


@pytest.mark.parametrize(
    ("share", "gpus", "room"),
    [(0.6, 2, 2), (0.1, 1, 10), (0.2, 3, 15), (0.34, 1, 2), (1.0, 3, 3), (2, 5, 2)],
    ids=["one a GPU", "tenths", "fifths of three", "thirds do not fit", "whole ones", "two GPUs each"],
)
def test_a_share_of_a_gpu_is_one_gpu_s(share, gpus, room):
    assert room_for(share, gpus) == room
    study = read(Source("small.yaml", TEXT, [f"resources={{gpu: {share}, cpu: 1}}"]))
    assert slots(study, {"CPU": 100.0, "GPU": float(gpus)}) == room


def test_a_measured_need_is_remembered_for_the_next_study(tmp_path):
    config = config_of(prox="unet", folds=2, channels=8).to_dict()
    packing = Packing(Gpu("Fake 10", 10 * GB), 3, Shapes("Fake 10", tmp_path / "shapes.json"))
    guessed = packing.share(config)
    packing.took(config, 5 * GB)
    packing.took(config, 4 * GB)
    again = Packing(Gpu("Fake 10", 10 * GB), 3, Shapes("Fake 10", tmp_path / "shapes.json"))
    assert again.share(config) == share_of(5 * GB, 10 * GB) > guessed
    assert again.share(config | {"lr": 0.5}) == again.share(config)
    assert again.share(config | {"folds": 3}) < again.share(config)
    other = Packing(Gpu("Other", 10 * GB), 3, Shapes("Other", tmp_path / "shapes.json"))
    assert other.share(config) == guessed


def test_a_torn_table_is_begun_again(tmp_path):
    path = tmp_path / "shapes.json"
    path.write_text("{torn")
    Shapes("cpu", path).remember("a shape", seconds=1.0)
    assert json.loads(path.read_text()) == {"cpu": {"a shape": {"seconds": 1.0}}}


@pytest.mark.parametrize("prox", ["glow", "score"])
def test_pre_training_has_a_shape_of_its_own(prox):
    prior = PriorConfig(noise=0.1)
    config = config_of(prox=prox, folds=5, depth=2, levels=2, hidden=8, pretrain=True, prior=prior)
    assert prior_shape_of(config.to_dict(), 3) != shape_of(config.to_dict(), 3)
    assert prior_shape_of(config.to_dict(), 3) == prior_shape_of(replace(config, prox="glow").to_dict(), 3)
    assert estimate_prior(config).parameters * 5 + 10 == estimate(config).parameters


@pytest.mark.ray
@pytest.mark.slow
def test_trials_pack_by_their_share_and_a_gpu_is_never_overfull(tmp_path):
    """Ray's own arithmetic, with a pretended GPU: small ones together, the large one alone."""
    code = PRETENDED.format(here=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["statuses"] == {"completed": 6}
    assert told["most"] <= 1.0 + 1e-9
    assert told["most_trials"] >= 2
    assert sorted(set(told["shares"])) == [0.31, 1.0]


PRETENDED = """
import json, sys
from pathlib import Path
sys.path.insert(0, "tests/study")
import os
os.environ["PYTHONPATH"] = os.pathsep.join(["tests/study", os.environ.get("PYTHONPATH", "")])
from small_study import TEXT
from flowsearch.study import run
from flowsearch.study.file import read
from flowsearch.study.local import joined_ray
from flowsearch.study.source import Source
from flowsearch.study import packing
here = Path({here!r})
os.environ["FLOWSEARCH_HOME"] = str(here)
packing.look = lambda resources, stopped: packing.Gpu("Pretended", 10 * 10**9)
packing.Packing.need = lambda self, config, prior=False: {{1: 2 * 10**9, 2: 40 * 10**9}}[config["folds"]]
sets = ["space={{folds: [1, 2], seed: [0, 1, 2]}}", "fixed={{prox: unet, epochs: 2, lr: 0.001}}", "search.trials=6"]
sets += ["search.startup=6"]
study = read(Source("small.yaml", TEXT, [*sets, "scheduler=none", "resources.gpu=auto"]))
running, most, most_trials, shares = {{}}, 0.0, 0, []
def listener(event):
    global most, most_trials
    if event.kind == "started":
        running[event.trial.number] = event.trial.gpu
        shares.append(event.trial.gpu)
    if event.kind == "ended":
        running.pop(event.trial.number)
    most, most_trials = max(most, sum(running.values())), max(most_trials, len(running))
with joined_ray(4, gpus=1):
    ending = run(study, here, listener, run_trial="study_fakes:slow_trial", images=lambda config: "images", cpus=4)
told = {{"statuses": dict(ending.progress.counts), "most": most, "most_trials": most_trials, "shares": shares}}
print(json.dumps(told))
"""
