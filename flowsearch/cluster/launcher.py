"""What Ray's validation misses in a file for `ray up`."""

import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowsearch import __version__
from flowsearch.cluster import images, node_types
from flowsearch.cluster.located import Document, Keys
from flowsearch.cluster.names import NODES, PROVIDERS, check_names

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TOKEN = "auth_token"


def look(document: Document, ray_version: str) -> None:
    """Take up all findings about a file for `ray up`."""
    _names(document)
    _place(document)
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
        node_types.look(document)


def _provider(document: Document) -> str:
    return str(document.get("provider", "type"))


def _place(document: Document) -> None:
    """Where the machines are to be."""
    for name in {"aws": ("region",), "gcp": ("region", "availability_zone", "project_id")}.get(_provider(document), ()):
        if not document.get("provider", name):
            document.find(("provider",), f"has no {name}", f"write {name}")
    region, zones = document.get("provider", "region"), str(document.get("provider", "availability_zone", default=""))
    others = [zone.strip() for zone in zones.split(",") if region and not zone.strip().startswith(str(region))]
    if zones and others:
        document.find(("provider", "availability_zone"), f"{others[0]} is not in {region}", f"name zones of {region}")


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
    for side, who in (("head", "the head asks"), ("worker", "the workers ask")):
        section = f"{side}_start_ray_commands"
        starts = [(way, line) for way, line in _commands(document, section) if "ray start" in line]
        options = document.texts("docker", "run_options") + document.texts("docker", f"{side}_run_options")
        if _sets_token(" ".join(options)) or (starts and all(_sets_token(line) for _, line in starts)):
            continue
        way = starts[0][0] if starts else ("docker", "run_options") if document.get("docker") else (section,)
        mend = "add --env RAY_AUTH_MODE=token to docker.run_options" if document.get("docker", "image") else (
            f"put RAY_AUTH_MODE=token before `ray start` in {section}"
        )  # fmt: skip
        document.find(way, f"{who} no token of anybody (RAY_AUTH_MODE is not set)", mend)
    everything = str(document.get("docker")) + str([*_all_commands(document)])
    carried = any(str(remote).endswith(_TOKEN) for remote in document.mapping("file_mounts"))
    if not carried and "RAY_AUTH_TOKEN" not in everything:
        document.find(
            ("file_mounts",), "the token does not travel to the machines",
            "mount it: ~/.ray/auth_token: ~/.ray/auth_token (with Docker: /home/ray/.ray/auth_token)",
        )  # fmt: skip

    own = [str(remote) for remote in document.mapping("file_mounts") if str(remote).endswith(_TOKEN)]
    inside = [image for _, image in _images(document) if images.is_rays(image)]
    if inside and own and not any(remote.startswith(("~/", "/home/ray/")) for remote in own):
        document.find(
            ("file_mounts", own[0]), f"nobody looks for the token there in {inside[0]}",
            "mount it at /home/ray/.ray/auth_token",
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
    ports = {found[1] for _, line in heads if (found := re.search(r"--port[= ](\d+)", line))} or {"6379"}
    workers = [(way, line) for way, line in _commands(document, "worker_start_ray_commands") if "ray start" in line]
    for way, command in workers:
        address = re.search(r"--address[= ]['\"]?([^\s'\":]+)(?::(\d+))?", command)
        if address is None or address[1] in ("auto", *_LOOPBACK) or (heads and address[2] not in ports):
            document.find(
                way, "the workers do not join the head", f"write --address=$RAY_HEAD_IP:{', '.join(sorted(ports))}"
            )


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


def _local_head(document: Document) -> None:
    head, workers = document.get("provider", "head_ip"), document.texts("provider", "worker_ips")
    if str(head) in workers:
        document.find(("provider", "worker_ips"), f"{head} is the head", "leave it out; the head takes no trials")
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
