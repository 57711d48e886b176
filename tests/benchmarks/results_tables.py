"""How long the tables of a large study take to read, beside the same from Ray Tune's own result files.

    python tests/benchmarks/results_tables.py [--folder FOLDER] [--trials 1000] [--epochs 100]

Both are written here: the study by flowsearch's writer, the other by Ray's own loggers, trial for trial the same
configurations and epochs. Each time is the best of three, with the disk's pages in memory.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pandas as pd
from made_up import make_study
from rich.console import Console
from rich.table import Table

import flowsearch
from flowsearch.results import schema

TURNS = 3


def measured(read: Callable[[], Any]) -> tuple[float, int]:
    """Seconds of the best of some turns, and the rows that were read."""
    times = []
    for _ in range(TURNS):
        began = time.perf_counter()
        rows = len(read())
        times.append(time.perf_counter() - began)
    return min(times), rows


def write_as_ray_does(folder: Path, trials: pd.DataFrame, epochs: pd.DataFrame) -> None:
    """A Ray Tune experiment with these trials and epochs, by Ray's own classes: a folder for each trial."""
    from ray.train._internal.storage import StorageContext
    from ray.tune import PlacementGroupFactory
    from ray.tune.experiment import Trial
    from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback

    class Written(Trial):
        """A trial whose loggers write where its experiment is kept; Ray has a folder of its session in between."""

        local_path = property(lambda self: str(folder / self.storage.trial_dir_name))

        def init_local_path(self) -> None:
            Path(self.local_path).mkdir(parents=True, exist_ok=True)

    storage = StorageContext(storage_path=str(folder.parent), experiment_dir_name=folder.name)
    loggers = [JsonLoggerCallback(), CSVLoggerCallback()]
    states = []
    names = [column.name for column in schema.CONFIG_COLUMNS]
    of_trial = dict(list(epochs[epochs["phase"] == "train"].groupby("trial_id")))
    for row in trials.to_dict("records"):
        config = {name: row[name] for name in names if not pd.isna(row[name])}
        named = {"config": config, "trial_id": f"{row['trial_id']:>08}", "storage": storage}
        trial = Written("trial", **named, placement_group_factory=PlacementGroupFactory([{"CPU": 1}]), stub=True)
        trial.create_placement_group_factory()
        trial.storage.trial_dir_name = f"trial_{trial.trial_id}"
        trial.init_local_path()
        for logger in loggers:
            logger.log_trial_start(trial)
        clock, result = 0.0, {}
        for number, epoch in enumerate(of_trial[row["trial_id"]].to_dict("records"), 1):
            clock += epoch["seconds"]
            own = {name: epoch[name] for name in ("train_loss", "val_loss", "val_psnr", "lr", "grad_norm", "epoch")}
            result = own | {  # what Ray adds to each report
                "timestamp": 1767258000 + int(clock),
                "checkpoint_dir_name": None,
                "done": number == len(of_trial[row["trial_id"]]),
                "training_iteration": number,
                "trial_id": trial.trial_id,
                "date": "2026-01-01_09-00-00",
                "time_this_iter_s": epoch["seconds"],
                "time_total_s": clock,
                "pid": 4711,
                "hostname": "node-1",
                "node_ip": "127.0.0.1",
                "config": config,
                "time_since_restore": clock,
                "iterations_since_restore": number,
                "experiment_tag": f"{row['index']}",
            }
            for logger in loggers:
                logger.log_trial_result(number, trial, result)
        for logger in loggers:
            logger.log_trial_end(trial)
        trial.run_metadata.last_result = result
        states.append(trial.get_json_state())
    state = {"trial_data": states, "runner_data": {}, "stats": {"start_time": 0.0}}
    (folder / "experiment_state-2026-01-01_09-00-00.json").write_text(json.dumps(state))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=100)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flowsearch-") as scratch:
        run(asked.folder or Path(scratch), asked.trials, asked.epochs)


def run(folder: Path, trials: int, epochs: int) -> None:
    size = {"trials": trials, "epochs": epochs, "folds": (5, 5), "images": 200, "ood": 0, "panels": 1}
    finished = make_study(folder / "finished", statuses=("completed",), compacted=True, **size)
    killed = make_study(folder / "killed", statuses=("completed",), **size)
    lines: list[tuple[str, str, float, int, int]] = []
    for study, what in ((finished, "finished"), (killed, "its driver killed")):
        for table in schema.TABLES:
            seconds, rows = measured(lambda: getattr(flowsearch.load(study), table))  # noqa: B023
            lines.append((f"flowsearch, {what}", table, seconds, rows, len(list((study / table).iterdir()))))
    results = flowsearch.load(finished)
    ray = folder / "ray"
    write_as_ray_does(ray, results.trials, results.epochs)
    files = sum(path.is_file() for path in ray.rglob("*"))
    lines += [(f"Ray Tune, {name}", table, *measured(read), files) for name, table, read in ray_readers(ray)]
    shown = Table(title=f"{trials} trials, {epochs} epochs, 5 folds, 200 images; best of {TURNS}")
    for head in ("from", "table", "seconds", "rows", "files"):
        shown.add_column(head, justify="left" if head in ("from", "table") else "right")
    for source, table, seconds, rows, count in lines:
        shown.add_row(source, table, f"{seconds:.3f}", f"{rows:,}", f"{count:,}")
    Console(width=100).print(shown)


def ray_readers(folder: Path) -> list[tuple[str, str, Callable[[], pd.DataFrame]]]:
    """How the trials and the epochs are had from Ray's files: by Ray's analysis, and by pandas from the CSV files."""
    from ray.tune import ExperimentAnalysis

    def trials() -> pd.DataFrame:
        return ExperimentAnalysis(str(folder)).dataframe()

    def epochs() -> pd.DataFrame:
        return pd.concat(ExperimentAnalysis(str(folder)).trial_dataframes)

    def csv() -> pd.DataFrame:
        return pd.concat(pd.read_csv(path) for path in folder.glob("*/progress.csv"))

    return [("ExperimentAnalysis", "trials", trials), ("ExperimentAnalysis", "epochs", epochs), ("CSV", "epochs", csv)]


if __name__ == "__main__":
    main()
