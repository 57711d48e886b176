"""`ray up cluster.yaml`, as it is shipped, against a mock of EC2: what is asked of AWS, from the first request on.

Ray's own code asks, on the laptop and on the head, whose Ray and autoscaler are real. The machines are not: moto starts
none, and stand-ins for `ssh` and `rsync` write down what they would have been told.
"""

import fnmatch
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from nodes import RAY, ROOT, Cluster, environment, run, waited

boto3 = pytest.importorskip("boto3", reason="what Ray asks AWS with")
pytest.importorskip("moto.server", reason="the mock of EC2")

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(600)]

REGION = "eu-west-1"
DOCKER_ANSWERS = {
    "command -v docker": "/usr/bin/docker",
    ".Config.Env": '["HOME=/home/ray"]',
    "printenv HOME": "/home/ray",
    "info -f": "map[nvidia:nvidia-container-runtime]",
}
WANT = """
import sys, time, ray
ray.init(address=sys.argv[1], logging_level="ERROR")
@ray.remote(num_gpus=1)
def trial():
    return 1
waiting = [trial.remote() for _ in range(int(sys.argv[2]))]
time.sleep(600)
"""


@dataclass
class Aws:
    """The mock, and the laptop that asks it."""

    folder: Path
    port: int

    def environment(self, who: str) -> dict[str, str]:
        """The variables of the laptop or the head, which are told apart by their keys."""
        return environment(
            AWS_ENDPOINT_URL=f"http://127.0.0.1:{self.port}", AWS_ACCESS_KEY_ID=who, AWS_SECRET_ACCESS_KEY="secret",
            AWS_EC2_METADATA_DISABLED="true", HOME=str(self.folder / who), TMPDIR=str(self.folder),
            LOGNAME=self.folder.name,
            PATH=f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            RAY_AUTH_MODE="token", AUTOSCALER_UPDATE_INTERVAL_S="1",
        )  # fmt: skip

    def client(self, service: str) -> Any:
        """A client of one's own, which the diary knows as `test`."""
        return boto3.client(
            service, REGION, endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id="test", aws_secret_access_key="secret",
        )  # fmt: skip

    def asked(self, action: str | None = None, by: str | None = None) -> list[dict[str, Any]]:
        """What was asked, in its order."""
        lines = [json.loads(line) for line in (self.folder / "asked.jsonl").read_text().splitlines()]
        return [one for one in lines if action in (None, one["Action"]) and by in (None, one["By"])]

    def started(self, market: str, refused: bool = False) -> int:
        """How many workers were asked for in a market, and given or refused."""
        runs = [one for one in self.asked("RunInstances", by="head") if one["Refused"] == refused]
        return sum(
            int(one["MaxCount"]) for one in runs if one.get("InstanceMarketOptions.MarketType", "on-demand") == market
        )

    def instances(self) -> list[dict[str, Any]]:
        """Those that are not terminated."""
        found = self.client("ec2").describe_instances()["Reservations"]
        return [one for each in found for one in each["Instances"] if one["State"]["Name"] != "terminated"]

    def said(self, by: str) -> str:
        """What the machines were told by SSH, a line for each time, without its quoting."""
        return re.sub(r"""['"\\]+""", "'", (self.folder / by / "ssh.log").read_text())

    def scarce(self, market: str | None) -> None:
        """Take a market's machines away, or give them back."""
        path = self.folder / "scarce"
        path.unlink(missing_ok=True) if market is None else path.write_text(market)

    def ray(self, *words: str) -> str:
        """One of Ray's commands, on the laptop, in the folder of the checkout."""
        done = run(*RAY, *words, env=self.environment("laptop"), cwd=str(ROOT), timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    """The mock with the role of the docs, and a laptop with stand-ins for `ssh` and `rsync`."""
    with tempfile.TemporaryDirectory(prefix="fsa", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            mock = Aws(folder, free.getsockname()[1])
        for who in ("laptop", "head"):
            (folder / who / ".ray").mkdir(parents=True)
            (folder / who / ".ray/auth_token").write_text("0123456789abcdef" * 4)
            (folder / who / "flowsearch").mkdir()
            (folder / who / "ssh.log").touch()
        stand_ins(folder / "bin")
        command = [sys.executable, str(ROOT / "tests/cluster/ec2.py"), str(mock.port), name]
        server = subprocess.Popen(command, env=environment())
        try:
            waited(lambda: socket.socket().connect_ex(("127.0.0.1", mock.port)) == 0, 60, "the start of the mock")
            make_role(mock.client("iam"))
            yield mock
        finally:
            server.kill()
            server.wait()
            # Where Ray keeps its SSH connections' sockets, by user.
            user = hashlib.sha256(folder.name.encode()).hexdigest()[:10]
            shutil.rmtree(f"/tmp/ray_ssh_{user}", ignore_errors=True)


def stand_ins(folder: Path) -> None:
    """`ssh`, which answers for Docker, and `rsync`, which keeps the files that the head is started with."""
    folder.mkdir()
    answers = "\n".join(f"*'{asked}'*) echo '{answer}';;" for asked, answer in DOCKER_ANSWERS.items())
    scripts = {
        "ssh": f'case "$*" in\n{answers}\nesac',
        "rsync": 'case "${@: -1}" in */ray_bootstrap_*) cp "${@: -2:1}" "$HOME/$(basename "${@: -1}")";; esac',
    }
    for name, script in scripts.items():
        path = folder / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >> "$HOME/ssh.log"\n{script}\n')
        path.chmod(0o755)


def make_role(iam: Any) -> None:
    """What docs/cluster.md does by Amazon's command line."""
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam.create_role(
        RoleName="flowsearch", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )
    policy = (ROOT / "clusters/aws_role.json").read_text()
    iam.put_role_policy(RoleName="flowsearch", PolicyName="flowsearch", PolicyDocument=policy)
    iam.create_instance_profile(InstanceProfileName="flowsearch")
    iam.add_role_to_instance_profile(InstanceProfileName="flowsearch", RoleName="flowsearch")


@pytest.fixture(scope="module")
def up(aws: Aws) -> Aws:
    """`ray up`, from which the head was told all that it needs."""
    aws.ray("up", "-y", "--no-config-cache", "cluster.yaml")
    return aws


@pytest.fixture(scope="module")
def scaled(up: Aws) -> Iterator[Aws]:
    """A head whose autoscaler starts workers for eight trials, at first without any spot machine to be had."""
    (head,) = up.instances()
    for name in ("ray_bootstrap_config.yaml", "ray_bootstrap_key.pem"):
        text = (up.folder / "laptop" / name).read_text()
        (up.folder / "head" / name).write_text(text.replace("/home/ray", str(up.folder / "head")))
    machines = Cluster(Path(tempfile.mkdtemp(dir=up.folder)), workers=0, namespaces=False)
    known = {
        "RAY_enable_autoscaler_v2": "1", "RAY_CLOUD_INSTANCE_ID": head["InstanceId"], "RAY_NODE_TYPE_NAME": "head",
        "RAY_OVERRIDE_RESOURCES": '{"CPU": 0}',
    }  # fmt: skip
    try:
        up.scarce("spot")
        start_head(machines, up, known)
        machines.head.popen(
            sys.executable, "-c", WANT, machines.address, "8", env=up.environment("head"), stdout=subprocess.DEVNULL
        )
        waited(lambda: up.started("on-demand") == 2, 120, "the start of on-demand machines", lambda: log(machines), 1)
        up.scarce(None)
        waited(lambda: up.started("spot") == 6, 120, "the start of spot machines", lambda: log(machines), 1)
        waited(lambda: up.said("head").count("ray start") >= 8, 120, "the set-up of workers", lambda: log(machines), 1)
        yield up
    finally:
        machines.end()


def start_head(machines: Cluster, aws: Aws, known: dict[str, str]) -> None:
    """What `ray up` tells the head to run, with ports and folders of its own."""
    command = next(line for line in aws.said("laptop").splitlines() if "ray start --head" in line)
    assert "--autoscaling-config=/home/ray/ray_bootstrap_config.yaml" in command
    for name, value in known.items():
        assert re.search(rf"{name}='?{re.escape(value.replace(' ', '').replace(chr(34), chr(39)))}", command), command
    with (aws.folder / "head/start.log").open("w") as file:
        process = machines.head.popen(
            *RAY, "start", "--head", f"--port={machines.port}", f"--dashboard-port={machines.dashboard}",
            "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", "--object-store-memory=100000000",
            f"--temp-dir={machines.head.home / 'ray'}",
            f"--autoscaling-config={aws.folder / 'head/ray_bootstrap_config.yaml'}",
            env=aws.environment("head") | known, stdout=file, stderr=file,
        )  # fmt: skip
        assert process.wait(timeout=150) == 0, (aws.folder / "head/start.log").read_text()


def log(machines: Cluster) -> str:
    """What the autoscaler said last."""
    return "\n".join(path.read_text()[-3000:] for path in machines.head.home.glob("ray/session_*/logs/monitor.log"))


def test_the_head_is_one_small_machine_with_profile_image_and_a_disk_that_goes_with_it(up: Aws) -> None:
    (asked,) = up.asked("RunInstances", by="laptop")
    assert asked["InstanceType"] == "m6i.xlarge"
    assert asked["IamInstanceProfile.Name"] == "flowsearch"
    assert asked["ImageId"].startswith("resolve:ssm:/aws/service/deeplearning/")
    assert asked["BlockDeviceMapping.1.Ebs.DeleteOnTermination"] == "true"
    assert asked["KeyName"] == f"ray-autoscaler_{REGION}"
    assert "InstanceMarketOptions.MarketType" not in asked


def test_nothing_but_ssh_is_open_to_others(up: Aws) -> None:
    (asked,) = up.asked("AuthorizeSecurityGroupIngress")
    open_to = {name: value for name, value in asked.items() if "IpRanges" in name}
    assert list(open_to) == ["IpPermissions.2.IpRanges.1.CidrIp"]
    assert (asked["IpPermissions.2.FromPort"], asked["IpPermissions.2.ToPort"]) == ("22", "22")
    assert asked["IpPermissions.1.Groups.1.GroupId"] == asked["GroupId"]


def test_cpus_gpus_and_memory_are_read_off_the_instance_type(up: Aws) -> None:
    types = json.loads((up.folder / "laptop/ray_bootstrap_config.yaml").read_text())["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    for name in ("gpu_spot", "gpu_on_demand"):
        resources = types[name]["resources"]
        assert (resources["CPU"], resources["GPU"], resources["accelerator_type:A10G"]) == (8, 1, 1)


def test_the_package_and_the_token_travel_and_what_git_ignores_does_not(up: Aws) -> None:
    sent = [line for line in up.said("laptop").splitlines() if line.startswith("rsync")]
    assert any(line.endswith("/home/ray/.ray/auth_token") for line in sent)
    (checkout,) = [line for line in sent if line.endswith("/home/ray/flowsearch/")]
    assert "--filter dir-merge,- .gitignore ./ " in checkout
    assert "pip install --quiet '/home/ray/flowsearch[cluster]'" in up.said("laptop")


def test_spot_machines_come_first_and_on_demand_ones_though_aws_has_no_spot_machine(scaled: Aws) -> None:
    assert scaled.started("spot", refused=True) > 0
    zones = {one["SubnetId"] for one in scaled.asked("RunInstances", by="head") if one["Refused"]}
    assert len(zones) == 3
    assert (scaled.started("spot"), scaled.started("on-demand")) == (6, 2)


def test_workers_have_gpu_profile_image_and_a_disk_that_goes_with_them(scaled: Aws) -> None:
    for asked in scaled.asked("RunInstances", by="head"):
        assert asked["InstanceType"] == "g5.2xlarge"
        assert asked["IamInstanceProfile.Name"] == "flowsearch"
        assert asked["ImageId"].startswith("resolve:ssm:/aws/service/deeplearning/")
        assert asked["BlockDeviceMapping.1.Ebs.DeleteOnTermination"] == "true"


def test_workers_run_the_image_with_cuda_and_join_the_head_with_the_token(scaled: Aws) -> None:
    said = scaled.said("head").splitlines()
    started = [line for line in said if "docker run" in line]
    assert len(started) >= 8
    assert all("RAY_AUTH_MODE=token --runtime=nvidia --net=host rayproject/ray:2.60.0-py311-gpu" in line
               for line in started)  # fmt: skip
    joined = [line for line in said if "ray start" in line]
    assert all(re.search(r"RAY_HEAD_IP=[\d.]+;.*ray start --address=\$RAY_HEAD_IP:6379", line) for line in joined), (
        joined[0]
    )
    assert all("'GPU':1" in line and "'CPU':8" in line for line in joined)


def test_ray_down_leaves_no_machine_and_no_disk_and_the_role_allowed_all_that_the_head_asked(scaled: Aws) -> None:
    assert len(scaled.instances()) == 9
    scaled.ray("down", "-y", "cluster.yaml")
    assert scaled.instances() == []
    assert scaled.client("ec2").describe_volumes()["Volumes"] == []
    statements = json.loads((ROOT / "clusters/aws_role.json").read_text())["Statement"]
    allowed = [one["Action"] if isinstance(one["Action"], list) else [one["Action"]] for one in statements]
    for action in {f"ec2:{one['Action']}" for one in scaled.asked(by="head")}:
        assert any(fnmatch.fnmatch(action, pattern) for each in allowed for pattern in each), action
    assert ["iam:PassRole"] in allowed  # the mock does not ask for it, and EC2 does
