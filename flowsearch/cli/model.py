"""Which model a command is told to use."""

import json
import shlex
from pathlib import Path

from flowsearch.storage import on_disk


def find_model(model: str) -> Path:
    """The checkpoint file of MODEL: a file, a trial's folder, or a study's results, whose best trial is taken.

    Raises ValueError where there is none or it is in an object store, FileNotFoundError where the path is not there.
    """
    from flowsearch.results import schema
    from flowsearch.training.config import TRAINED
    from flowsearch.training.header import BEST

    path = on_disk(model, f"write it into a folder first:  {_export(model)}")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if path.is_file():
        return path
    if (path / BEST).is_file():
        return path / BEST
    if (path / schema.STUDY_FILE).is_file():
        import flowsearch
        from flowsearch.study.model_folder import best_networks

        results = flowsearch.load(path)
        checkpoints = path / schema.CHECKPOINTS
        if len(results.tasks) > 1:
            raise ValueError(
                f"{path} has a best network for each task; name a folder in {checkpoints}: {best_networks(results)}"
            )
        trial = results.best()
        said = f"{path}: the best trial, {trial['trial_id']} ({trial['method']}), has left no network"
        if trial["method"] not in TRAINED:
            raise ValueError(f"{said}; name a folder in {checkpoints}: {best_networks(results)}")
        best = checkpoints / str(trial["trial_id"]) / BEST
        if not best.is_file():
            raise ValueError(f"{said}; name another trial's folder in {checkpoints}")
        return best
    raise ValueError(
        f"{path} holds no model (no {BEST}); name a trial's folder, such as "
        "results/quickstart/checkpoints/0003, or a study's, such as results/quickstart"
    )


def _export(uri: str) -> str:
    """The command that brings a study's best model, or that of the trial that the URI names, to this machine."""
    from flowsearch.results import schema

    address, question, query = uri.partition("?")
    study, _, trial = address.rstrip("/").partition(f"/{schema.CHECKPOINTS}/")
    words = ["flowsearch", "study", "export", study + question + query, "--model", "FOLDER"]
    return shlex.join(words + (["--trial", trial.partition("/")[0]] if trial else []))


def parts_folder(model: Path) -> Path:
    """Where parts of the model's own are looked for: where its study file was, or the current folder."""
    from flowsearch.results import schema

    for folder in list(model.resolve().parents)[:3]:
        try:
            known = json.loads((folder / schema.PROVENANCE_FILE).read_text(encoding="utf-8"))
            return Path(known["study_folder"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return Path.cwd()
