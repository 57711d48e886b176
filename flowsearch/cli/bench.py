"""`flowsearch bench`: what a training step costs here, and beside other code."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowsearch.cli.errors import user_errors
from flowsearch.cli.options import Device

if TYPE_CHECKING:
    from flowsearch.training import TrialConfig

app = typer.Typer(
    name="bench",
    help="Measure what training costs on this machine, to pick a batch size and a GPU's share.",
    no_args_is_help=True,
)

_Depth = Annotated[int, typer.Option(help="Flow steps a level.")]
_Levels = Annotated[int, typer.Option(help="Flow levels.")]
_Hidden = Annotated[int, typer.Option(help="Hidden channels of the coupling networks.")]
_Size = Annotated[int, typer.Option(help="Image height and width in pixels.")]
_Memory = Annotated[str, typer.Option(help="invertible, networks, checkpoint or autograd (glow).")]
_Rounds = Annotated[int, typer.Option(min=1, help="Steps that are timed; the median counts.")]
_Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: torch's own choice.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def model(
    prox: Annotated[str, typer.Option(help="glow, score, resnet or unet.")] = "glow",
    folds: Annotated[int, typer.Option(help="K, the number of folds.")] = 5,
    weights: Annotated[str, typer.Option(help="untied or tied.")] = "untied",
    depth: _Depth = 18,
    levels: _Levels = 4,
    hidden: _Hidden = 512,
    size: _Size = 64,
    batch: Annotated[int, typer.Option(min=1, help="Images a step.")] = 8,
    memory: _Memory = "invertible",
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    device: Device = "auto",
    graphs: Annotated[bool, typer.Option(help="On CUDA, replay the step as a CUDA graph, as training does.")] = True,
    rounds: _Rounds = 5,
    threads: _Threads = None,
    as_json: _Json = False,
) -> None:
    """Measure a training step of an unrolled network: time, memory, and the gradient's error."""
    with user_errors():
        from flowsearch.bench.model import bench_model
        from flowsearch.training.device import check_precision

        glow = {"depth": depth, "levels": levels, "hidden": hidden}
        config = _config(prox=prox, folds=folds, weights=weights, size=size, memory=memory, precision=precision, **glow)
        place = _device(device, threads)
        check_precision(precision, place)
        cost = bench_model(config, batch=batch, device=place, rounds=rounds, graphs=graphs)
    if as_json:
        typer.echo(json.dumps(vars(cost)))
        return
    from flowsearch.analysis.wording import plural
    from flowsearch.results.forms import memory as size_of
    from flowsearch.results.forms import whole

    typer.echo(
        f"{prox}, {plural(folds, 'fold')} {weights}, {size}x{size}, batch {batch}, {memory}, {precision}, "
        f"{_where(device)}"
    )
    for name, value in (
        ("step", f"{cost.step_seconds:.3f} s"),
        ("images a second", f"{cost.images_per_second:.2f}"),
        ("parameters", whole(cost.parameters)),
        ("activation peak", size_of(cost.activation_bytes)),
        ("gradient error", f"{cost.gradient_error:.2e}"),
    ):
        typer.echo(f"  {name:16s} {value}")


@app.command()
def peers(
    batch: Annotated[int, typer.Option(min=1, help="Images a step.")] = 4,
    depth: _Depth = 18,
    levels: _Levels = 4,
    hidden: _Hidden = 512,
    size: _Size = 64,
    memory: _Memory = "networks",
    device: Device = "auto",
    rounds: _Rounds = 5,
    threads: _Threads = None,
    as_json: _Json = False,
) -> None:
    """Time the likelihood step of a Glow beside that of normflows (the extra `bench`)."""
    with user_errors():
        from flowsearch.bench.peers import bench_peers

        config = _config(prox="glow", size=size, depth=depth, levels=levels, hidden=hidden, memory=memory)
        rows = bench_peers(config, batch=batch, device=_device(device, threads), rounds=rounds)
    if as_json:
        typer.echo(json.dumps([vars(row) for row in rows]))
        return
    from flowsearch.analysis.wording import plural

    typer.echo(
        f"likelihood step, Glow of {plural(levels, 'level')} and {plural(depth, 'step')}, {size}x{size}, "
        f"batch {batch}, {memory}, {_where(device)}"
    )
    typer.echo(f"  {'precision':10s} {'flowsearch':>12s} {'normflows':>12s} {'ratio':>8s}")
    for row in rows:
        ours, theirs = f"{row.ours_seconds:.3f} s", f"{row.normflows_seconds:.3f} s"
        typer.echo(f"  {row.precision:10s} {ours:>12s} {theirs:>12s} {row.ratio:8.2f}")


def _config(*, size: int, **values: Any) -> "TrialConfig":
    """The configuration to measure; its rate hardly moves the weights, so that each step does the same work."""
    from flowsearch.data import DataConfig
    from flowsearch.training import TrialConfig

    return TrialConfig(data=DataConfig(size=size), pretrain=False, lr=1e-6, **values)


def _device(name: str, threads: int | None) -> Any:
    import torch

    from flowsearch.training.device import resolve

    if threads is not None:
        torch.set_num_threads(threads)
    return resolve(name)


def _where(device: str) -> str:
    """The machine, in words."""
    import torch

    from flowsearch.analysis.wording import plural
    from flowsearch.training.device import resolve

    place = resolve(device)
    if place.type == "cuda":
        return torch.cuda.get_device_name(place)
    return f"CPU, {plural(torch.get_num_threads(), 'thread')}"


@app.command()
def study(
    trials: Annotated[int, typer.Option(min=1, help="Instant trials.")] = 100,
    cpus: Annotated[int, typer.Option(min=1, help="CPU cores, of which a trial takes one.")] = 2,
    as_json: _Json = False,
) -> None:
    """Measure what a study costs beyond training, a trial, beside plain Ray Tune with the actors used again."""
    with user_errors():
        from flowsearch.bench.study import measure

        found = measure(trials, cpus)
    if as_json:
        typer.echo(json.dumps(found))
        return
    from flowsearch.analysis.wording import plural

    typer.echo(
        f"{plural(trials, 'instant trial')} on {plural(cpus, 'CPU')}: {found['seconds_per_trial']:.3f} s a trial, "
        f"plain Ray Tune {found['ray_tune_seconds_per_trial']:.3f} s (ratio {found['ratio']:.2f}); the driver held "
        f"{found['driver_bytes_before'] / 2**20:.0f} MiB before and {found['driver_bytes_after'] / 2**20:.0f} MiB after"
    )
