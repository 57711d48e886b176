"""Studies on a real cluster: a head and three workers, each a Ray node with its own address, that come to harm."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes import Cluster, Node, cluster, environment, waited
from test_study_death import SCRIPT

from flowsearch.study import ledger as events
from flowsearch.study import load
from flowsearch.study.ledger import Event, Ledger
from flowsearch.study.progress import FINAL, replay

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(600)]

DRIVER = SCRIPT.replace('images=lambda config: "same", cpus=2', 'images=lambda config: "same"')
TEXT = """\
name: harmed
data: {source: faces, size: 32}
fixed: {prox: unet, epochs: 8}
space: {folds: {int: [1, 4]}, lr: {float: [1.0e-4, 1.0e-3], log: true}}
objective: {val_psnr: maximize}
search: {sampler: random, trials: 32, window: 12}
scheduler: none
resources: {cpu: 1}
"""
OWN = """\
name: own
data: {source: faces, size: 16, train: 8, val: 2, test: 2, ood: null}
fixed: {method: adjoint}
space: {task: [{mine:Half: {noise: 0.1}}, denoise-0.1]}
mode: grid
objective: {val_psnr: maximize}
"""
MINE = """\
from torch import Tensor
from flowsearch.operators import LinearOperator

class Half(LinearOperator):
    def __init__(self, channels: int, size: int) -> None:
        super().__init__()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return 0.5 * x_BCHW

    def adjoint(self, y_BCHW: Tensor) -> Tensor:
        return 0.5 * y_BCHW
"""


@pytest.fixture(scope="module")
def ours() -> Iterator[Cluster]:
    with cluster(workers=3) as made:
        yield made


def inside(node: Node, code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return node.run(sys.executable, "-c", code, env=environment() | env)


ASK = """
import json, sys
from flowsearch.study.local import joined_ray
with joined_ray(address={address!r}) as resources:
    import ray
    print(json.dumps([resources, [node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]]]))
"""


def test_each_node_has_an_address_of_its_own_and_the_head_takes_no_trials(ours: Cluster) -> None:
    asked = inside(ours.head, ASK.format(address=ours.address), RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=ours.token)
    assert asked.returncode == 0, asked.stderr
    resources, addresses = json.loads(asked.stdout.splitlines()[-1])
    assert resources["CPU"] == 3
    assert sorted(addresses) == sorted(node.address for node in ours.nodes.values())
    assert len(set(addresses)) == (4 if ours.namespaces else 1)


def test_a_driver_without_the_token_is_refused(ours: Cluster) -> None:
    asked = inside(ours.head, ASK.format(address=ours.address), HOME=str(ours.head.home))
    assert asked.returncode != 0
    assert "ValueError: the cluster at" in asked.stderr, asked.stderr
    assert "asks for its token" in asked.stderr


HTTP = """
import urllib.error, urllib.request
request = urllib.request.Request("{jobs}/api/jobs/", headers={headers})
try:
    print(urllib.request.urlopen(request, timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def test_the_job_server_asks_for_the_token(ours: Cluster) -> None:
    codes = [
        inside(ours.head, HTTP.format(jobs=ours.jobs, headers=headers)).stdout.strip()
        for headers in ({}, {"Authorization": "Bearer " + "f" * 32}, {"Authorization": f"Bearer {ours.token}"})
    ]
    assert codes == ["401", "403", "200"]


def test_the_dashboard_is_on_loopback_only(ours: Cluster) -> None:
    listening = ours.head.run("ss", "-Hltn", env=environment()).stdout.splitlines()
    doors = [line.split()[3] for line in listening if line.split()[3].endswith(f":{ours.dashboard}")]
    assert doors == [f"127.0.0.1:{ours.dashboard}"]


def submit(ours: Cluster, folder: Path, *more: str, token: bool = True) -> subprocess.CompletedProcess[str]:
    known = ours.environment if token else environment(HOME=str(ours.head.home))
    command = [
        sys.executable,
        "-m",
        "flowsearch",
        "cluster",
        "submit",
        str(folder / "own.yaml"),
        "--address",
        ours.jobs,
    ]
    return ours.head.run(*command, "--results", str(folder / "results"), *more, env=known, seconds=200)


def test_a_study_is_submitted_with_its_own_parts_and_goes_on_when_submitted_again(
    ours: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    (tmp_path / "mine.py").write_text(MINE)
    home = f"FLOWSEARCH_HOME={tmp_path / 'home'}"
    refused = submit(ours, tmp_path, token=False)
    assert refused.returncode == 2
    assert "asks for its token" in refused.stderr
    done = submit(ours, tmp_path, "--env", home, "--follow")
    assert done.returncode == 0, done.stdout + done.stderr
    job = done.stdout.split("submitted as ", 1)[1].partition(";")[0]
    assert f"flowsearch study show {tmp_path}/results/own" in done.stdout
    assert f"ray job logs --address {ours.jobs} --follow {job}" in done.stdout
    root = tmp_path / "results/own"
    assert replay(load(root / "study.yaml"), Ledger(root / "ledger")).counts == {"completed": 2}
    (tmp_path / "own.yaml").write_text(OWN)
    again = submit(ours, tmp_path, "--env", home, "--follow")
    assert again.returncode == 0, again.stdout + again.stderr
    progress = replay(load(root / "study.yaml"), Ledger(root / "ledger"))
    assert [trial.attempt for trial in progress.trials.values()] == [1, 1]


@pytest.fixture(scope="module")
def harmed(ours: Cluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A study that has lost a worker, another one's cable, one that gave notice, and the head; and what it said."""
    folder = tmp_path_factory.mktemp("harmed")
    (folder / "harmed.yaml").write_text(TEXT)
    ledger = folder / "results/harmed/ledger"
    first, second, third = ours.workers
    said = []

    def driver(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", DRIVER, "study_fakes:slow_trial", "study", *arguments, "--plain"]
        return ours.head.popen(*command, "--address", ours.address, env=ours.environment, cwd=str(folder),
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip

    def happened(event: str) -> list[Event]:
        return [one for one in Ledger(ledger).events if one.event == event and one.subject != events.STUDY]

    def under_way(node: Node) -> bool:
        """Whether a trial on the node is between its second epoch and its fifth."""
        last = {one.subject: one for one in Ledger(ledger).events if one.subject != events.STUDY}
        for one in last.values():
            records = folder / "results/harmed/checkpoints" / one.subject / "records.jsonl"
            if one.event == events.STARTED and one.content["host"] == node.name and records.exists():
                return 2 <= len(records.read_text().splitlines()) <= 4
        return not ours.namespaces

    def told() -> str:
        lines = [f"{one.at.time:%X} {one.event} {one.subject} {one.content.get('reason')} {one.content.get('host')}"
                 for one in Ledger(ledger).events]  # fmt: skip
        return "\n".join([*said, *lines])

    process = driver("run", "harmed.yaml")
    waited(lambda: len(happened(events.ENDED)) >= 2, 120, "the end of two trials", told)
    waited(lambda: under_way(first), 60, "a trial on the first worker", told)
    first.kill(first.pids())
    waited(lambda: len(happened(events.AGAIN)) >= 1, 60, "that a killed worker's trial is taken up again", told)
    ours.start(first)
    waited(lambda: under_way(second), 60, "a trial on the second worker", told)
    second.cut_off()
    waited(lambda: len(happened(events.AGAIN)) >= 2, 60, "that a cut-off worker's trial is taken up again", told)
    waited(lambda: under_way(third), 60, "a trial on the third worker", told)
    drain = DRAIN.format(address=ours.address, node=third.address)
    drained = inside(ours.head, drain, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=ours.token)
    said.append(drained.stdout + drained.stderr)
    if ours.namespaces:
        waited(lambda: any("notice" in one.content["reason"] for one in happened(events.AGAIN)), 60, "a notice", told)
    ours.head.kill([pid for pid in ours.head.pids() if pid != process.pid])
    out, _ = process.communicate(timeout=90)
    said.append(out)
    assert process.returncode != 0, told()  # Ray itself ends a driver whose raylet is gone
    second.back()
    for node in ours.nodes.values():
        node.kill(node.pids())
    ours.start_all()
    process = driver("resume", "results/harmed")
    out, _ = process.communicate(timeout=180)
    said.append(out)
    assert process.returncode == 0, told()
    return folder, said


DRAIN = """
import time
from ray._raylet import GcsClient
from ray.core.generated import autoscaler_pb2
import ray
ray.init(address={address!r}, logging_level="ERROR")
alive = [one for one in ray.nodes() if one["Alive"] and one["Resources"].get("CPU")]
node = next(one["NodeID"] for one in alive if one["NodeManagerAddress"] == {node!r})
reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
print(GcsClient(address={address!r}).drain_node(node, reason, "spot", time.time_ns() // 10**6 + 60_000))
"""


def test_every_trial_of_a_harmed_study_ends_once(harmed: tuple[Path, list[str]]) -> None:
    folder, said = harmed
    root = folder / "results/harmed"
    ledger = Ledger(root / "ledger")
    progress = replay(load(root / "study.yaml"), ledger)
    assert progress.counts == {"completed": 32}, "\n".join(said)
    for trial in progress.trials.values():
        own = [event for event in ledger.events if event.subject == trial.id]
        ends = [one for one in own if one.event == events.ENDED and one.content["status"] in FINAL]
        assert len(ends) == 1, trial.id
        assert own[-1] is ends[0], f"something happened to trial {trial.id} after its end"


def test_it_says_what_was_lost(harmed: tuple[Path, list[str]], ours: Cluster) -> None:
    folder, said = harmed
    assert "that went on from checkpoints; at most" in said[-1]
    reasons = Counter(
        one.content["reason"].partition(" (")[0]
        for one in Ledger(folder / "results/harmed/ledger").events
        if one.event == events.AGAIN
    )
    assert reasons["its machine went away"] >= 1, "the one that was cut off"
    assert reasons["the connection to it broke"] + reasons["its worker process died"] >= 1, "the one that was killed"
    if ours.namespaces:
        assert reasons["its machine was taken back, with notice"] == 1
        assert "nothing of epoch" in said[-1]


def test_epochs_that_were_done_are_not_done_again(harmed: tuple[Path, list[str]]) -> None:
    folder, _ = harmed
    for path in (folder / "results/harmed/checkpoints").glob("*/records.jsonl"):
        epochs = [json.loads(line)["epoch"] for line in path.read_text().splitlines()]
        assert sorted(set(epochs)) == list(range(1, 9)), path
        assert len(epochs) <= 8 + 2, f"{path}: {epochs}"
