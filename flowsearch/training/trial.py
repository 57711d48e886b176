"""One trial from beginning to end, as a generator that yields a record after each epoch."""

from collections.abc import Generator, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from flowsearch.checks import check_int
from flowsearch.data import Datasets, load
from flowsearch.data.config import way_back
from flowsearch.operators import Task
from flowsearch.training import checkpoint
from flowsearch.training.config import TRAINED, TrialConfig
from flowsearch.training.device import check_precision, resolve
from flowsearch.training.errors import DataError
from flowsearch.training.evaluate import Evaluation, evaluate
from flowsearch.training.fit import Record, Setting, costs
from flowsearch.training.memory import reset_peak
from flowsearch.training.methods import METHODS, Solution


def run_trial(
    config: TrialConfig,
    *,
    checkpoint_dir: Path | str | None = None,
    prior_dir: Path | str | None = None,
    device: str = "auto",
    micro_batch: int | None = None,
) -> Iterator[Record]:
    """Make ready what the method needs, evaluate it at its best; yield a record after each epoch and a last one.

    `phase` of a record is `prior` (a flow or a denoiser is trained), `train` (reconstructions have been validated) or
    `final`; `so_far` of a `train` record is what is known of the trial by then. Once the generator is closed the state
    is in `checkpoint_dir`, and at every yield of a record that is `kept`, which each epoch's is unless writing takes
    more than a twentieth of the time. Called again with the same configuration, the trial goes on after the last epoch
    there, or within the next one where notice was given (`notice`), and its numbers are those of an undisturbed run.
    `prior_dir` keeps pre-trained flows, for whichever trial needs the same one next (default: beside the checkpoints).
    Without folders nothing is left behind. `device` is `auto` (CUDA where there is one), or torch's name of a device.
    With `micro_batch` each optimizer step adds up its gradient over so many images at a time, which takes less memory
    and gives the same network up to rounding (and up to what a part of one's own draws at random).

    Raises NonFiniteError if a loss or gradient is NaN or infinite, DataError (a ValueError) if the images are not to be
    had or not those that the trial was begun with, LeavingError once notice is given, ValueError if the device has no
    use for the precision.
    """
    place = resolve(device)
    if micro_batch is not None:
        check_int("micro_batch", micro_batch, 1)
    if config.precision is not None:
        check_precision(config.precision, place)
    reset_peak(place)
    # A scratch folder only where it is needed: a worker that is killed leaves it behind.
    scratch = TemporaryDirectory(prefix="flowsearch-") if checkpoint_dir is None else nullcontext(checkpoint_dir)
    with scratch as where:
        folder = Path(where)
        datasets = _images(config)
        _check_same(config, datasets, folder)
        priors = folder / "priors" if prior_dir is None else Path(prior_dir)
        yield from _trial(config, datasets, folder, priors, place, micro_batch)


def _images(config: TrialConfig) -> Datasets:
    try:
        return load(config.data)
    except (ValueError, OSError) as error:
        raise DataError(str(error)) from error


def _check_same(config: TrialConfig, datasets: Datasets, folder: Path) -> None:
    """Refuse to go on from a checkpoint with other images than it was made with: a set may be prepared anew."""
    for path in (folder / checkpoint.LAST, folder / checkpoint.CHOSEN):
        then = checkpoint.about(path).get("fingerprint") if checkpoint.there(path) else None
        if then not in (None, datasets.fingerprint):
            raise DataError(
                f"the images of {config.data.source} are not those that {folder} was begun with (fingerprint "
                f"{datasets.fingerprint}, then {then}); {way_back(config.data.source)}, or begin in another folder"
            )


def _trial(
    config: TrialConfig,
    datasets: Datasets,
    folder: Path,
    prior_dir: Path,
    device: torch.device,
    micro_batch: int | None,
) -> Generator[Record, None, None]:
    task = Task.named(config.task, config.data.size, datasets.train.shape[1])
    task = replace(task, operator=task.operator.to(device))
    setting = Setting(
        config=config,
        datasets=datasets,
        task=task,
        folder=folder,
        prior_dir=prior_dir,
        device=device,
        micro_batch=micro_batch,
    )
    solution = yield from METHODS[config.method](setting)
    splits = ["val", "test", *(["ood"] if datasets.ood is not None else [])]
    found = {split: _evaluated(solution, setting, split) for split in splits}
    yield _final(setting, solution, found)


def _evaluated(solution: Solution, setting: Setting, split: str) -> Evaluation:
    """The split's evaluation, with the prior's bits per dimension of each image where there is a prior."""
    with setting.drawing(0, 1):
        found = evaluate(solution.model, setting.task.operator, setting.measured(split), split)
    for row, bits in zip(found.rows, solution.state["prior"].get("bits", {}).get(split, ()), strict=False):
        row["bits_per_dim"] = bits
    return found


def _final(setting: Setting, solution: Solution, found: dict[str, Evaluation]) -> Record:
    """The last record: a trial's results."""
    state, val, test, ood = solution.state, found["val"], found["test"], found.get("ood")
    epochs, best_epoch = state.get("epoch"), state.get("best_epoch")
    return {
        "phase": "final",
        "epoch": best_epoch if setting.config.method in TRAINED else 1,
        "val_loss": state["best_loss"],
        "val_psnr": val.mean("psnr"),
        "val_ssim": val.mean("ssim"),
        **{f"test_{name}": test.mean(name) for name in ("psnr", "ssim", "residual", "bits_per_dim")},
        **{f"ood_{name}": ood and ood.mean(name) for name in ("psnr", "ssim", "residual", "bits_per_dim")},
        "measurement_psnr": test.mean("measurement_psnr"),
        "seconds_per_image": test.seconds / len(test.rows),
        "epochs_run": epochs,
        "best_epoch": best_epoch,
        **costs(solution.model, state, setting.device),
        **solution.used,
        "images": test.rows + (ood.rows if ood else []),
        "panels": test.panels + (ood.panels if ood else []),
    }
