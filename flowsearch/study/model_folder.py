"""A trial's network as a folder of its own, to be passed on."""

import json
from pathlib import Path

from flowsearch.results import schema
from flowsearch.results.export import plain
from flowsearch.results.forms import written
from flowsearch.results.reader import Results
from flowsearch.study.place import Place
from flowsearch.training.config import TRAINED
from flowsearch.training.header import BEST, about


def best_networks(results: Results) -> str:
    """The best trial of each task among those that train a network, as `0002 (denoise-0.1, 20.93 dB)`.

    Raises ValueError where there is none: tv, say, leaves no network.
    """
    metric, said = results.objective[0], []
    for task in results.tasks:
        ranked = results.ranked(task=task)
        ranked = ranked[ranked["method"].isin(TRAINED)]
        if len(ranked):
            one = ranked.iloc[0]
            said.append(f"{one['trial_id']} ({task}, {written(metric, one[metric], unit=True)})")
    if not said:
        within = f" and keeps to {' and '.join(limit.text for limit in results.limits)}" if results.limits else ""
        raise ValueError(f"{results.where} has no best network: no completed trial trains one{within}")
    return ", ".join(said)


def export_model(results: Results, out: Path, trial_id: str | None = None) -> str:
    """Write the best trial's network (or that of `trial_id`) into the folder `out`; return the trial's id.

    The folder holds the safetensors file with its configuration in its header, the configuration again as
    `config.json` for people, and `provenance.json`: the study's, with the trial and its numbers. `evaluate` and
    `reconstruct` take the folder as they take a trial's own. Raises ValueError where `out` holds anything, the trial
    has left no network, or a study of several tasks is asked for its best.
    """
    if trial_id is None:
        if len(results.tasks) > 1:
            raise ValueError(
                f"{results.where} has a best network for each task; name one by --trial: {best_networks(results)}"
            )
        row = results.best().to_dict()
    else:
        rows = results.trials[results.trials["trial_id"] == trial_id.zfill(4)]
        if rows.empty:
            raise ValueError(f"{results.where} has no trial {trial_id}; its trials are 0000 and on")
        row = rows.iloc[0].to_dict()
    trial = str(row["trial_id"])
    if row.get("method") not in TRAINED:
        raise ValueError(
            f"{results.where}: trial {trial} is of method {row.get('method')}, which trains no network from "
            f"measurements to images; the best that do, for --trial: {best_networks(results)}"
        )
    place, name = Place(results.where), f"{schema.CHECKPOINTS}/{trial}"
    mirror = place.mirror(name)
    try:
        network = place.store.get(f"{name}/{BEST}") if mirror is None else mirror.read(BEST)
    except FileNotFoundError:
        raise ValueError(
            f"{results.where}: trial {trial} ({row.get('method')}) has left no {BEST}; name another by --trial"
        ) from None
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists and is not empty; name a new folder")
    out.mkdir(parents=True, exist_ok=True)
    (out / BEST).write_bytes(network)
    numbers = {one.name: plain(row.get(one.name)) for one in schema.METRIC_COLUMNS}
    told = {
        "study": results.name,
        "trial": trial,
        "metrics": {name: value for name, value in numbers.items() if value is not None},
    }
    (out / "config.json").write_text(json.dumps(about(out / BEST)["config"], indent=2) + "\n", encoding="utf-8")
    known = json.dumps(results.provenance | told, indent=2)
    (out / schema.PROVENANCE_FILE).write_text(known + "\n", encoding="utf-8")
    return trial
