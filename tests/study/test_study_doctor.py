"""`flowsearch doctor`: what is in order says so, and what is not says what to do."""

import json
import shutil
from collections import namedtuple
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from flowsearch import doctor
from flowsearch.cli import app
from flowsearch.storage import Folder
from flowsearch.study import provenance


def found(what: str, results: str = "results") -> list[doctor.Finding]:
    """The findings of one look, Ray left out."""
    return [finding for finding in doctor.examine(results) if finding.what == what]


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_ray", list)


@pytest.mark.ray
def test_a_machine_in_order(local_cluster: None, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["doctor", "--json", "--results", str(tmp_path / "results")])
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert done.exit_code == 0, done.output
    assert list(findings) == ["packages", "processor", "gpu", "ray", "results", "home", "scratch", "images"]
    assert findings["packages"]["said"].startswith(f"flowsearch 0.1.0, torch {version('torch')}")
    assert findings["ray"]["state"] == "ok"
    assert findings["ray"]["said"].endswith("for this machine alone")
    assert "faces and anime are built in" in findings["images"]["said"]
    assert list(tmp_path.iterdir()) == []


def test_a_problem_is_printed_and_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from flowsearch.study import local

    def no_start(*_: object) -> None:
        raise RuntimeError("the raylet\n  did not come up")

    monkeypatch.setattr(local, "joined_ray", no_start)
    (tmp_path / "results").write_text("a file")
    done = CliRunner().invoke(app, ["doctor", "--results", str(tmp_path / "results")])
    assert done.exit_code == 1
    assert "problem  ray        RuntimeError: the raylet did not come up\n" in done.stdout
    assert f"problem  results    {tmp_path / 'results'} cannot be written" in done.stdout
    assert done.stdout.endswith("2 problems\n")


@pytest.mark.parametrize(
    ("variable", "denied", "mends"),
    [
        ("HOME", "home/.ray", {"ray": doctor.SET_HOME, "home": doctor.SET_HOME}),
        ("FLOWSEARCH_HOME", "ray", {"ray": None, "home": "set FLOWSEARCH_HOME to another folder"}),
    ],
    ids=["the user's", "one of its own"],
)
def test_a_home_that_cannot_be_written_is_told_with_the_mend(
    variable: str, denied: str, mends: dict[str, str | None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from flowsearch.study import local

    def no_ray(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / denied))

    monkeypatch.setattr(local, "joined_ray", no_ray)
    (tmp_path / "home").write_text("a file")
    monkeypatch.delenv("FLOWSEARCH_HOME", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "home"))
    findings = {one.what: one for one in doctor.examine(str(tmp_path))}
    assert {what: findings[what].mend for what in mends} == mends
    assert {findings[what].state for what in mends} == {"problem"}


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize(
    ("installed", "said", "mend"),
    [
        ("2.14.0", "torch 2.14.0; flowsearch needs torch<2.14,>=2.8", "pip install 'torch<2.14,>=2.8'"),
        (None, "torch is missing; flowsearch needs torch<2.14,>=2.8", "pip install 'torch<2.14,>=2.8'"),
    ],
    ids=["unfit", "missing"],
)
def test_packages(monkeypatch: pytest.MonkeyPatch, installed: str | None, said: str, mend: str) -> None:
    known = doctor.version

    def version(name: str) -> str:
        if name != "torch":
            return known(name)
        if installed is None:
            raise doctor.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(doctor, "version", version)
    assert found("packages") == [doctor.Finding("packages", "problem", said, mend)]


@pytest.mark.usefixtures("no_ray")
def test_a_container_with_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "memory_limit", lambda: 4_000_000_000)
    monkeypatch.setattr(doctor, "cores", lambda: 8)
    (finding,) = found("processor")
    assert finding.state == "note"
    assert "8 cores, 4.0 GB" in finding.said
    assert finding.mend == "fewer trials at once: --set resources.concurrent=2"


def test_a_macs_processor_has_its_models_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = tmp_path / "sysctl"
    asked.write_text('#!/bin/sh\n[ "$*" = "-n machdep.cpu.brand_string" ] && echo "Apple M2"\n')
    asked.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert provenance.processor.__wrapped__() == "Apple M2"


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize(
    ("driver", "cuda", "visible", "state", "said"),
    [
        (False, None, None, "note", "none: trials run on the CPU"),
        (True, None, None, "problem", "is built for the CPU"),
        (True, "13.0", "", "problem", "CUDA_VISIBLE_DEVICES hides it"),
        (True, "13.0", None, "problem", "the driver on your system is too old"),
    ],
    ids=["none", "CPU build", "hidden", "old driver"],
)
def test_no_gpu(
    monkeypatch: pytest.MonkeyPatch, driver: bool, cuda: str | None, visible: str | None, state: str, said: str
) -> None:
    def init() -> None:
        raise RuntimeError("the driver on your system is too old\nand more")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi" if driver else None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    (finding,) = found("gpu")
    assert finding.state == state
    assert finding.said.endswith(said)
    assert (finding.mend is None) == (state == "note")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.usefixtures("no_ray")
def test_a_gpu_computes() -> None:
    findings = found("gpu")
    assert len(findings) == torch.cuda.device_count()
    assert all(torch.cuda.get_device_name(index) in finding.said for index, finding in enumerate(findings))
    assert "problem" not in {finding.state for finding in findings}


@pytest.mark.usefixtures("no_ray")
def test_a_disk_that_is_nearly_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**11, 10**11 - 10**9, 10**9))
    (finding,) = found("results", str(tmp_path / "not" / "yet"))
    assert finding.state == "note"
    assert finding.said.endswith("1.0 GB free")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_ray")
def test_a_folder_that_forgets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Folder, "get", lambda self, name: b"")
    (finding,) = found("results", str(tmp_path))
    assert finding.state == "problem"
    assert finding.said.endswith("gives back something else than was written")


@pytest.mark.usefixtures("no_ray")
def test_a_bucket(bucket: str) -> None:
    from flowsearch.storage import store_at

    (finding,) = found("results", f"{bucket}/results")
    assert (finding.state, finding.said) == ("ok", f"{bucket}/results")
    assert store_at(f"{bucket}/results").names() == []
    (finding,) = found("results", "s3a://nowhere/results")
    assert finding.state == "problem"


def test_the_file_a_prepared_set_lost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLOWSEARCH_HOME", str(tmp_path))
    monkeypatch.setattr(doctor, "_ray", list)
    (tmp_path / "data" / "mine-32").mkdir(parents=True)
    (tmp_path / "data" / "mine-32" / "manifest.json").write_text("{")
    (finding,) = found("images")
    assert finding.state == "problem"
    assert "mine-32" in finding.said
    assert "prepare it again" in finding.said
