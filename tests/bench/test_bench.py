"""The benchmarks measure what they say; how fast anything is, is not a test's business."""

import json

import pytest
import torch
from typer.testing import CliRunner

from flowsearch.bench.model import activation_bytes, gradient_error
from flowsearch.bench.peers import bench_peers
from flowsearch.cli import app
from flowsearch.data import DataConfig
from flowsearch.flows.bfloat16 import has_bfloat16
from flowsearch.training import TrialConfig
from flowsearch.training.build import build_model

CPU = torch.device("cpu")
SMALL = ["--size", "16", "--folds", "2", "--depth", "2", "--levels", "2", "--hidden", "8", "--batch", "2"]


def config(**values: object) -> TrialConfig:
    glow = {"prox": "glow", "folds": 2, "depth": 4, "levels": 2, "hidden": 64, "pretrain": False}
    return TrialConfig(data=DataConfig(size=32), **glow | values)  # type: ignore[arg-type]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["bench", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("prox", ["glow", "resnet"])
def test_model_gives_numbers(prox: str) -> None:
    cost = json.loads(run("model", "--prox", prox, *SMALL, "--rounds", "1", "--device", "cpu", "--json"))
    assert set(cost) == {"step_seconds", "images_per_second", "parameters", "activation_bytes", "gradient_error"}
    assert cost["images_per_second"] == pytest.approx(2 / cost["step_seconds"])
    assert cost["gradient_error"] < 1e-3


def test_model_prints_a_table() -> None:
    printed = run("model", *SMALL, "--rounds", "1", "--device", "cpu")
    parameters = sum(parameter.numel() for parameter in build_model(config(depth=2, hidden=8), 3).parameters())
    assert f"parameters       {parameters:,}" in printed
    assert "activation peak" in printed


def test_constant_memory_needs_less_than_autograd() -> None:
    peaks = {memory: activation_bytes(config(memory=memory), 8, CPU) for memory in ("invertible", "autograd")}
    assert 0 < peaks["invertible"] < peaks["autograd"] / 2


def test_gradient_error_grows_with_a_coarser_precision() -> None:
    assert gradient_error(config(), CPU) < 1e-4 < gradient_error(config(precision="bf16"), CPU) < 0.2


@pytest.mark.parametrize("task", ["mri-4", "motion(length=5,angle=30,padding=reflect)", "superres-2"])
def test_gradients_are_exact_whatever_is_measured(task: str) -> None:
    assert gradient_error(config(task=task), CPU) < 1e-4


def test_peers_are_timed_side_by_side() -> None:
    pytest.importorskip("normflows", reason="normflows comes with the extra `bench`")
    rows = bench_peers(config(), batch=2, device=CPU, rounds=1)
    assert [row.precision for row in rows] == (["fp32", "bf16"] if has_bfloat16("cpu") else ["fp32"])
    assert all(row.ratio == row.ours_seconds / row.normflows_seconds > 0 for row in rows)


def test_peers_without_normflows_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "normflows", None)
    result = CliRunner().invoke(app, ["bench", "peers", *SMALL[:2], *SMALL[4:]])
    assert result.exit_code == 2
    assert "flowsearch[bench]" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["--memory", "invertable"], "did you mean invertible?"),
        (["--precision", "fp16"], "precision is one of fp32, bf16"),
        (["--levels", "7"], "at most 6 levels"),
        (["--device", "gpu"], "device is auto, cpu, cuda or cuda:N"),
        (["--device", "mps"], "device is auto, cpu, cuda or cuda:N, not 'mps'"),
    ],
)
def test_model_refuses_what_cannot_be(arguments: list[str], rule: str) -> None:
    result = CliRunner().invoke(app, ["bench", "model", *arguments])
    assert result.exit_code == 2
    assert rule in result.stderr


def test_bf16_is_refused_where_it_would_crawl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowsearch.training.device.has_bfloat16", lambda kind: False)
    result = CliRunner().invoke(app, ["bench", "model", *SMALL, "--device", "cpu", "--precision", "bf16"])
    assert result.exit_code == 2
    assert "use precision: fp32" in result.stderr
