"""What a study's driver costs over the number of trials at once, on pretended nodes.

    python tests/benchmarks/scale.py --trials 8 16 32 64 --per-node 4 --seconds 15 --pause 0.2
    python tests/benchmarks/scale.py --trials 64 --per-node 1 --seconds 60 --pause 5 --most 1500    # 64 nodes

Each trial waits PAUSE seconds an epoch and computes nothing, so what is used is used by the driver, or by Ray to bring
it results. Nodes are Ray's own test nodes: a raylet and two agents each, all on loopback.
"""

import argparse
import contextlib
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
NODE_MEGABYTES, TRIAL_MEGABYTES = 200, 100
"""What a node and a trial's process take of this machine's memory, about."""


def main() -> None:
    """A process of its own for each number of trials, and a line of numbers each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--per-node", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--pause", type=float, default=0.2)
    parser.add_argument("--most", type=float, default=420, help="seconds that one number of trials may take")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        print(json.dumps(measure(given.one, given.per_node, given.seconds, given.pause)))
        return
    print(
        "trials at once  nodes  results/s  offered/s  driver CPU  CPU ms/result  driver MiB  seconds to start",
        flush=True,
    )
    for trials in given.trials:
        nodes = -(-trials // given.per_node)
        needed, free = nodes * NODE_MEGABYTES + trials * TRIAL_MEGABYTES, _free_megabytes()
        if needed > free:
            print(
                f"{trials:14}  {nodes:5}  not carried: about {needed} MiB are needed, {free:.0f} are free", flush=True
            )
            continue
        found = _apart(trials, given)
        if isinstance(found, str):
            print(f"{trials:14}  {nodes:5}  failed: {found}", flush=True)
            continue
        print(
            f"{trials:14}  {nodes:5}  {found['per_second']:9.1f}  {trials / given.pause:9.0f}"
            f"  {100 * found['cpu']:8.0f} %  {1000 * found['cpu'] / max(found['per_second'], 1e-9):13.2f}"
            f"  {found['megabytes']:10.0f}  {found['start']:16.0f}",
            flush=True,
        )


def _free_megabytes() -> float:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) / 1024


def _apart(trials: int, given: argparse.Namespace) -> dict[str, float] | str:
    """Measure in a process of its own, of which nothing is left; in words, what went wrong."""
    with tempfile.TemporaryDirectory(prefix="fs-scale-", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "scale_fakes.py").write_text(FAKE.format(pause=given.pause))
        path = os.pathsep.join([folder, str(STUDIES), os.environ.get("PYTHONPATH", "")])
        known = {"PYTHONPATH": path, "FLOWSEARCH_HOME": folder, "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}
        # A machine with fewer cores than nodes answers slowly.
        known |= {"RAY_health_check_failure_threshold": "60", "RAY_raylet_start_wait_time_s": "120"}
        known |= {"RAY_worker_register_timeout_seconds": "600"}  # or workers that start side by side are given up
        command = [sys.executable, __file__, "--one", str(trials), "--per-node", str(given.per_node)]
        process = subprocess.Popen(
            [*command, "--seconds", str(given.seconds), "--pause", str(given.pause)], env=os.environ | known,
            cwd=folder,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            out, err = process.communicate(timeout=given.most)
        except subprocess.TimeoutExpired:
            return f"it took more than {given.most:g} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode or not out.strip():
        return (err.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
    return dict(json.loads(out.splitlines()[-1]))


def measure(trials: int, per_node: int, seconds: float, pause: float) -> dict[str, float]:
    """Run so many trials at once, and measure for so many seconds once all of them run."""
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
    for first in range(0, trials, per_node):
        cluster.add_node(num_cpus=min(per_node, trials - first), **small)
    cluster.wait_for_nodes(timeout=300)
    epochs = 2000  # longer than is measured: trials that end are not all there at once
    sets = [
        "space={prox: [unet, resnet], folds: {int: [1, 4]}, seed: {int: [0, 99999]}}", "scheduler=none",
        f"fixed={{epochs: {epochs}, lr: 0.001}}",
        f"search={{sampler: random, trials: 5000, window: {4 * trials}}}", "resources={cpu: 1}",
    ]  # fmt: skip
    study = read(Source("small.yaml", TEXT, sets))
    window: dict[str, float] = {}
    results = 0

    def listener(event: object) -> None:
        nonlocal results
        results += event.kind == "epoch"  # type: ignore[attr-defined]
        now = time.monotonic()
        running = len(event.progress.running)  # type: ignore[attr-defined]
        if not window and running >= trials:
            window.update(begin=now, start=now - began, cpu=time.process_time(), results=results)
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
