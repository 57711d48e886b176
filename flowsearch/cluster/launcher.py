"""What Ray's validation misses in a file for `ray up`."""

import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowsearch import __version__
from flowsearch.cluster import images
from flowsearch.cluster.located import Document, Keys
from flowsearch.cluster.names import NODES, PROVIDERS, check_names

LONGEST_IDLE_MINUTES = 30
"""Longer than this, a machine that does nothing is worth a finding."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_GPU_MACHINES = {"aws": r"(p\d|g(?!4ad)\d)\w*\.", "gcp": r"(a2|a3|a4|g2|g4)-"}
"""Instance types that have NVIDIA GPUs, by provider."""
_TOKEN = "auth_token"
IMAGE = "resolve:ssm:/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
"""Amazon's newest with a driver, Docker and its runtime for GPUs, in every region."""


def look(document: Document, ray_version: str) -> None:
    """Take up all findings about a file for `ray up`."""
    _names(document)
    _mounts(document)
    _left_out(document)
    _dashboard(document)
    _token(document)
    _start(document)
    _package(document)
    images.check_images(document, [*_images(document)], ray_version)
    if document.get("provider", "type") == "local":
        _local_head(document)
    elif document.get("available_node_types"):
        _node_types(document)
        _machine_images(document)
        _reached(document)
        _disks(document)
        _idle(document)


def _provider(document: Document) -> str:
    return str(document.get("provider", "type"))


def _names(document: Document) -> None:
    kind = _provider(document)
    check_names(document, ("provider",), document.mapping("provider"), PROVIDERS.get(kind))
    for name, node in document.mapping("available_node_types").items():
        if isinstance(node, dict):
            way = ("available_node_types", str(name), "node_config")
            check_names(document, way, node.get("node_config"), NODES.get(kind))


def _mounts(document: Document) -> None:
    """Files that are to be copied, and are not there."""
    for remote, local in document.mapping("file_mounts").items():
        path = Path(str(local)).expanduser()
        if path.exists():
            continue
        if path.name == _TOKEN:
            document.find(
                ("file_mounts", str(remote)), f"{local} does not exist", "run `ray get-auth-token --generate`"
            )
        else:
            where = "" if path.is_absolute() else f" below {Path.cwd()}, where `ray up` would run"
            document.find(("file_mounts", str(remote)), f"{local} does not exist{where}", "name what is to be copied")
    for name in ("ssh_private_key", "ssh_public_key"):
        key = document.get("auth", name)
        if key is not None and not Path(str(key)).expanduser().is_file():
            document.find(("auth", name), f"{key} does not exist", "name the key that opens the machines")


def _left_out(document: Document) -> None:
    """Patterns for rsync that hold at any depth, and so keep a part of our own package at home."""
    for local in document.mapping("file_mounts").values():
        checkout = Path(str(local)).expanduser()
        if not (checkout / "flowsearch" / "__init__.py").is_file():
            continue
        parts = sorted(path.relative_to(checkout) for path in checkout.glob("flowsearch/**/*"))
        for place, pattern in enumerate(document.texts("rsync_exclude")):
            above, _, name = pattern.rstrip("/").rpartition("/")
            matched = [part for part in parts if fnmatch.fnmatchcase(part.name, name) and name != "__pycache__"]
            if above in ("", "**") and not pattern.startswith("/") and matched:
                document.find(
                    ("rsync_exclude", str(place)), f"{pattern} keeps {matched[0]} from the machines, too",
                    f"write /{name} for the one at the top",
                )  # fmt: skip


def _dashboard(document: Document) -> None:
    """A dashboard that others can reach: it runs whatever it is sent."""
    mend = "start the head with --dashboard-host=127.0.0.1, and use `ray dashboard FILE` to look at it"
    if "head_start_ray_commands" not in document.values:
        if _provider(document) in ("aws", "gcp"):
            document.find(
                ("head_start_ray_commands",), "is not there, and Ray's own command opens the dashboard to all", mend
            )
        return
    for way, command in _commands(document, "head_start_ray_commands"):
        host = re.search(r"--dashboard-host[= ](\S+)", command)
        if host is not None and host[1] not in _LOOPBACK:
            document.find(way, f"the dashboard listens on {host[1]}, and runs what anybody sends it", mend)


def _token(document: Document) -> None:
    """Token authentication, which head and workers each have to be told of, and the token itself."""
    for side, who in (("head", "the head"), ("worker", "the workers")):
        section = f"{side}_start_ray_commands"
        starts = [(way, line) for way, line in _commands(document, section) if "ray start" in line]
        options = document.texts("docker", "run_options") + document.texts("docker", f"{side}_run_options")
        if _sets_token(" ".join(options)) or (starts and all(_sets_token(line) for _, line in starts)):
            continue
        way = starts[0][0] if starts else ("docker", "run_options") if document.get("docker") else (section,)
        mend = "add --env RAY_AUTH_MODE=token to docker.run_options" if document.get("docker", "image") else (
            f"put RAY_AUTH_MODE=token before `ray start` in {section}"
        )  # fmt: skip
        document.find(way, f"{who} asks no token of anybody (RAY_AUTH_MODE is not set)", mend)
    everything = str(document.get("docker")) + str([*_all_commands(document)])
    carried = any(str(remote).endswith(_TOKEN) for remote in document.mapping("file_mounts"))
    if not carried and "RAY_AUTH_TOKEN" not in everything:
        document.find(
            ("file_mounts",), "the token does not travel to the machines",
            "mount it: ~/.ray/auth_token: ~/.ray/auth_token (with Docker: /home/ray/.ray/auth_token)",
        )  # fmt: skip


def _sets_token(command: str) -> bool:
    return re.search(r"""RAY_AUTH_MODE=["']?token\b""", command) is not None


def _start(document: Document) -> None:
    """Start commands that start no cluster that can grow."""
    heads = [(way, line) for way, line in _commands(document, "head_start_ray_commands") if "ray start" in line]
    for way, command in heads:
        if "--autoscaling-config" not in command:
            document.find(
                way, "the head is not told what it may start, so no worker ever comes",
                "add --autoscaling-config=~/ray_bootstrap_config.yaml",
            )  # fmt: skip
    workers = [(way, line) for way, line in _commands(document, "worker_start_ray_commands") if "ray start" in line]
    for way, command in workers:
        if "--address" not in command:
            document.find(way, "the workers do not join the head", "add --address=$RAY_HEAD_IP:6379")


def _package(document: Document) -> None:
    """Our package: on the machines, at the version that is here."""
    commands = [*_all_commands(document)]
    pinned = [(way, found[1]) for way, line in commands if (found := re.search(r"flowsearch==([\w.]+)", line))]
    for way, wanted in pinned:
        if wanted != __version__:
            document.find(way, f"installs flowsearch {wanted}, and {__version__} is here", f"ask for {__version__}")
    own_image = any(not images.is_rays(image) for _, image in _images(document))
    if not own_image and not any("flowsearch" in line for _, line in commands):
        document.find(
            ("setup_commands",), "nothing installs flowsearch on the machines",
            "mount this checkout and run pip install on it in setup_commands",
        )  # fmt: skip


def _node_types(document: Document) -> None:
    """A head that takes no trials, and workers that have GPUs and go when they are idle."""
    types, head = document.mapping("available_node_types"), document.get("head_node_type")
    place = ("available_node_types", str(head), "resources")
    if head in types and document.get(*place, "CPU") != 0:
        document.find(
            place, "the head takes trials, which then end with it or slow the driver", "write resources: {CPU: 0}"
        )
    workers = [str(name) for name in types if name != head]
    for name in workers:
        way = ("available_node_types", name)
        fewest = document.get(*way, "min_workers", default=0)
        if isinstance(fewest, int) and fewest > 0:
            document.find((*way, "min_workers"), f"{fewest} machines run, and cost, for ever", "write min_workers: 0")
    with_gpu = [name for name in workers if _gpus(document, name)]
    if not with_gpu:
        document.find(
            ("available_node_types",), "no kind of worker has a GPU",
            "take an instance type with one, and say so in its resources: {CPU: 8, GPU: 1}",
        )  # fmt: skip
    image = document.get("docker", "worker_image") or document.get("docker", "image")
    if with_gpu and image is not None:
        name = "worker_image" if document.get("docker", "worker_image") else "image"
        images.check_gpu(document, ("docker", name), str(image))


def _machine_images(document: Document) -> None:
    """On AWS, the image that Ray takes where none is named: it is of 2023."""
    for name, node in document.mapping("available_node_types").items():
        way = ("available_node_types", str(name), "node_config")
        config = node.get("node_config") if isinstance(node, dict) else None
        if not isinstance(config, dict) or not _gpus(document, str(name)):
            continue
        if _provider(document) == "aws" and not {"ImageId", "LaunchTemplate"} & set(config):
            document.find(
                way, "has no ImageId, and the driver of Ray's own image is too old for PyTorch's CUDA",
                f"write ImageId: {IMAGE}",
            )  # fmt: skip


def _reached(document: Document) -> None:
    """Workers that never start, as others like them come first and may be as many as all together."""
    most, types = document.get("max_workers", default=2), document.mapping("available_node_types")
    others = {str(name): node for name, node in types.items() if name != document.get("head_node_type")}
    for name, node in others.items():
        for first, before in others.items():
            known = isinstance(node, dict) and isinstance(before, dict) and isinstance(most, int)
            if not known or _shape(node) != _shape(before) or before.get("priority", 0) <= node.get("priority", 0):
                continue
            if isinstance(count := before.get("max_workers", most), int) and count >= most:
                document.find(
                    ("available_node_types", name), f"is never started: {first} comes first, up to all {most} machines",
                    f"write a max_workers below {most} in {first}",
                )  # fmt: skip


def _shape(node: dict[str, Any]) -> tuple[Any, Any]:
    """What a trial sees of a worker."""
    config = node.get("node_config") or {}
    return config.get("InstanceType") or config.get("machineType"), node.get("resources") or {}


def _gpus(document: Document, name: str) -> bool:
    way = ("available_node_types", name)
    if document.get(*way, "resources", "GPU") or document.get(*way, "node_config", "guestAccelerators"):
        return True
    machine = document.get(*way, "node_config", "InstanceType") or document.get(*way, "node_config", "machineType")
    pattern = _GPU_MACHINES.get(_provider(document))
    # Only AWS tells Ray what an instance type has; elsewhere it counts for nothing if resources do not say so.
    return _provider(document) == "aws" and bool(pattern and machine and re.match(pattern, str(machine)))


def _disks(document: Document) -> None:
    """Disks that outlive their machine go on costing."""
    kind = _provider(document)
    kept = document.get("provider", "cache_stopped_nodes", default=kind == "aws")
    if kind in ("aws", "gcp") and kept:
        document.find(
            ("provider", "cache_stopped_nodes"), "idle machines are stopped, and their disks go on costing",
            "write cache_stopped_nodes: false",
        )  # fmt: skip
    for name in document.mapping("available_node_types"):
        node = ("available_node_types", str(name), "node_config")
        for place, disk in enumerate(document.get(*node, "BlockDeviceMappings", default=[])):
            ebs = disk.get("Ebs") if isinstance(disk, dict) else None
            if isinstance(ebs, dict) and ebs.get("DeleteOnTermination") is False:
                document.find(
                    (*node, "BlockDeviceMappings", str(place), "Ebs", "DeleteOnTermination"),
                    "the disk outlives its machine", "write DeleteOnTermination: true",
                )  # fmt: skip
        for place, disk in enumerate(document.get(*node, "disks", default=[])):
            if isinstance(disk, dict) and disk.get("autoDelete") is not True:
                document.find(
                    (*node, "disks", str(place), "autoDelete"),
                    "the disk outlives its machine",
                    "write autoDelete: true",
                )


def _idle(document: Document) -> None:
    minutes = document.get("idle_timeout_minutes", default=5)
    if isinstance(minutes, int | float) and minutes > LONGEST_IDLE_MINUTES:
        document.find(
            ("idle_timeout_minutes",), f"machines that do nothing are kept for {minutes:g} minutes",
            "write idle_timeout_minutes: 5",
        )  # fmt: skip


def _local_head(document: Document) -> None:
    for way, command in _commands(document, "head_start_ray_commands"):
        if "ray start" in command and not re.search(r"--num-cpus[= ]0\b", command):
            document.find(way, "the head takes trials, which slow the driver", "add --num-cpus=0 --num-gpus=0")
        if "ray start" in command and "RAY_enable_autoscaler_v2=0" not in command:
            # It takes the head for one of the workers, as nobody has told it of the head.
            document.find(
                way, "Ray's newer autoscaler starts all machines but one of this provider",
                "put RAY_enable_autoscaler_v2=0 before `ray start`",
            )  # fmt: skip


def _images(document: Document) -> Iterator[tuple[Keys, str]]:
    for name in ("image", "head_image", "worker_image"):
        image = document.get("docker", name)
        if image is not None:
            yield ("docker", name), str(image)
    for kind in document.mapping("available_node_types"):
        image = document.get("available_node_types", str(kind), "docker", "worker_image")
        if image is not None:
            yield ("available_node_types", str(kind), "docker", "worker_image"), str(image)


def _commands(document: Document, section: str) -> Iterator[tuple[Keys, str]]:
    for place, command in enumerate(document.texts(section)):
        yield (section, str(place)), command


def _all_commands(document: Document) -> Iterator[tuple[Keys, Any]]:
    for section in document.values:
        if str(section).endswith("_commands"):
            yield from _commands(document, str(section))
