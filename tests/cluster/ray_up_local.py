"""A real `ray up` over SSH: the `local` provider, three machines of our own on this one, a study submitted, `ray down`.

    python tests/cluster/ray_up_local.py

The machines are network namespaces, each with an SSH server, keys and a home of its own below a temporary folder. They
run the flowsearch that `ray up` carried there and installed; its dependencies are those that are here. Where there can
be no such machines (no root, no `ip`, no `sshd`) it says so and leaves with exit code 0; a failure gives 1.
"""

import getpass
import hashlib
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
from pathlib import Path

from nodes import RAY, ROOT, Cluster, Node, namespaces_allowed, run, waited
from ruamel.yaml import YAML

NAME = f"fs{os.getpid()}"
STUDY = """\
name: over-ssh
data: {source: faces, size: 16, train: 8, val: 2, test: 2, ood: null}
fixed: {method: adjoint}
space: {task: [denoise-0.1, denoise-0.2, denoise-0.3]}
mode: grid
objective: {val_psnr: maximize}
resources: {cpu: 1}
"""


def main() -> None:
    """Start the machines, then the cluster on them, run a study, and take all of it down again."""
    lacking = [name for name in ("ip", "ssh", "sshd", "ssh-keygen", "rsync", "unshare") if not _found(name)]
    if lacking or not namespaces_allowed():
        why = f"there is no {', '.join(lacking)}" if lacking else "network namespaces need root"
        print(f"ray up over SSH is not tried here: {why}")
        return
    with tempfile.TemporaryDirectory(prefix="fsu", dir="/tmp", ignore_cleanup_errors=True) as folder:
        machines = Cluster(Path(folder), workers=2, namespaces=True)
        try:
            machines.lay_cables()
            keys = make_keys(Path(folder))
            fetch_build_system(Path(folder))
            for node in machines.nodes.values():
                make_environment(node)
                serve_ssh(node, keys)
            up_and_down(machines, Path(folder), keys)
        finally:
            machines.end()
            _forget_connections()
    print("ray up over SSH: a study ran on machines that were started by it, and nothing is left of them")


def _forget_connections() -> None:
    """Ray keeps its SSH connections' sockets below /tmp, by user and cluster."""
    user, name = (hashlib.sha256(one.encode()).hexdigest()[:10] for one in (getpass.getuser(), NAME))
    shutil.rmtree(f"/tmp/ray_ssh_{user}/{name}", ignore_errors=True)


def _found(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")


def make_keys(folder: Path) -> Path:
    """A key of the person's, one of the machines', and who may come in."""
    keys = folder / "keys"
    keys.mkdir(mode=0o700)
    for name in ("person", "machine"):
        made = run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name))
        assert made.returncode == 0, made.stderr
    (keys / "authorized").write_text((keys / "person.pub").read_text())
    (keys / "authorized").chmod(0o600)
    return keys


def fetch_build_system(folder: Path) -> None:
    """What builds the package, for machines that reach no index."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    fetched = run(sys.executable, "-m", "pip", "download", "--quiet", "-d", str(folder / "wheels"), *wanted)
    assert fetched.returncode == 0, fetched.stderr


def make_environment(node: Node) -> None:
    """The virtual environment that the cluster file asks for, which sees the packages that are here, but not ours."""
    folder = node.home / "flowsearch-venv"
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/*/site-packages")
    (packages / "here.pth").write_text(sysconfig.get_path("purelib"))
    for name, module in (("ray", "ray.scripts.scripts"), ("pip", "pip")):
        (folder / "bin" / name).write_text(f'#!/bin/sh\nexec {folder}/bin/python -m {module} "$@"\n')
        (folder / "bin" / name).chmod(0o755)


def serve_ssh(node: Node, keys: Path) -> None:
    """An SSH server on the machine that lets in the person's key only, with a home of the machine's own."""
    config = node.home / "sshd_config"
    known = {
        "PATH": os.environ["PATH"],
        "PIP_NO_INDEX": 1,
        "PIP_FIND_LINKS": node.home.parent / "wheels",
        "RAY_TMPDIR": node.home,
        "RAY_USAGE_STATS_ENABLED": 0,
        "OMP_NUM_THREADS": 1,
    }
    (node.home / ".bashrc").write_text("".join(f"export {name}={value}\n" for name, value in known.items()))
    config.write_text(
        f"""\
ListenAddress {node.address}
Port 22
HostKey {keys / "machine"}
AuthorizedKeysFile {keys / "authorized"}
PidFile {node.home / "sshd.pid"}
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PermitRootLogin prohibit-password
StrictModes no
"""
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    # SSH takes a home from the list of users and not from $HOME, so that the machine has a list of its own.
    mine = pwd.getpwuid(os.getuid())
    users = Path("/etc/passwd").read_text().replace(f":{mine.pw_dir}:{mine.pw_shell}", f":{node.home}:/bin/bash")
    (node.home / "passwd").write_text(users)
    serve = f"mount --bind {node.home / 'passwd'} /etc/passwd && exec {_found('sshd')} -D -e -f {config}"
    log = (node.home / "sshd.log").open("w")
    node.popen("unshare", "--mount", "sh", "-c", serve, env=os.environ, stdout=log, stderr=log)
    waited(
        lambda: "Server listening" in (node.home / "sshd.log").read_text(), 20, "an SSH server",
        lambda: (node.home / "sshd.log").read_text(),
    )  # fmt: skip


def cluster_file(machines: Cluster, folder: Path, keys: Path) -> Path:
    """`clusters/machines.yaml`, with these machines."""
    values = YAML(typ="safe").load((ROOT / "clusters/machines.yaml").read_text())
    values["provider"] |= {"head_ip": machines.head.address, "worker_ips": [node.address for node in machines.workers]}
    values["auth"] = {"ssh_user": getpass.getuser(), "ssh_private_key": str(keys / "person")}
    small = "--object-store-memory=100000000 --temp-dir=$HOME/ray"
    address = "--node-ip-address=$(hostname -I | cut -d ' ' -f 1)"
    for name in ("head_start_ray_commands", "worker_start_ray_commands"):
        # `ray stop` would stop what runs on the other machines, too, as processes are those of all.
        values[name] = [
            line.replace("ray start", f"ray start {small} {address}") for line in values[name] if "stop" not in line
        ]
    values["worker_start_ray_commands"][-1] += " --num-cpus=1"
    values |= {"idle_timeout_minutes": 5, "cluster_name": NAME}
    path = folder / "machines.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(values, file)
    return path


def up_and_down(machines: Cluster, folder: Path, keys: Path) -> None:
    """What a person does, from the laptop that is the head's neighbour."""
    file, home = cluster_file(machines, folder, keys), folder / "laptop"
    (home / ".ray").mkdir(parents=True)
    (home / ".ray/auth_token").write_text(machines.token)
    env = machines.environment | {"HOME": str(home), "RAY_TMPDIR": str(home)}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"

    def do(*command: str, seconds: float = 300) -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", str(machines.head.namespace), *command],
            env=env, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
        if "-c" not in command:
            print(
                f"$ {' '.join(command[2:]).replace('ray.scripts.scripts', 'ray')}: exit code {done.returncode}",
                flush=True,
            )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    flowsearch = [sys.executable, "-m", "flowsearch"]
    do(*flowsearch, "cluster", "check", str(file))
    do(*RAY, "up", "-y", "--no-config-cache", str(file))
    waited(lambda: len(alive(machines, do)) == 3, 240, "the start of both workers", lambda: logs(machines), 3)
    where = ". ~/flowsearch-venv/bin/activate; python -c 'import flowsearch; print(flowsearch.__file__)'"
    assert str(machines.head.home) in do(*RAY, "exec", str(file), where)
    (folder / "over-ssh.yaml").write_text(STUDY)
    results = folder / "results"
    do(*flowsearch, "cluster", "submit", str(folder / "over-ssh.yaml"), "--results", str(results), "--follow",
       "--env", f"FLOWSEARCH_HOME={folder / 'flowsearch'}")  # fmt: skip
    shown = do(*flowsearch, "study", "show", str(results / "over-ssh"))
    assert "3 completed" in shown or "3 of 3" in shown, shown
    do(*RAY, "down", "-y", str(file))
    waited(lambda: not rays(machines), 60, "the end of Ray on all machines", lambda: "\n".join(rays(machines)))


def alive(machines: Cluster, do: object) -> list[str]:
    """The addresses of the nodes that have joined."""
    code = (
        f"import ray; ray.init(address={machines.address!r}, logging_level='ERROR'); "
        "print(*[node['NodeManagerAddress'] for node in ray.nodes() if node['Alive']])"
    )
    return do(sys.executable, "-c", code).split()  # type: ignore[operator]


def rays(machines: Cluster) -> list[str]:
    """What still runs of Ray on the machines."""
    found = [run("ps", "-o", "args=", "-p", str(pid)).stdout for node in machines.nodes.values() for pid in node.pids()]
    return [line for line in found if "raylet" in line or "gcs_server" in line]


def logs(machines: Cluster) -> str:
    """What the head's autoscaler said last."""
    found = sorted(machines.head.home.glob("ray/session_*/logs/monitor.*"))
    return "\n".join(path.read_text()[-3000:] for path in found)


if __name__ == "__main__":
    main()
