"""Ray: started on this machine, quiet, without a dashboard and reachable from nowhere else; or a cluster joined."""

import logging
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flowsearch.study.link import Link, answers

ENVIRONMENT = {
    # Without it Ray replaces 127.0.0.1 by the machine's own address, and its servers listen on every interface.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_V2_ENABLED": "0",
    # So that Tune takes up no trial by itself: the driver decides that, and notes it.
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_AUTO_INIT": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    # The searcher says how many trials are out at once; Tune alone would ask for one machine at a time.
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "5",
}
"""Set before Ray is imported. Tune's own state is not kept: the ledger is what a resume reads."""

_OBJECT_STORE = 128 * 2**20
"""Records are small; Ray's default is a third of the machine's memory."""


@contextmanager
def joined_ray(
    cpus: int | None = None, *, address: str | None = None, gpus: float | None = None, verbose: bool = False
) -> Iterator[dict[str, float]]:
    """A Ray for the body: the one that this process has already, the cluster at `address`, or else one of its own.

    Gives its resources.
    """
    if address is not None:
        _check_address(address)
    os.environ.update(ENVIRONMENT)
    import ray
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False  # as in ENVIRONMENT, which Ray does not read where it was imported before
    quiet(verbose)
    if ray.is_initialized():
        yield dict(ray.cluster_resources())
        return
    said: dict[str, Any] = {
        "log_to_driver": verbose,
        "logging_level": logging.INFO if verbose else logging.CRITICAL,
    }
    if address is not None:
        try:
            with _signals_left():
                ray.init(address=address, **said)
        except (ConnectionError, RuntimeError, ray.exceptions.AuthenticationError) as error:
            raise ValueError(_no_cluster(address, error)) from None
        quiet(verbose)
        _link.watch()
        try:
            yield dict(ray.cluster_resources())
        finally:
            _link.let_go()
            ray.shutdown()
        return
    if gpus is None and _on_a_mac():
        gpus = 0
    _hide_token()
    options: dict[str, Any] = {} if gpus is None else {"num_gpus": gpus}
    with tempfile.TemporaryDirectory(prefix="fs-", dir=_short(), ignore_cleanup_errors=True) as scratch:
        with _signals_left(), _bare(verbose):
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE,
                _node_ip_address="127.0.0.1",
                _temp_dir=scratch,
                **said,
                **options,
            )
        quiet(verbose)
        try:
            _check_local(ray.util.get_node_ip_address())
            yield dict(ray.cluster_resources())
        finally:
            ray.shutdown()


def gpus_here() -> float:
    """How many GPUs `joined_ray` will find on this machine, or has found already."""
    os.environ.update(ENVIRONMENT)
    import ray
    from ray._private.resource_and_label_spec import ResourceAndLabelSpec

    if ray.is_initialized():
        return float(ray.cluster_resources().get("GPU", 0.0))
    if _on_a_mac():
        return 0.0
    manager, number = ResourceAndLabelSpec._get_current_node_accelerator(None, {})
    return float(number) if manager is not None and manager.get_resource_name() == "GPU" else 0.0


def _on_a_mac() -> bool:
    """Whether Ray counts a GPU on which nothing is computed, as it has no float64."""
    return platform.system() == "Darwin"


def _hide_token() -> None:
    """Let nobody else read the token that Ray makes at its first start and keeps: whoever on this machine has it can
    run code in this Ray, as this user. Ray writes it with the rights of any file."""
    if {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys() or os.environ.get("RAY_AUTH_MODE") == "disabled":
        return
    token = Path.home() / ".ray" / "auth_token"
    with suppress(OSError):  # what cannot be written, Ray says
        token.parent.mkdir(parents=True, exist_ok=True)
        token.touch(mode=0o600)
        if token.stat().st_mode & 0o077:
            token.chmod(0o600)


@contextmanager
def _signals_left() -> Iterator[None]:
    """Keep Ray's Python from taking SIGTERM, which would end this process on the spot, during its start too; and this
    process in its group, which Ctrl-C goes to: on macOS Ray makes one of its own, to end all of it with this process.
    """
    import ray._private.utils as utils

    theirs, group = utils.set_sigterm_handler, os.getpgrp()
    utils.set_sigterm_handler = lambda sigterm_handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = theirs
        if os.getpgrp() != group:
            os.setpgid(0, group)


@contextmanager
def _bare(verbose: bool) -> Iterator[None]:
    """Keep Ray from starting what a study's own Ray has no use for, each a Python that takes its time to start.

    These are its dashboard, which comes without its pages otherwise; its autoscaler; the parts of its node's agent that
    serve the dashboard; and, unless `verbose`, what brings the workers' output to the terminal.
    """
    import ray._private.utils as utils
    from ray._private.node import Node

    bare: list[tuple[Any, str, Any]] = [
        (Node, "start_api_server", lambda node, **options: None),
        (Node, "start_monitor", lambda node: None),
        (utils, "get_dashboard_dependency_error", lambda: ImportError("not asked for")),
    ]
    if not verbose:
        bare.append((Node, "start_log_monitor", lambda node: None))
    theirs = [(owner, name, getattr(owner, name)) for owner, name, _ in bare]
    for owner, name, ours in bare:
        setattr(owner, name, ours)
    try:
        yield
    finally:
        for owner, name, before in theirs:
            setattr(owner, name, before)


_link = Link()


def _check_local(address: str) -> None:
    """Refuse a Ray that was started here and that other machines could reach."""
    if address != "127.0.0.1":
        raise RuntimeError(
            f"a study's own Ray listens on 127.0.0.1 only; this one listens on {address}. Install the Ray that "
            "flowsearch requires"
        )


def _check_address(address: str) -> None:
    """Refuse the addresses of Ray's other doors, through which a study would end with this process or not at all."""
    if address.startswith(("http://", "https://")):
        raise ValueError(
            f"{address} is the address of a cluster's job server; `flowsearch cluster submit STUDY` runs "
            "a study there. --address joins the cluster that this machine is part of: auto, or HOST:6379"
        )
    if address.startswith("ray://"):
        raise ValueError(
            f"{address} is Ray Client, which ends when this computer sleeps; use `flowsearch cluster submit STUDY`"
        )


def _no_cluster(address: str, error: Exception) -> str:
    """Why there was no joining the cluster. Of a missing token Ray only says that it could not connect."""
    said = " ".join(str(error).split())
    if "token" in said.lower() or (":" in address and answers(address)):
        return (
            f"the cluster at {address} asks for its token, and this process has none, or another one: set "
            "RAY_AUTH_MODE=token and have the token in ~/.ray/auth_token or RAY_AUTH_TOKEN"
        )
    return f"there is no Ray cluster at {address}: {said}"


def broken() -> str | None:
    """What of this process's own Ray, or of the cluster it joined, has died, so that nothing more will run; else None.

    Ray itself says nothing of it: calls to a raylet that is gone are waited for without end.
    """
    if (silent := _link.dead()) is not None:
        return silent
    # Not imported here: a thread asks this, which may be while Ray is imported by another.
    node = getattr(sys.modules.get("ray._private.worker"), "_global_node", None)
    if node is None:
        return None
    dead = {kind for kind, _ in node.dead_processes()} & {"raylet", "gcs_server"}
    return " and ".join(sorted(dead)) or None


def quiet(verbose: bool) -> None:
    """Keep Ray's and Tune's own messages out of the terminal, unless `verbose`."""
    if verbose:
        return
    import ray._private.worker

    # Messages of the raylet ("a worker died ...") have no other switch; the driver's own lines say what happened.
    ray._private.worker._worker_logs_enabled = False
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"ray\..*")


def _short() -> str | None:
    """A folder with a short path: Ray keeps Unix sockets there, whose names are at most 103 bytes long on macOS, 107 on
    Linux.

    /tmp may be read-only in a container; what is in /dev/shm takes memory, so it comes last.
    """
    if len(tempfile.gettempdir()) <= 20:
        return None
    return next((place for place in ("/tmp", "/var/tmp", "/dev/shm") if os.access(place, os.W_OK | os.X_OK)), None)
