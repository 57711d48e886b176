"""`flowsearch train`: one trial without a cluster, for a first look or for debugging."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from flowsearch.cli.errors import user_errors
from flowsearch.cli.options import Device, local, trial_text

_USED = ("used_tv_weight", "used_gamma", "used_strength", "used_iterations")


def train(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="YAML file of a trial's names, e.g. `prox: unet`. Default: the paper's model.", show_default=False
        ),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Set a name, e.g. prox=resnet, folds=3 or data.size=32."),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            parser=local, metavar="FOLDER", help="Folder for checkpoints; a run that stopped goes on from there."
        ),
    ] = Path("results/train"),
    device: Device = "auto",
) -> None:
    """Train and evaluate one network; print each epoch and what came out."""
    with user_errors():
        from flowsearch.study.source import Source
        from flowsearch.training import TrialConfig

        values = Source(file or "command line", trial_text(file), sets or []).values
        if "space" in values:
            raise ValueError(
                f"{file or 'this'} is a study, which `flowsearch study run` runs; train takes a trial's names"
            )
        config = TrialConfig.from_dict(values)
        _refuse_other(config, out)
        from flowsearch.parts import beside
        from flowsearch.training import NonFiniteError, run_trial
        from flowsearch.training.device import resolve

        typer.echo(_head(config, resolve(device)))
        try:
            with beside(Path.cwd() if file is None else file.parent):
                for record in run_trial(config, checkpoint_dir=out, device=device):
                    typer.echo(_line(record))
        except NonFiniteError as error:
            typer.echo(f"diverged: {error}; a smaller lr or a longer warmup may hold", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            typer.echo(f"interrupted; the same command goes on from the last checkpoint in {out}", err=True)
            raise typer.Exit(130) from None
        typer.echo(f"checkpoints: {out}")


def _head(config: Any, device: Any) -> str:
    """What begins here and how long it is, said before the first epoch, which may take minutes."""
    from flowsearch.analysis.wording import plural

    data, prior = config.data, config.prior
    steps = f"{plural(math.ceil(data.train / config.batch_size), 'step')} an epoch" if config.batch_size else ""
    epochs = f", up to {plural(config.epochs, 'epoch')}" if config.epochs else ""
    pretrains = config.pretrain or config.method == "map"
    first = f"; first up to {plural(prior.epochs, 'epoch')} of pre-training" if pretrains else ""
    return (
        f"{' '.join(word for word in (config.method, config.prox) if word)}, {config.task}, "
        f"{plural(data.train, 'image')} of {data.source} at {data.size}x{data.size}: "
        f"{steps or 'nothing to train'}{epochs}{first}; on {device}"
    )


def _refuse_other(config: Any, out: Path) -> None:
    """A folder with another trial's checkpoints is left alone."""
    from flowsearch.training import checkpoint

    kept = [out / name for name in (checkpoint.LAST, checkpoint.BEST, checkpoint.CHOSEN)]
    if any(checkpoint.there(path) and checkpoint.about(path)["config"] != config.to_dict() for path in kept):
        raise ValueError(f"{out} holds a trial of another configuration; name another folder with --out, or remove it")


def _line(record: dict[str, Any]) -> str:
    from flowsearch.results.forms import duration, written

    if record["phase"] == "prior" and record.get("bits_per_dim") is None:
        return f"denoiser {record['epoch']:4d}   val loss {record['val_loss']:.5f}   {record['seconds']:.1f} s"
    if record["phase"] == "prior":
        return f"prior {record['epoch']:4d}   {record['bits_per_dim']:.3f} bits/dim   {record['seconds']:.1f} s"
    if record["phase"] == "train" and record["lr"] is None:
        used = "".join(
            f"{name.replace('_', ' ')} {record['so_far'][name]:.4g}   " for name in _USED if name in record["so_far"]
        )
        return f"ready   {used}val PSNR {record['val_psnr']:.2f} dB   {record['seconds']:.1f} s"
    if record["phase"] == "train":
        return (
            f"epoch {record['epoch']:4d}   train loss {record['train_loss']:.5f}   val loss {record['val_loss']:.5f}   "
            f"val PSNR {record['val_psnr']:.2f} dB   {record['seconds']:.1f} s"
        )

    def said(name: str) -> str:
        return written(name, record[name], unit=True, empty="unknown")

    ood = "" if record["ood_psnr"] is None else f"out of distribution {said('ood_psnr')}, "
    return (
        f"test PSNR {said('test_psnr')} (measurement {said('measurement_psnr')}), SSIM {said('test_ssim')}, "
        f"residual {said('test_residual')}, {ood}"
        + (f"epoch {said('best_epoch')}, " if record["best_epoch"] else "")
        + f"{said('parameters')} parameters, {duration(record['train_seconds'] + record['prior_seconds'])}, "
        f"{said('seconds_per_image')} an image"
    )
