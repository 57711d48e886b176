"""What a study costs beyond the training of its trials, beside plain Ray Tune: instant trials, and the clock."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ray import tune

from flowsearch.study import run
from flowsearch.study.file import read
from flowsearch.study.local import joined_ray
from flowsearch.study.sections import Study
from flowsearch.study.source import Source
from flowsearch.training.config import TrialConfig

Record = dict[str, Any]

_STUDY = """\
name: overhead
fixed: {prox: unet, epochs: 1}
space: {folds: {int: [1, 8]}, lr: {float: [1.0e-5, 1.0e-2], log: true}}
search: {sampler: random}
"""


def instant_trial(config: TrialConfig, **where: Any) -> Iterator[Record]:
    """A trial of one epoch that takes no time."""
    known = {"epoch": 1, "val_loss": 1.0 / config.folds if config.folds else 1.0, "val_psnr": 25.0 + (config.lr or 0)}
    yield {"phase": "train", "so_far": {"parameters": 1000}, "train_loss": 1.0, "lr": config.lr, **known}
    yield {"phase": "final", "parameters": 1000, "test_psnr": 25.0, **known}


class PlainTrial(tune.Trainable):
    """The same for Ray Tune: two results, the second of which is the last, in a process that is used again."""

    def setup(self, config: dict[str, Any]) -> None:
        """Called by Ray once a process."""
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Called by Ray with each further configuration."""
        self._lr, self._epoch = new_config["lr"], 0
        return True

    def step(self) -> dict[str, Any]:
        """The next result."""
        self._epoch += 1
        return {"val_psnr": 25.0 + self._lr, "done": self._epoch == 2}


def measure(trials: int, cpus: int = 2) -> dict[str, Any]:
    """Seconds a trial of a study and of plain Ray Tune, on the same CPUs in the same run, and the driver's memory.

    Starting Ray is not counted, starting its workers is; the study writes its ledger and tables, Tune writes nothing.
    """
    study = read(Source("overhead.yaml", _STUDY, [f"search.trials={trials}"]))
    with joined_ray(cpus), tempfile.TemporaryDirectory() as folder:
        plain = _timed_tune(trials, cpus, Path(folder))
        before = _resident()
        ours = _timed_study(study, cpus, Path(folder))
        after = _resident()
    return {
        "trials": trials,
        "cpus": cpus,
        "seconds_per_trial": ours / trials,
        "ray_tune_seconds_per_trial": plain / trials,
        "ratio": ours / plain,
        "driver_bytes_before": before,
        "driver_bytes_after": after,
    }


def _timed_tune(trials: int, cpus: int, folder: Path) -> float:
    began = time.perf_counter()
    tune.run(
        PlainTrial,
        config={"folds": tune.randint(1, 9), "lr": tune.loguniform(1e-5, 1e-2)},
        num_samples=trials,
        resources_per_trial={"cpu": 1},
        max_concurrent_trials=cpus,
        reuse_actors=True,
        storage_path=str(folder / "tune"),
        raise_on_failed_trial=False,
        verbose=0,
    )
    return time.perf_counter() - began


def _timed_study(study: Study, cpus: int, folder: Path) -> float:
    began = time.perf_counter()
    run(study, folder / "results", run_trial=f"{__name__}:{instant_trial.__name__}", images=lambda _: "none", cpus=cpus)
    return time.perf_counter() - began


def _resident() -> int:
    """Bytes of memory that this process holds; 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0
