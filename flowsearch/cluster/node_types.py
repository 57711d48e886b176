"""What to look for in the machines of a file for `ray up` in a cloud."""

import re
from typing import Any

from flowsearch.cluster import images, requests
from flowsearch.cluster.located import Document, Keys

LONGEST_IDLE_MINUTES = 30
"""Longer than this, a machine that does nothing is worth a finding."""

IMAGE = "resolve:ssm:/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
"""Amazon's newest with a driver, Docker and its runtime for GPUs, in every region."""

_GPU_MACHINES = {"aws": r"(p\d|g(?!4ad)\d)\w*\.", "gcp": r"(a2|a3|a4|g2|g4)-"}
"""Instance types that have NVIDIA GPUs, by provider."""


def look(document: Document) -> None:
    """Take up all findings about the kinds of machines."""
    _requests(document)
    _node_types(document)
    _machine_images(document)
    _reached(document)
    _disks(document)
    _idle(document)


def _kind(document: Document) -> str:
    return str(document.get("provider", "type"))


def _node_types(document: Document) -> None:
    """A head that takes no trials, and workers that have GPUs and go when they are idle."""
    types, head = document.mapping("available_node_types"), document.get("head_node_type")
    place = ("available_node_types", str(head), "resources")
    if head in types and document.get(*place, "CPU") != 0:
        document.find(
            place, "the head takes trials, which then end with it or slow the driver", "write resources: {CPU: 0}"
        )
    workers = [str(name) for name in types if name != head]
    if document.get("max_workers") is None:
        document.find(("max_workers",), "is not there, and Ray starts no more than 2 workers", "write max_workers: 8")
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
    """Images of machines that are too old, and what does not go with an image."""
    for name, node in document.mapping("available_node_types").items():
        way = ("available_node_types", str(name), "node_config")
        config = node.get("node_config") if isinstance(node, dict) else None
        if not isinstance(config, dict):
            continue
        image = str(config.get("ImageId") or "").replace("latest_dlami", "")  # Ray's name for its own
        if _kind(document) == "aws" and _gpus(document, str(name)) and not image and "LaunchTemplate" not in config:
            document.find(
                way, "has no ImageId but Ray's own, whose driver is too old for PyTorch's CUDA",
                f"write ImageId: {IMAGE}",
            )  # fmt: skip
        docker = str(document.get("docker", "head_image" if name == document.get("head_node_type") else "image"))
        machine = str(config.get("InstanceType") or "")
        if re.match(r"[a-z]+\d+g[a-z]*\.", machine) and images.is_rays(docker) and "aarch64" not in docker:
            document.find((*way, "InstanceType"), f"{machine} is ARM, and {docker} is not", "take machines with x86")
        if "ubuntu" in image:
            _ubuntu(document, way)
        for place, _ in enumerate(document.get(*way, "disks", default=[])):
            disk = (*way, "disks", str(place), "initializeParams", "sourceImage")
            if re.search(r"deeplearning-platform-release/.*/family/(?!.*-ubuntu-)", str(document.get(*disk))):
                document.find(
                    disk, "Google has ended this family of images",
                    "take common-cu129-ubuntu-2404-nvidia-580, or Ubuntu where there is no GPU",
                )  # fmt: skip


def _ubuntu(document: Document, way: Keys) -> None:
    user = document.get("auth", "ssh_user")
    if user != "ubuntu":
        document.find(("auth", "ssh_user"), f"is {user}, and the image is Ubuntu", "write ubuntu")
    disks = document.get(*way, "BlockDeviceMappings", default=[])
    named = [disk.get("DeviceName") for disk in disks if isinstance(disk, dict)]
    if named and "/dev/sda1" not in named:
        document.find(
            (*way, "BlockDeviceMappings", "0", "DeviceName"),
            f"{named[0]} is a second disk, and the first of Ubuntu keeps its size", "write /dev/sda1",
        )  # fmt: skip


def _requests(document: Document) -> None:
    """What AWS refuses as soon as it is asked."""
    for name, node in document.mapping("available_node_types").items():
        way = ("available_node_types", str(name), "node_config")
        config = node.get("node_config") if isinstance(node, dict) else None
        if _kind(document) != "aws" or not isinstance(config, dict):
            continue
        for below, problem, mend in requests.refused(config):
            document.find((*way, *below), problem, mend)
        if document.get("auth", "ssh_private_key") and not {"KeyName", "UserData"} & set(config):
            document.find(way, "has no KeyName for the ssh_private_key of auth", "write the key pair's name in EC2")


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
    pattern = _GPU_MACHINES.get(_kind(document))
    # Only AWS tells Ray what an instance type has; elsewhere it counts for nothing if resources do not say so.
    return _kind(document) == "aws" and bool(pattern and machine and re.match(pattern, str(machine)))


def _disks(document: Document) -> None:
    """Disks that outlive their machine go on costing."""
    kind = _kind(document)
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
