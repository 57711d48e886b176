"""`flowsearch cluster check`: nothing about the files that are shipped; the line and the mend of mistakes."""

import re
import shutil
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from flowsearch.cli import app
from flowsearch.cluster.check import check
from flowsearch.cluster.node_types import IMAGE

ROOT = Path(__file__).parents[2]
AWS, GCP, MACHINES, KUBERAY = (
    ROOT / name for name in ("cluster.yaml", "clusters/gcp.yaml", "clusters/machines.yaml", "clusters/kuberay.yaml")
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home with a token and a key, and the checkout as the folder in which commands are run."""
    for name in (".ray/auth_token", ".ssh/id_ed25519"):
        path = tmp_path / "home" / name
        path.parent.mkdir(parents=True)
        path.write_text("secret")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(ROOT)


def test_no_shipped_file_is_left_out() -> None:
    assert {AWS, *sorted((ROOT / "clusters").glob("*.yaml"))} == {AWS, GCP, MACHINES, KUBERAY}


@pytest.mark.parametrize("path", [AWS, GCP, MACHINES, KUBERAY], ids=lambda path: path.name)
def test_a_shipped_file_is_clean(path: Path) -> None:
    assert check(path) == []


@pytest.mark.parametrize("path", [AWS, GCP, MACHINES], ids=lambda path: path.name)
def test_ray_itself_accepts_it(path: Path) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(yaml.safe_load(path.read_text())))


def test_rays_autoscaler_reads_the_raycluster() -> None:
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    cluster = yaml.safe_load(KUBERAY.read_text())
    cluster["metadata"]["namespace"] = "default"  # as Kubernetes adds it
    read = _derive_autoscaling_config_from_ray_cr(cluster)
    types = read["available_node_types"]
    assert {name: (node["resources"]["CPU"], node["resources"].get("GPU", 0)) for name, node in types.items()} == {
        "headgroup": (0, 0), "gpu-spot": (8, 1), "gpu-on-demand": (8, 1)
    }  # fmt: skip
    assert types["gpu-spot"]["priority"] > types["gpu-on-demand"].get("priority", 0)
    assert read["idle_timeout_minutes"] == 5


PLANTED = [
    ("a name of the provider", AWS,
     "  region: *region", "  regoin: *region",
     "provider.regoin", "did you mean region?"),
    ("a name of a node", AWS,
     "      InstanceMarketOptions:", "      InstanceMarketOption:",
     "gpu_spot.node_config.Ins", "did you mean InstanceMarketOptions?"),
    ("a name deep in a node", AWS,
     "VolumeType: gp3", "VolumType: gp3",
     "Ebs.VolumType", "did you mean VolumeType?"),
    ("a name of the file", AWS,
     "idle_timeout_minutes: 5", "idle_timout_minutes: 5",
     "idle_timout_minutes", "did you mean idle_timeout_minutes?"),
    ("a missing mount", AWS,
     "/home/ray/flowsearch: .", "/home/ray/flowsearch: ./no-such",
     "file_mounts./home/ray/flo", "name what is to be copied"),
    ("a part of the package left out", AWS,
     'rsync_exclude: ["**/.git"]', 'rsync_exclude: ["**/.git", "**/results"]',
     "rsync_exclude.1", "write /results for the one at the top"),
    ("an open dashboard", AWS,
     "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0",
     "head_start_ray_commands.1", "start the head with --dashboard-host=127.0.0.1"),
    ("no token", AWS,
     "    - --env RAY_AUTH_MODE=token\n", "",
     "head_start_ray_commands.1", "add --env RAY_AUTH_MODE=token to docker.run_options"),
    ("a token that stays at home", AWS,
     "  /home/ray/.ray/auth_token: ~/.ray/auth_token\n", "",
     "file_mounts", "mount it: ~/.ray/auth_token: ~/.ray/auth_token"),
    ("another Ray", AWS,
     "ray:2.60.0-py311-gpu", "ray:2.54.0-py311-gpu",
     "docker.image", f"take rayproject/ray:{version('ray')}"),
    ("an image that is not published", AWS,
     "ray:2.60.0-py311-gpu", "ray-ml:2.60.0-py311-gpu",
     "docker.image", f"take rayproject/ray:{version('ray')}"),
    ("an old Python", AWS,
     "ray:2.60.0-py311-gpu", "ray:2.60.0-py310-gpu",
     "docker.image", "py311-gpu"),
    ("a profile as text", AWS,
     "&profile { Name: flowsearch }", "&profile flowsearch",
     "gpu_spot.node_config.IamInstanceProfile", "AWS takes a mapping of Arn, Name"),
    ("a market by another name", AWS,
     "MarketType: spot", "MarketType: Spot",
     "gpu_spot.node_config.InstanceMarketOptions.MarketType", "did you mean spot?"),
    ("a key without its pair", AWS,
     "  ssh_user: ubuntu", "  ssh_private_key: ~/.ssh/id_ed25519\n  ssh_user: ubuntu",
     "available_node_types.head.node_config", "write the key pair's name in EC2"),
    ("another user", AWS,
     "ssh_user: ubuntu", "ssh_user: ec2-user",
     "auth.ssh_user", "write ubuntu"),
    ("a disk of another system", AWS,
     "/dev/sda1", "/dev/xvda",
     "BlockDeviceMappings.0.DeviceName", "write /dev/sda1"),
    ("an ARM machine", AWS,
     "head: &head m6i.xlarge", "head: &head m7g.xlarge",
     "head.node_config.InstanceType", "take machines with x86"),
    ("a zone elsewhere", AWS,
     "  region: *region\n", "  region: *region\n  availability_zone: us-west-2a\n",
     "provider.availability_zone", "name zones of eu-west-1"),
    ("no region", AWS,
     "  region: *region\n", "",
     "provider", "write region"),
    ("no number of machines", AWS,
     "max_workers: *most\n", "",
     "max_workers", "write max_workers: 8"),
    ("another port", AWS,
     "--address=$RAY_HEAD_IP:6379", "--address=$RAY_HEAD_IP:6380",
     "worker_start_ray_commands.1", "write --address=$RAY_HEAD_IP:6379"),
    ("a head that is not found", AWS,
     "--address=$RAY_HEAD_IP:6379", "--address=auto",
     "worker_start_ray_commands.1", "write --address=$RAY_HEAD_IP:6379"),
    ("a token in another's home", AWS,
     "/home/ray/.ray/auth_token:", "/root/.ray/auth_token:",
     "file_mounts./root/.ray/auth_token", "mount it at /home/ray/.ray/auth_token"),
    ("images that have ended", GCP,
     "family/common-cu129-ubuntu-2404-nvidia-580", "family/common-cu123",
     "disks.0.initializeParams.sourceImage", "take common-cu129-ubuntu-2404-nvidia-580"),
    ("a head among workers", MACHINES,
     "worker_ips: [", "worker_ips: [192.168.1.10, ",
     "provider.worker_ips", "leave it out"),
    ("a number for Ray", KUBERAY,
     'num-cpus: "0"', "num-cpus: 0",
     "rayStartParams.num-cpus", 'write "0"'),
    ("a truth value for Kubernetes", KUBERAY,
     'gke-spot: "true"', "gke-spot: true",
     "nodeSelector.cloud.google.com/gke-spot", 'write "true"'),
    ("a number in a pod's environment", KUBERAY,
     "            image:", "            env: [{ name: OMP_NUM_THREADS, value: 1 }]\n            image:",
     "containers.0.env.0.value", 'write "1"'),
    ("a name that the operator refuses", KUBERAY,
     "  name: flowsearch\n", "  name: my_flowsearch\n",
     "metadata.name", "small letters, digits and hyphens"),
    ("a token without Ray's version", KUBERAY,
     '  rayVersion: "2.60.0"\n', "",
     "spec.authOptions", "write rayVersion"),
    ("an order for the older autoscaler", KUBERAY,
     "    version: v2\n", "",
     "workerGroupSpecs.0.priority", "write version: v2"),
    ("pods that restart", KUBERAY,
     "          restartPolicy: Never\n          term", "          restartPolicy: Always\n          term",
     "workerGroupSpecs.0.template.spec.restartPolicy", "write Never"),
    ("resources said twice", KUBERAY,
     "    rayStartParams:\n", '    resources: { CPU: "0" }\n    rayStartParams:\n',
     "headGroupSpec.resources", "keep one of them"),
    ("labels for Ray's start", KUBERAY,
     'num-cpus: "0"', 'num-cpus: "0"\n      labels: a=b',
     "rayStartParams.labels", "beside rayStartParams"),
    ("more pods at least than at most", KUBERAY,
     "minReplicas: 0\n      maxReplicas: 8", "minReplicas: 9\n      maxReplicas: 8",
     "workerGroupSpecs.0.maxReplicas", "no less than that"),
    ("no CUDA", AWS,
     "ray:2.60.0-py311-gpu", "ray:2.60.0-py311-cpu",
     "docker.image", "take the tag that ends in -gpu"),
    ("no GPU", AWS,
     "worker: &worker g5.2xlarge", "worker: &worker m6i.2xlarge",
     "available_node_types", "take an instance type with one"),
    ("an old driver", AWS,
     "      InstanceType: *worker\n      ImageId: *image\n", "      InstanceType: *worker\n",
     "gpu_spot.node_config", "write ImageId: resolve:ssm:/aws/service/deeplearning/"),
    ("an old driver by Ray's name for it", AWS,
     f"image: &image {IMAGE}",
     "image: &image latest_dlami",
     "gpu_spot.node_config", "write ImageId: resolve:ssm:/aws/service/deeplearning/"),
    ("a worker that never starts", AWS,
     "spot: &spot 6", "spot: &spot 8",
     "available_node_types.gpu_on_demand", "write a max_workers below 8 in gpu_spot"),
    ("disks kept", AWS,
     "  cache_stopped_nodes: false", "  cache_stopped_nodes: true",
     "provider.cache_stopped_nodes", "write cache_stopped_nodes: false"),
    ("a disk kept", AWS,
     "DeleteOnTermination: true", "DeleteOnTermination: false",
     "Ebs.DeleteOnTermination", "write DeleteOnTermination: true"),
    ("a head with trials", AWS,
     "resources: { CPU: 0 }", "resources: {}",
     "available_node_types.head.resources", "write resources: {CPU: 0}"),
    ("machines for ever", AWS,
     "    min_workers: 0", "    min_workers: 1",
     "gpu_spot.min_workers", "write min_workers: 0"),
    ("idle for hours", AWS,
     "idle_timeout_minutes: 5", "idle_timeout_minutes: 240",
     "idle_timeout_minutes", "write idle_timeout_minutes: 5"),
    ("nothing installed", AWS,
     "  - pip install --quiet '/home/ray/flowsearch[cluster]'", "  - 'true'",
     "setup_commands", "mount this checkout"),
    ("another flowsearch", AWS,
     "'/home/ray/flowsearch[cluster]'", "flowsearch==0.0.1",
     "setup_commands.0", "ask for 0.1.0"),
    ("no autoscaling", AWS,
     " --autoscaling-config=~/ray_bootstrap_config.yaml", "",
     "head_start_ray_commands.1", "add --autoscaling-config"),
    ("a type that is none", AWS,
     "head_node_type: head", "head_node_type: heed",
     "head_node_type", "mend it as Ray says"),
    ("a name twice", AWS,
     "max_workers: *most", "max_workers: 2\nmax_workers: *most",
     "max_workers", "remove one of the two"),
    ("a disk of GCP", GCP,
     "autoDelete: true", "autoDelete: false",
     "disks.0.autoDelete", "write autoDelete: true"),
    ("a name of GCP", GCP,
     "      machineType: *worker", "      machinetype: *worker",
     "node_config.machinetype", "did you mean machineType?"),
    ("no token of machines", MACHINES,
     "RAY_AUTH_MODE=token ray start --address", "ray start --address",
     "worker_start_ray_commands.1", "put RAY_AUTH_MODE=token before `ray start` in worker_start_ray_commands"),
    ("a head of machines", MACHINES,
     "--num-cpus=0 ", "",
     "head_start_ray_commands.1", "add --num-cpus=0"),
    ("a machine left out", MACHINES,
     "RAY_enable_autoscaler_v2=0 ", "",
     "head_start_ray_commands.1", "put RAY_enable_autoscaler_v2=0 before `ray start`"),
    ("a name of machines", MACHINES,
     "worker_ips:", "workers_ips:",
     "provider", "mend it as Ray says"),
    ("a name of KubeRay", KUBERAY,
     "  enableInTreeAutoscaling:", "  enableInTreeAutoscalin:",
     "spec.enableInTreeAutoscalin", "did you mean enableInTreeAutoscaling?"),
    ("no token of KubeRay", KUBERAY,
     "mode: token", "mode: disabled",
     "spec.authOptions", "write authOptions: {mode: token}"),
    ("an open dashboard of KubeRay", KUBERAY,
     "dashboard-host: 127.0.0.1", "dashboard-host: 0.0.0.0",
     "rayStartParams.dashboard-host", "write dashboard-host: 127.0.0.1"),
    ("another Ray of KubeRay", KUBERAY,
     'rayVersion: "2.60.0"', 'rayVersion: "2.54.0"',
     "spec.rayVersion", 'write "2.60.0"'),
    ("a head of KubeRay", KUBERAY,
     'num-cpus: "0"', 'num-cpus: "4"',
     "rayStartParams.num-cpus", 'write num-cpus: "0"'),
    ("pods for ever", KUBERAY,
     "minReplicas: 0", "minReplicas: 1",
     "workerGroupSpecs.0.minReplicas", "write minReplicas: 0"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "right", "wrong", "where", "mend"), [one[1:] for one in PLANTED], ids=[one[0] for one in PLANTED]
)
def test_a_planted_mistake_is_found(path: Path, right: str, wrong: str, where: str, mend: str, tmp_path: Path) -> None:
    text = path.read_text()
    assert right in text
    planted = tmp_path / "planted.yaml"
    planted.write_text(text.replace(right, wrong, 1))
    found = [one for one in check(planted) if where in one.where and mend in one.mend]
    assert found, "\n".join(map(str, check(planted)))
    line = text[: text.index(right)].count("\n") + 1
    if wrong.strip():
        at = planted.read_text().splitlines()[found[0].line - 1]
        named = found[0].where.rpartition(".")[2]
        assert named in at or abs(found[0].line - line) <= 1, f"line {found[0].line} is {at!r}"


@pytest.mark.skipif(shutil.which("rsync") is None, reason="there is no rsync")
@pytest.mark.parametrize("path", [AWS, GCP, MACHINES], ids=lambda path: path.name)
def test_the_whole_package_travels_and_results_environments_and_history_do_not(path: Path, tmp_path: Path) -> None:
    from ray.autoscaler._private.command_runner import SSHCommandRunner

    checkout, machine = tmp_path / "checkout", tmp_path / "machine"
    shutil.copytree(ROOT / "flowsearch", checkout / "flowsearch", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".gitignore", checkout)
    package = {one.relative_to(checkout) for one in checkout.rglob("*") if one.is_file()}
    for name in (".git/config", ".venv/pyvenv.cfg", "results/ablation/study.yaml", "flowsearch/__pycache__/a.pyc"):
        (checkout / name).parent.mkdir(parents=True)
        (checkout / name).touch()
    patterns = SSHCommandRunner._create_rsync_filter_args(None, yaml.safe_load(path.read_text()))
    subprocess.run(["rsync", "-az", *patterns, f"{checkout}/", f"{machine}/"], check=True)
    assert {one.relative_to(machine) for one in machine.rglob("*") if one.is_file()} == package


TEN = [
    "a name of the provider", "a name of a node", "a name of the file", "a missing mount", "an open dashboard",
    "no token", "another Ray", "no GPU", "disks kept", "a head with trials",
]  # fmt: skip


def test_ten_mistakes_in_one_file_are_ten_findings(tmp_path: Path) -> None:
    text = AWS.read_text()
    planted = [one for one in PLANTED if one[0] in TEN]
    for _, _, right, wrong, _, _ in planted:
        assert right in text
        text = text.replace(right, wrong, 1)
    path = tmp_path / "planted.yaml"
    path.write_text(text)
    found = check(path)
    meant = [next(one for one in found if where in one.where and mend in one.mend) for *_, where, mend in planted]
    assert len(set(meant)) == len(TEN)


def test_findings_give_exit_code_1_with_line_and_mend(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(AWS.read_text().replace("  cache_stopped_nodes: false", "  cache_stopped_nodes: true"))
    result = CliRunner().invoke(app, ["cluster", "check", str(path)])
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0].startswith(f"{path}, line 32: provider.cache_stopped_nodes: idle machines")


def test_a_clean_file_gives_exit_code_0() -> None:
    result = CliRunner().invoke(app, ["cluster", "check", str(AWS), str(KUBERAY)])
    assert (result.exit_code, result.stdout.splitlines()) == (0, [f"{AWS}: nothing found", f"{KUBERAY}: nothing found"])


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a: [", "line 1: not valid YAML"),
        ("- a list", "a cluster file is a mapping"),
        ("name: a study", "is no cluster file"),
        ("{apiVersion: v1, kind: Pod}", "is no RayCluster"),
    ],
    ids=["not YAML", "a list", "a study", "a pod"],
)
def test_what_is_no_cluster_file_gives_exit_code_2(text: str, rule: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    result = CliRunner().invoke(app, ["cluster", "check", str(path)])
    assert result.exit_code == 2
    assert rule in result.output


def test_what_ray_itself_makes_right_for_aws_is_no_finding(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    ray_s = "LaunchTemplate: { LaunchTemplateId: lt-1, Version: 2 }\n      SubnetIds: [subnet-1, subnet-2]\n"
    path.write_text(AWS.read_text().replace("      ImageId: *image\n", f"      {ray_s}"))
    assert check(path) == []


def test_a_head_that_restarts_is_no_finding_where_the_newer_autoscaler_is_switched_off(tmp_path: Path) -> None:
    text = re.sub(r" +(version: v2|priority: .*)\n", "", KUBERAY.read_text())
    text = text.replace("restartPolicy: Never", "restartPolicy: Always", 1)
    env = '            env: [{ name: RAY_enable_autoscaler_v2, value: "0" }]\n            image:'
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("            image:", env, 1))
    assert check(path) == []


def test_a_raycluster_is_found_behind_others_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    account = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: flowsearch}}\n---\n"
    path.write_text(account + KUBERAY.read_text().replace("minReplicas: 0", "minReplicas: 1", 1))
    (found,) = check(path)
    assert "minReplicas: 1" in path.read_text().splitlines()[found.line - 1]


def test_a_missing_file_gives_exit_code_2(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["cluster", "check", str(tmp_path / "none.yaml")]).exit_code == 2


def test_a_missing_token_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home/.ray/auth_token").unlink()
    (found,) = check(AWS)
    assert found.mend == "run `ray get-auth-token --generate`"


def test_the_image_has_our_ray_and_our_ray_is_what_the_package_asks_for() -> None:
    cluster = yaml.safe_load(AWS.read_text())
    assert cluster["docker"]["image"] == f"rayproject/ray:{version('ray')}-py311-gpu"
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    major, minor, _ = version("ray").split(".")
    assert any(line.startswith(f"ray[tune]>={major}.{minor}") for line in wanted)


def test_the_image_for_kubernetes_gets_what_the_package_is_built_of_and_nothing_else() -> None:
    lines = (ROOT / "clusters/Dockerfile").read_text().splitlines()
    copied = [word for line in lines if line.startswith("COPY") for word in line.split()[2:-1]]
    made_of = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, packages = made_of["project"], made_of["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(copied) == sorted(["pyproject.toml", project["readme"], *project["license-files"], *packages])


@pytest.mark.parametrize("path", [AWS, GCP], ids=lambda path: path.name)
def test_spot_machines_come_from_nothing_and_before_others(path: Path) -> None:
    types = yaml.safe_load(path.read_text())["available_node_types"]
    spot, other = types["gpu_spot"], types["gpu_on_demand"]
    assert spot["min_workers"] == other["min_workers"] == 0
    assert spot["priority"] > other.get("priority", 0)
    assert "spot" in str(spot["node_config"]).lower()
    assert "spot" not in str(other["node_config"]).lower()
