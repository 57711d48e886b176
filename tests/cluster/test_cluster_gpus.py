"""Pretended GPUs on several nodes: a mixed study packs by `gpu: auto`, and no GPU is given more than its memory."""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from nodes import environment

from flowsearch.study import ledger as events
from flowsearch.study.ledger import Event, Ledger
from flowsearch.study.local import ENVIRONMENT
from flowsearch.study.packing import CONTEXT_BYTES, HEADROOM

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(600)]

GPU_BYTES = 10 * 10**9
NEEDS = {1: 0.6 * 10**9, 2: 2 * 10**9, 3: 5 * 10**9, 4: 40 * 10**9}
"""By the folds of a trial, the bytes that it is pretended to take."""

RUN = """
import json, sys
from pathlib import Path
from small_study import TEXT
import ray
from ray.cluster_utils import Cluster
from flowsearch.study import packing, run
from flowsearch.study.file import read
from flowsearch.study.source import Source
here, needs, gpu_bytes = Path(sys.argv[1]), {int(k): v for k, v in json.loads(sys.argv[2]).items()}, int(sys.argv[3])
packing.look = lambda resources, stopped: packing.Gpu("Pretended", gpu_bytes)
packing.Packing.need = lambda self, config, prior=False: needs[config["folds"]]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "num_gpus": 0, "object_store_memory": 10**8})
for _ in range(3):
    cluster.add_node(num_cpus=4, num_gpus=1, object_store_memory=10**8)
sets = ["space={folds: [1, 2, 3, 4], prox: [unet, resnet], seed: {int: [0, 99]}}",
        "fixed={epochs: 2, lr: 0.001}", "scheduler=none", "search={sampler: random, trials: 24, window: 30}",
        "resources={gpu: auto, cpu: 1}"]
study = read(Source("small.yaml", TEXT, sets))
ending = run(study, here, run_trial="gpu_fakes:run_trial", images=lambda config: "images", address=cluster.address)
print(json.dumps(dict(ending.progress.counts)))
ray.shutdown()
cluster.shutdown()
"""

FAKE = """
import json
import ray
import study_fakes

def run_trial(config, *, checkpoint_dir, **where):
    place = [ray.get_runtime_context().get_node_id(), *map(str, ray.get_gpu_ids())]
    (checkpoint_dir / "place.json").write_text(json.dumps(place))
    yield from study_fakes.run_trial(config, checkpoint_dir=checkpoint_dir, pause=0.5)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a mixed study on three nodes with a pretended GPU each."""
    folder = tmp_path_factory.mktemp("gpus")
    (folder / "gpu_fakes.py").write_text(FAKE)
    env = environment(RAY_AUTH_MODE="disabled", FLOWSEARCH_HOME=str(folder)) | ENVIRONMENT
    env["PYTHONPATH"] += f":{folder}"
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder), json.dumps(NEEDS), str(GPU_BYTES)],
        env=env, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"completed": 24}
    return folder / "small"


def held(root: Path) -> dict[str, list[tuple[float, float, float, int]]]:
    """By GPU, which trials it held: from when, until when (by the ledger), which share, how many folds."""
    found: dict[str, list[tuple[float, float, float, int]]] = defaultdict(list)
    began: dict[str, Event] = {}
    folds: dict[str, int] = {}
    for event in Ledger(root / "ledger").events:
        if event.subject == events.STUDY:
            continue
        if event.event == events.PLANNED:
            folds[event.subject] = event.content["values"]["folds"]
        if event.event == events.STARTED:
            began[event.subject] = event
        if event.event == events.ENDED:
            start = began[event.subject]
            place = json.loads((root / "checkpoints" / event.subject / "place.json").read_text())
            interval = (start.at.ticks, event.at.ticks, start.content["gpu"], folds[event.subject])
            found["/".join(place)].append(interval)
    return found


def test_no_gpu_is_ever_given_more_than_it_has(root: Path) -> None:
    by_gpu = held(root)
    assert len(by_gpu) == 3
    for trials in by_gpu.values():
        for moment, *_ in trials:
            there = [one for one in trials if one[0] <= moment < one[1]]
            assert sum(share for *_, share, _ in there) <= 1 + 1e-9
            memory = sum(min(GPU_BYTES, HEADROOM * NEEDS[folds] + CONTEXT_BYTES) for *_, folds in there)
            assert memory <= GPU_BYTES + 1


def test_small_trials_share_a_gpu_and_large_ones_have_it_alone(root: Path) -> None:
    together, with_large = 0, set()
    for trials in held(root).values():
        for moment, *_ in trials:
            there = [one for one in trials if one[0] <= moment < one[1]]
            together = max(together, len(there))
            if any(folds == 4 for *_, folds in there):
                with_large.add(len(there))
    assert together >= 2
    assert with_large == {1}
