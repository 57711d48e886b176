"""`clusters/slurm.sh` on a real Slurm of two nodes: past a time limit, after `scancel`, and to the end on one node."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from nodes import ROOT, Cluster, Node, environment, namespaces_allowed, run, waited
from test_cluster_nodes import DRIVER

from flowsearch.study import ledger as events
from flowsearch.study import load
from flowsearch.study.ledger import Event, Ledger
from flowsearch.study.progress import FINAL, replay

SHIPPED = ROOT / "clusters/slurm.sh"
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
LACKING = [name for name in ("slurmctld", "slurmd", "sbatch") if shutil.which(name, path=PATH) is None]

STUDY = """\
name: small
data: {source: faces, size: 32}
fixed: {prox: unet, epochs: 40}
space: {folds: {int: [1, 4]}, lr: {float: [1.0e-4, 1.0e-3], log: true}}
objective: {val_psnr: maximize}
search: {sampler: random, trials: 9, window: 4}
scheduler: none
resources: {cpu: 1, gpu: 0}
"""
# Each node has two CPUs and two GPUs, which are device files and no more. It is a Slurm without its keys and its munge,
# whose doors are in the nodes' own network. A requeued job waits until `cred_expire` is over, two minutes by default.
SLURM = """\
ClusterName=fs
SlurmctldHost={head.name}({head.address})
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2
GresTypes=gpu
NodeName={head.name} NodeAddr={head.address} CPUs=2 Gres=gpu:2
NodeName={worker.name} NodeAddr={worker.address} CPUs=2 Gres=gpu:2
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE
"""
COMMANDS = {
    "python": f'exec {sys.executable} "$@"',
    "ray": f'exec {sys.executable} -m ray.scripts.scripts "$@"',
    "flowsearch": f'exec {sys.executable} {{folder}}/driver.py study_fakes:slow_trial "$@"',
}


SCRIPTS = pytest.mark.parametrize("path", sorted((ROOT / "clusters").glob("*.sh")), ids=lambda path: path.name)


@SCRIPTS
def test_bash_reads_it(path: Path) -> None:
    checked = run("bash", "-n", str(path))
    assert checked.returncode == 0, checked.stderr


@SCRIPTS
@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="there is no shellcheck")
def test_shellcheck_has_nothing_to_say(path: Path) -> None:
    checked = run("shellcheck", "--severity=warning", str(path))
    assert checked.returncode == 0, checked.stdout


# Commands of a job of one node; Ray ends once the file `closed` is there.
STAND_INS = {
    "python": "echo 127.0.0.1",
    "scontrol": '[ "$1" = show ] && echo here || echo "$2" > requeued',
    "scancel": "exit 1",
    "ray": """\
case $1 in
  get-auth-token) mkdir -p ~/.ray; echo token > ~/.ray/auth_token ;;
  status) echo ' 1 node_0' ;;
  start) for word; do case $word in --temp-dir=*) echo "${word#*=}" > scratch ;; esac; done
    trap 'touch closing; until [ -e closed ]; do sleep 0.05; done; exit' TERM
    echo 127.0.0.1:1 > "$(cat scratch)/ray_current_cluster"
    while :; do sleep 0.05; done ;;
esac""",
}


def begun(folder: Path, flowsearch: str, **known: str) -> "subprocess.Popen[str]":
    """The shipped script as a job of one node, with commands that are stand-ins."""
    bin = folder / ".venv/bin"
    bin.mkdir(parents=True)
    (bin / "activate").write_text("PATH=$PWD/.venv/bin:$PATH\n")
    for name, text in (STAND_INS | {"flowsearch": flowsearch}).items():
        (bin / name).write_text(f"#!/bin/bash\n{text}\n")
        (bin / name).chmod(0o755)
    known |= {"JOB_ID": "7", "JOB_NUM_NODES": "1", "JOB_NODELIST": "here", "CPUS_ON_NODE": "1"}
    env = os.environ | {"HOME": str(folder)} | {f"SLURM_{name}": value for name, value in known.items()}
    return subprocess.Popen(
        ["bash", str(SHIPPED), "small.yaml"], cwd=folder, env=env, text=True, stderr=subprocess.PIPE
    )  # fmt: skip


@pytest.mark.parametrize("code", [pytest.param(0, id="completed"), pytest.param(2, id="refused")])
def test_a_notice_after_the_end_of_a_study_changes_nothing(tmp_path: Path, code: int) -> None:
    job = begun(tmp_path, f"exit {code}")
    waited((tmp_path / "closing").exists, 30, "that Ray is told to end")
    job.send_signal(signal.SIGUSR1)
    (tmp_path / "closed").touch()
    _, said = job.communicate(timeout=30)
    assert (job.returncode, said) == (code, "")
    assert not (tmp_path / "requeued").exists()
    assert not Path((tmp_path / "scratch").read_text().strip()).exists()


@pytest.mark.parametrize(
    ("known", "own"),
    [
        pytest.param({}, "7", id="a job"),
        pytest.param({"ARRAY_JOB_ID": "7", "ARRAY_TASK_ID": "3"}, "7_3", id="the last task of an array"),
    ],
)
def test_a_notice_queues_the_job_again_and_no_other(tmp_path: Path, known: dict[str, str], own: str) -> None:
    job = begun(tmp_path, "trap 'exit 1' TERM; touch running; while :; do sleep 0.05; done", **known)
    waited((tmp_path / "running").exists, 30, "that the study runs")
    (tmp_path / "closed").touch()
    job.send_signal(signal.SIGUSR1)
    job.communicate(timeout=30)
    assert (tmp_path / "requeued").read_text().strip() == own


def test_nobody_else_reads_the_token_of_a_job(tmp_path: Path) -> None:
    (tmp_path / "closed").touch()
    _, said = begun(tmp_path, "exit 0").communicate(timeout=30)
    assert said == ""
    assert (tmp_path / ".ray/auth_token").stat().st_mode & 0o777 == 0o600


class Slurm:
    """A Slurm of two machines, and a folder that both see."""

    def __init__(self, machines: Cluster, folder: Path) -> None:
        self.machines, self.folder = machines, folder
        self.results = folder / "results/small"
        self.head, self.worker = machines.nodes.values()
        self.environment = environment(PATH=PATH, HOME=str(folder), SLURM_CONF=str(folder / "slurm.conf"))

    def start(self) -> None:
        """Write the settings, and start the daemons."""
        folder = self.folder
        (folder / "slurm.conf").write_text(SLURM.format(head=self.head, worker=self.worker, folder=folder))
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-1]\n")
        for gpu in ("gpu0", "gpu1"):
            os.mknod(folder / gpu, 0o20600, os.makedev(1, 3))
        known = [f"{node.address} {node.name}\n" for node in (self.head, self.worker)]
        (folder / "hosts").write_text("".join(["127.0.0.1 localhost\n", *known]))
        self._install()
        (folder / "state").mkdir()
        self._daemon("slurmctld", self.head)
        for node in (self.head, self.worker):
            (folder / f"spool-{node.name}").mkdir()
            self._daemon("slurmd", node)
        self.wait(lambda: self.said("sinfo", "-h", "-o", "%T %D") == "idle 2", 60, "two idle nodes")

    def _install(self) -> None:
        """What the script finds in its folder: a virtual environment, whose trials are stand-ins."""
        (self.folder / "small.yaml").write_text(STUDY)
        (self.folder / "driver.py").write_text(DRIVER)
        bin = self.folder / ".venv/bin"
        bin.mkdir(parents=True)
        (bin / "activate").write_text(f"export PATH={bin}:$PATH\n")
        for name, command in COMMANDS.items():
            (bin / name).write_text(f"#!/bin/sh\n{command.format(folder=self.folder)}\n")
            (bin / name).chmod(0o755)

    def _daemon(self, name: str, node: Node) -> None:
        with (self.folder / f"{name}-{node.name}.log").open("w") as log:
            self._popen(node, name, "-D", stdout=log, stderr=log)

    def _popen(self, node: Node, *command: str, **options: object) -> "subprocess.Popen[str]":
        """Start a command on a node where the nodes' names are known."""
        named = ["sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(self.folder / "hosts")]
        return node.popen(*named, *command, env=self.environment, cwd=str(self.folder), **options)

    def said(self, *command: str) -> str:
        """What a command of Slurm prints on the first node."""
        out, _ = self._popen(self.head, *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).communicate()
        return str(out).strip()

    def submit(self, *options: str) -> str:
        """Submit the script with the study; gives the job's number."""
        job = self.said("sbatch", "--parsable", "--mem-per-cpu=0", *options, str(SHIPPED), "small.yaml")
        assert job.isdigit(), job
        return job

    def wait(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait, and say on failure all that there is to read."""
        waited(condition, seconds, what, self.logs, pause=0.5)

    def state(self, job: str) -> str:
        return self.said("squeue", "-h", "-t", "all", "-o", "%T", "-j", job)

    def log(self, job: str) -> str:
        path = self.folder / f"flowsearch-{job}.log"
        return path.read_text() if path.exists() else ""

    def logs(self) -> str:
        return "\n".join(f"{path.name}:\n{path.read_text()[-6000:]}" for path in sorted(self.folder.glob("*.log")))

    def happened(self, event: str, subject: str | None = None) -> list[Event]:
        """Events of the ledger: of trials, or of the study."""
        known = Ledger(self.results / "ledger").events
        return [one for one in known if one.event == event and (one.subject == events.STUDY) == (subject is not None)]

    def completed(self) -> int:
        return sum(one.content["status"] in FINAL for one in self.happened(events.ENDED))

    def under_way(self) -> bool:
        """Whether two trials have run for two epochs."""
        records = [path.read_text() for path in (self.results / "checkpoints").glob("*/records.jsonl")]
        return sum(text.count("\n") >= 2 for text in records) >= 2

    def left(self) -> list[str]:
        """What runs on the nodes besides Slurm itself."""
        pids = [pid for node in (self.head, self.worker) for pid in node.pids()]
        paths = [path for path in (Path(f"/proc/{pid}/cmdline") for pid in pids) if path.exists()]
        lines = [path.read_bytes().replace(b"\0", b" ").decode() for path in paths]
        return [
            line
            for line in lines
            if line and not Path(line.split()[0]).name.startswith("slurm") and "slurmscriptd" not in line
        ]


@dataclass(frozen=True)
class Story:
    """A study whose job met its time limit and was requeued, was cancelled, and submitted again on one node."""

    slurm: Slurm
    shown: str
    """What Slurm says of the first job once it has been requeued."""
    last: str


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    if LACKING or not namespaces_allowed():
        pytest.skip(f"there is no {', '.join(LACKING)}" if LACKING else "network namespaces need root")
    with tempfile.TemporaryDirectory(prefix="fss", dir="/tmp", ignore_cleanup_errors=True) as folder:
        machines = Cluster(Path(folder), workers=1, namespaces=True)
        try:
            machines.lay_cables()
            slurm = Slurm(machines, Path(folder))
            slurm.start()
            job = slurm.submit("--cpus-per-task=1", "--gpus-per-node=0")
            slurm.wait(slurm.under_way, 150, "two trials")
            # The script asks for a notice five minutes before the end, and Slurm looks at the time every half a minute.
            slurm.said("scontrol", "update", f"JobId={job}", "TimeLimit=4")
            slurm.wait(lambda: "go on with:" in slurm.log(job), 100, "the notice")
            slurm.said("scontrol", "update", f"JobId={job}", "TimeLimit=60")
            before = slurm.completed()
            slurm.wait(lambda: slurm.completed() > before, 150, "that it goes on")
            shown = slurm.said("scontrol", "show", "job", job)
            slurm.said("scancel", job)
            slurm.wait(lambda: slurm.state(job) == "CANCELLED", 60, "the end of the job")
            # This Slurm follows processes by their parents, and does not see a worker whose raylet died first.
            slurm.wait(lambda: not slurm.left(), 60, "that nothing of the cancelled job runs on")
            last = slurm.submit("--nodes=1", "--cpus-per-task=2", "--gpus-per-node=1")
            slurm.wait(lambda: slurm.state(last) in {"COMPLETED", "FAILED"}, 200, "the end")
            yield Story(slurm, shown, last)
        finally:
            machines.end()


ON_SLURM = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(900)]


class TestOnSlurm:
    pytestmark = ON_SLURM

    def test_the_notice_interrupts_it_in_order_and_the_job_is_requeued(self, story: Story) -> None:
        stops = story.slurm.happened(events.STOPPED, events.STUDY)
        assert stops[0].content["why"] == "signal", story.slurm.logs()
        assert "Restarts=1" in story.shown

    def test_submitted_again_it_comes_to_its_end(self, story: Story) -> None:
        root = story.slurm.results
        progress = replay(load(root / "study.yaml"), Ledger(root / "ledger"))
        assert story.slurm.state(story.last) == "COMPLETED", story.slurm.logs()
        assert progress.counts == {"completed": 9}, story.slurm.logs()

    def test_epochs_that_were_done_are_not_done_again(self, story: Story) -> None:
        for path in (story.slurm.results / "checkpoints").glob("*/records.jsonl"):
            epochs = [json.loads(line)["epoch"] for line in path.read_text().splitlines()]
            assert sorted(set(epochs)) == list(range(1, 41)), path
            assert len(epochs) <= 40 + 2, f"{path}: {epochs}"

    def test_it_counts_what_slurm_gives_and_not_what_the_machines_have(self, story: Story) -> None:
        begun = [one.content["resources"] for one in story.slurm.happened(events.STARTED, events.STUDY)]
        assert [(one["CPU"], one.get("GPU", 0)) for one in begun] == [(2, 0), (2, 0), (2, 1)]
        nodes = [sum(name.startswith("node:10.") for name in one) for one in begun]
        assert nodes == [2, 2, 1]
