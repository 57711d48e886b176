"""Which model a command is told to use."""

import json
import shlex
from importlib.util import find_spec
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
            there = Path(known["study_folder"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if there.is_absolute():  # as every study writes it; another one would be what lies here by somebody else's word
            return there
    return Path.cwd()


def say_code(model: Path, *, images: bool) -> None:
    """Say which modules a model's configuration names (with `images`, also for its images), before they are imported:
    whoever made the model chose what runs here. Called where they are `beside`."""
    from flowsearch.cli.terminal import say
    from flowsearch.parts import is_part
    from flowsearch.training.config import TrialConfig
    from flowsearch.training.header import about

    try:
        config = TrialConfig.from_dict(about(model)["config"])  # as it is loaded: a part may be a mapping there, too
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # no model: whoever reads it says so
        return
    data = config.data
    named = [config.prox, config.task, *((data.source, data.ood, data.prior) if images else ())]
    for part in dict.fromkeys(str(one).partition("(")[0] for one in named):
        if is_part(part):
            say(f"the model names code that runs now: {part}, {_file_of(part)}", err=True)


def _file_of(part: str) -> str:
    """Where the outermost package or module of `module:name` lies; nothing is imported."""
    try:
        found = find_spec(part.partition(":")[0].partition(".")[0])
    except ValueError:  # of a module that is there already, and says nothing of where it is from
        found = None
    return "of a module that is not found" if found is None else f"of {found.origin or 'a folder of modules'}"
