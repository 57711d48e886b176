"""What a study's driver costs over the number of trials at once, on pretended nodes of one CPU each.

    python tests/benchmarks/scale.py --nodes 4 16 32 --seconds 15 --pause 0.2

Each trial waits PAUSE seconds an epoch and computes nothing, so what is used is used by the driver, or by Ray to bring
it results. Nodes are Ray's own test nodes: a raylet and two agents each, all on loopback.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STUDIES = Path(__file__).parents[1] / "study"
FAKE = """
import time
import study_fakes

def run_trial(config, **where):
    for epoch in range(1, config.epochs + 1):
        time.sleep({pause})
        yield study_fakes.train_record(config, epoch)
    yield study_fakes.final_record(config)
"""
MEGABYTE = 2**20
NODE_MEGABYTES = 400
"""What a node and its trial's process take of this machine's memory, about."""


def main() -> None:
    """A process of its own for each number of nodes, and a line of numbers each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[4, 16, 32, 64])
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--pause", type=float, default=0.2)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        print(json.dumps(measure(given.one, given.seconds, given.pause)))
        return
    print("nodes  trials at once  results/s  offered/s  driver CPU  CPU ms/result  driver MiB  seconds to start")
    for nodes in given.nodes:
        room = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / MEGABYTE
        if nodes * NODE_MEGABYTES > room:
            print(f"{nodes:5}  not carried: about {nodes * NODE_MEGABYTES} MiB are needed, {room:.0f} are free")
            continue
        with tempfile.TemporaryDirectory(prefix="fs-scale-") as folder:
            (Path(folder) / "scale_fakes.py").write_text(FAKE.format(pause=given.pause))
            path = os.pathsep.join([folder, str(STUDIES), os.environ.get("PYTHONPATH", "")])
            known = {"PYTHONPATH": path, "FLOWSEARCH_HOME": folder, "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}
            command = [sys.executable, __file__, "--one", str(nodes), "--seconds", str(given.seconds)]
            done = subprocess.run(
                [*command, "--pause", str(given.pause)],
                env=os.environ | known,
                cwd=folder,
                capture_output=True,
                text=True,
            )
        if done.returncode:
            print(
                f"{nodes:5}  failed: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}"
            )
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{nodes:5}  {found['at_once']:14}  {found['per_second']:9.1f}  {found['at_once'] / given.pause:9.0f}"
            f"  {100 * found['cpu']:8.0f} %  {1000 * found['cpu'] / max(found['per_second'], 1e-9):13.2f}"
            f"  {found['megabytes']:10.0f}  {found['start']:16.0f}",
            flush=True,
        )


def measure(nodes: int, seconds: float, pause: float) -> dict[str, float]:
    """Run trials on so many nodes, and measure for so many seconds once all nodes have one."""
    from flowsearch.study.local import ENVIRONMENT

    os.environ.update(ENVIRONMENT)
    import ray
    from ray.cluster_utils import Cluster
    from small_study import TEXT

    from flowsearch.study import run
    from flowsearch.study.file import read
    from flowsearch.study.source import Source

    small = {"object_store_memory": 80 * MEGABYTE, "include_dashboard": False}
    began = time.monotonic()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    for _ in range(nodes):
        cluster.add_node(num_cpus=1, wait=False, **small)
    cluster.wait_for_nodes(timeout=300)
    epochs = 20
    sets = [
        "space={prox: [unet, resnet], folds: {int: [1, 4]}}", "scheduler=none",
        f"fixed={{epochs: {epochs}, lr: 0.001}}",
        f"search={{sampler: random, trials: 5000, window: {4 * nodes}}}", "resources={cpu: 1}",
    ]  # fmt: skip
    study = read(Source("small.yaml", TEXT, sets))
    window: dict[str, float] = {}
    results = 0

    def listener(event: object) -> None:
        nonlocal results
        results += event.kind == "epoch"  # type: ignore[attr-defined]
        now = time.monotonic()
        running = len(event.progress.running)  # type: ignore[attr-defined]
        if not window and running >= nodes:
            window.update(begin=now, start=now - began, cpu=time.process_time(), results=results, at_once=running)
        elif window and "per_second" not in window and now - window["begin"] >= seconds:
            took = now - window["begin"]
            window.update(per_second=(results - window["results"]) / took)
            window.update(cpu=(time.process_time() - window["cpu"]) / took, megabytes=resident() / MEGABYTE)
            os.kill(os.getpid(), signal.SIGINT)

    run(study, Path(os.environ["FLOWSEARCH_HOME"]), listener, run_trial="scale_fakes:run_trial",
        images=lambda config: "images", address=cluster.address)  # fmt: skip
    ray.shutdown()
    cluster.shutdown()
    return window


def resident() -> int:
    """Bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
