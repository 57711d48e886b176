"""`cluster.yaml` is one that `ray up` takes, and agrees with the versions that this package asks for."""

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def cluster() -> dict:
    return YAML(typ="safe").load((ROOT / "cluster.yaml").read_text())


def test_ray_accepts_it(cluster: dict) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(cluster))


def test_image_has_our_ray(cluster: dict) -> None:
    assert cluster["docker"]["image"].startswith(f"rayproject/ray:{version('ray')}-")
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    major, minor, _ = version("ray").split(".")
    assert any(line.startswith(f"ray[tune]>={major}.{minor}") for line in wanted)


def test_workers_scale_from_nothing_with_gpus_and_the_head_takes_no_trials(cluster: dict) -> None:
    types = cluster["available_node_types"]
    assert types[cluster["head_node_type"]]["resources"] == {"CPU": 0}
    workers = [kind for name, kind in types.items() if name != cluster["head_node_type"]]
    assert workers
    for worker in workers:
        assert worker["min_workers"] == 0
        assert worker["resources"]["GPU"] >= 1


def test_nothing_is_left_open(cluster: dict) -> None:
    head = " ".join(cluster["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in head
    assert "--env RAY_AUTH_MODE=token" in cluster["docker"]["run_options"]
    assert cluster["provider"]["cache_stopped_nodes"] is False
