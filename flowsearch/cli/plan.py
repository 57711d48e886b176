"""`flowsearch study plan`: what a study will take, before anything runs."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from flowsearch.cli.errors import user_errors
from flowsearch.cli.options import File, Name, Profile, Sets, chosen

if TYPE_CHECKING:
    from rich.table import Table

    from flowsearch.study.plan import Plan


def plan(
    file: File,
    sets: Sets = None,
    profile: Profile = None,
    name: Name = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Time a step of the smallest, middle and largest configuration here.")
    ] = False,
    gpu_memory: Annotated[
        float | None,
        typer.Option(
            help="Memory in GB of the GPUs to plan for. Default: this machine's.", min=0.1, show_default=False
        ),
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(help="How many GPUs. Default: this machine's.", min=1, show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a study will take: trials, priors, parameters, memory, GPU shares, disk, time, cost; no trial is run."""
    with user_errors():
        from flowsearch.cli.terminal import say
        from flowsearch.data import lacking
        from flowsearch.study.modes import check_enough
        from flowsearch.study.own_parts import importable
        from flowsearch.study.plan import make_plan

        study = chosen(file, sets, profile, name)
        check_enough(study)
        with importable(study, {}):
            why = lacking(study.data_config)
            if why is not None:
                say(f"warning: here the study would not run: {why}", err=True)
            made = make_plan(
                study,
                measure=measure,
                gpu_bytes=None if gpu_memory is None else int(gpu_memory * 1e9),
                gpus=gpus,
                say=lambda line: typer.echo(line, err=True),
            )
    if as_json:
        typer.echo(json.dumps(made.to_dict()))
        return
    from flowsearch.cli.terminal import terminal

    console = terminal()
    console.print(_head(made), soft_wrap=True)
    console.print(_table(made))
    for corner in made.corners:
        from flowsearch.cli.live import short

        console.print(f"{corner.which}: {short(corner.values)}", soft_wrap=True)
    for line in _lines(made, measure):
        console.print(line, soft_wrap=True)


def _head(plan: "Plan") -> str:
    from flowsearch.analysis.wording import plural

    priors = f"{plural(plan.priors, 'prior')} to pre-train"
    priors = f"at most {priors}" if plan.priors_at_most else priors
    return f"{plan.name}, {plan.mode}: {plural(plan.trials, 'trial')}, {priors}, {plan.at_once} at once"


def _table(plan: "Plan") -> "Table":
    from flowsearch.cli.terminal import table
    from flowsearch.results.forms import duration, memory, whole

    numbers = ("parameters", "memory", "GPU share", "a step", "training", "its prior")
    made = table(("trial", *numbers), right=numbers)

    def time(seconds: float | None) -> str:
        return "?" if seconds is None else duration(seconds)

    for corner in plan.corners:
        made.add_row(
            corner.which,
            whole(corner.parameters),
            f"{'' if corner.measured else '~'}{memory(corner.bytes)}",
            "-" if corner.gpu_share is None else f"{corner.gpu_share:.2f}",
            "?" if corner.step_seconds is None else f"{corner.step_seconds:.3g} s",
            time(corner.trial_seconds),
            time(corner.prior_seconds) if corner.config.get("pretrain") else "-",
        )
    return made


def _lines(plan: "Plan", measured: bool) -> list[str]:
    """What the table's numbers mean, and what follows from them."""
    from flowsearch.results.forms import memory

    lines = []
    if not all(corner.measured for corner in plan.corners):
        lines.append("~: by formula (weights, gradients, optimizer, activations); parameters are exact")
    if plan.gpu == "auto" and plan.gpu_bytes is None:
        lines.append("no GPU here: gpu: auto trains on the CPU; --gpu-memory 80 shows the shares of GPUs of 80 GB")
    if plan.device == "CPU" and not isinstance(plan.gpu, str) and plan.gpu:
        lines.append(f"no GPU here: as it is (resources.gpu: {plan.gpu:g}) the study needs another machine")
    if plan.disk_bytes_at_most:
        lines.append(
            f"disk: about {memory(plan.disk_bytes)} for trained networks and priors; at most "
            f"{memory(plan.disk_bytes_at_most)}, with the checkpoints of those that run"
        )
    if plan.hours is None:
        lines.append("time: not known yet; --measure times a step of each on this machine")
    else:
        most = f", {_hours(plan.hours_at_most)} if all were the largest" if plan.hours_at_most is not None else ""
        stops = "; fewer epochs where the scheduler stops trials" if plan.trials_at_most else ""
        lines.append(
            f"time on this machine ({plan.device}): about {_hours(plan.hours)}, every trial taken as the middle one"
            f"{most}; training steps only{stops}"
        )
    if plan.gpu_hours is not None:
        lines.append(f"GPU-hours: about {plan.gpu_hours:.3g}{_largest(plan.gpu_hours_at_most, '.3g')}")
    if plan.usd is not None:
        lines.append(f"cost: about {plan.usd:.2f}{_largest(plan.usd_at_most, '.2f')} USD at the file's price")
    return [*lines, *(f"budget of {cut}" for cut in plan.cuts)]


def _largest(number: float | None, form: str) -> str:
    return "" if number is None else f" ({number:{form}} if all were the largest)"


def _hours(hours: float | None) -> str:
    from flowsearch.results.forms import duration

    return "?" if hours is None else duration(3600 * hours)
