"""A Ray cluster of several nodes on this machine, started by `ray start` as machines would be.

Where root allows, each node has a network namespace with an address of its own, and a cable that can be pulled; else
all of them are on loopback, and a node is cut off by stopping its processes. Nothing leaves the machine.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
FAKES = ROOT / "tests/study"
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
# A node that does not answer is dead within seconds, and one that was cut off gives up as soon.
QUICK = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "8",
}


def environment(**more: str) -> dict[str, str]:
    """The variables of a process of the cluster: this checkout, the fakes, a thread each."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "COV_", "PYTEST_"))}
    path = os.pathsep.join([str(ROOT), str(FAKES)])
    return kept | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "COLUMNS": "200"} | more


def run(*command: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and give what it printed."""
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


def waited(
    condition: Callable[[], bool],
    seconds: float,
    what: str,
    also: Callable[[], str] = lambda: "",
    pause: float = 0.1,
) -> None:
    """Wait until the condition holds; fail where it does not in time."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"{what} did not happen within {seconds} s\n{also()}"
        time.sleep(pause)


def namespaces_allowed() -> bool:
    """Whether network namespaces can be made here."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"fs-try-{os.getpid()}"
    made = run("ip", "netns", "add", name).returncode == 0
    run("ip", "netns", "del", name)
    return made


class Node:
    """One machine of the cluster."""

    def __init__(self, name: str, address: str, namespace: str | None, cable: str | None, home: Path) -> None:
        self.name, self.address, self.namespace, self.cable, self.home = name, address, namespace, cable, home
        self.processes: list[subprocess.Popen[str]] = []

    def popen(self, *command: str, env: Mapping[str, str], **options: object) -> subprocess.Popen[str]:
        """Start a command on the node, in a session of its own."""
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', self.name]
        inside = [] if self.namespace is None else ["ip", "netns", "exec", self.namespace, *named]
        process = subprocess.Popen(
            [*inside, *command], env=dict(env), text=True, start_new_session=True, **options  # type: ignore[call-overload]
        )  # fmt: skip
        self.processes.append(process)
        return process

    def run(self, *command: str, env: Mapping[str, str], seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command on the node to its end."""
        process = self.popen(*command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=str(self.home))
        out, err = process.communicate(timeout=seconds)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def pids(self) -> list[int]:
        """All processes of the node's own."""
        if self.namespace is not None:
            return [int(pid) for pid in run("ip", "netns", "pids", self.namespace).stdout.split()]
        sessions = {str(process.pid) for process in self.processes}
        listed = run("ps", "-eo", "pid=,sid=").stdout.splitlines()
        return [int(line.split()[0]) for line in listed if line.split()[1] in sessions]

    def kill(self, pids: list[int]) -> None:
        """The power fails."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def cut_off(self) -> None:
        """Pull the cable."""
        if self.cable is not None:
            run("ip", "link", "set", self.cable, "down")
            return
        for pid in self.pids():
            os.kill(pid, signal.SIGSTOP)

    def back(self) -> None:
        """Put the cable back."""
        if self.cable is not None:
            run("ip", "link", "set", self.cable, "up")
            return
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


class Cluster:
    """A head that takes no trials, and workers of one CPU each."""

    def __init__(self, folder: Path, workers: int, namespaces: bool) -> None:
        self.folder, self.namespaces = folder, namespaces
        self.token = secrets.token_hex(16)
        self._tag = f"fs{os.getpid() % 100000}"
        names = ["head", *(f"worker{number}" for number in range(1, workers + 1))]
        net = f"10.219.{os.getpid() % 250}"
        self.nodes = {}
        for number, name in enumerate(names, start=1):
            home = folder / f"{number}"
            home.mkdir()
            if namespaces:
                node = Node(name, f"{net}.{number}", f"{self._tag}-{number}", f"{self._tag}v{number}", home)
            else:
                node = Node(name, "127.0.0.1", None, None, home)
            self.nodes[name] = node
        self.head = self.nodes["head"]
        self.workers = [node for node in self.nodes.values() if node is not self.head]
        self.port = "6379" if namespaces else str(20000 + os.getpid() % 20000)
        self.dashboard = "8265" if namespaces else str(int(self.port) + 1)
        self.address = f"{self.head.address}:{self.port}"
        self.jobs = f"http://127.0.0.1:{self.dashboard}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables of those who have the token."""
        return environment(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=self.token) | QUICK

    def lay_cables(self) -> None:
        """A bridge, and a namespace with a cable to it for each node."""
        if not self.namespaces:
            return
        for command in self._cables():
            done = run("ip", *command.split())
            assert done.returncode == 0, f"ip {command}: {done.stderr}"

    def _cables(self) -> Iterator[str]:
        bridge = f"{self._tag}br"
        yield f"link add {bridge} type bridge"
        yield f"link set {bridge} up"
        for node in self.nodes.values():
            yield f"netns add {node.namespace}"
            yield f"link add {node.cable} type veth peer name eth0 netns {node.namespace}"
            yield f"link set {node.cable} master {bridge}"
            yield f"link set {node.cable} up"
            yield f"-n {node.namespace} link set lo up"
            yield f"-n {node.namespace} addr add {node.address}/24 dev eth0"
            yield f"-n {node.namespace} link set eth0 up"

    def start(self, *nodes: Node) -> None:
        """`ray start` on nodes, all at once."""
        started = [(node, self._ray_start(node)) for node in nodes]
        for node, process in started:
            assert process.wait(timeout=150) == 0, (node.home / "ray-start.log").read_text()

    def _ray_start(self, node: Node) -> subprocess.Popen[str]:
        common = [
            f"--node-ip-address={node.address}", f"--temp-dir={node.home / f'ray{len(node.processes)}'}",
            "--object-store-memory=100000000", "--disable-usage-stats",
        ]  # fmt: skip
        if node is self.head:
            own = ["--head", f"--port={self.port}", "--num-cpus=0", "--num-gpus=0", "--dashboard-host=127.0.0.1"]
            own.append(f"--dashboard-port={self.dashboard}")
        else:
            own = [f"--address={self.address}", "--num-cpus=1"]
        with (node.home / "ray-start.log").open("w") as log:
            return node.popen(*RAY, "start", *own, *common, env=self.environment, stdout=log, stderr=log)

    def start_all(self) -> None:
        """The head, then all workers."""
        self.start(self.head)
        self.start(*self.workers)

    def end(self) -> None:
        """Nothing is left behind: no process, no namespace."""
        for node in self.nodes.values():
            node.back()
        for _ in range(3):
            for node in self.nodes.values():
                node.kill(node.pids())
            time.sleep(0.2)
        for node in self.nodes.values():
            for process in node.processes:
                process.poll()
        if self.namespaces:
            for node in self.nodes.values():
                run("ip", "netns", "del", str(node.namespace))
            run("ip", "link", "del", f"{self._tag}br")


@contextmanager
def cluster(workers: int) -> Iterator[Cluster]:
    """A cluster that runs, and is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="fsc", dir="/tmp", ignore_cleanup_errors=True) as folder:
        made = Cluster(Path(folder), workers, namespaces_allowed())
        try:
            made.lay_cables()
            made.start_all()
            yield made
        finally:
            made.end()
