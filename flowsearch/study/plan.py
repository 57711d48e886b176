"""What a study will take, said before it runs: trials, priors, memory, disk, time, money, and what a budget cuts.

Parameters are exact, those for colour images where the data set is not prepared here. Memory is a formula's or measured
(`training.need`, `shapes`). Time is known only where a step has been measured on this machine. Numbers of a search are
bounds where the search decides as it goes; `Plan` says which.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flowsearch.cores import cores
from flowsearch.study import own_parts
from flowsearch.study.layout import Layout
from flowsearch.study.packing import room_for, share_of
from flowsearch.study.parameter import Values
from flowsearch.study.sections import Study
from flowsearch.study.shapes import Shapes, prior_shape_of, shape_of
from flowsearch.study.survey import Survey, images_of, survey_of
from flowsearch.training.config import TrialConfig
from flowsearch.training.need import estimate

_KEPT_BYTES = 4
"""What stays on disk of a parameter: its value at the best epoch."""
_RUNNING_BYTES = 24
"""What a trial that runs has there besides: the value and Adam's two moments, twice while they are replaced."""


@dataclass(frozen=True, kw_only=True)
class Corner:
    """One configuration of the space."""

    which: str
    """smallest, middle or largest, by memory."""
    values: dict[str, Any]
    """What the search proposes."""
    config: dict[str, Any] = field(repr=False)
    parameters: int
    bytes: int
    """Of a training step, all of it."""
    measured: bool
    """Whether `bytes` were measured, or are the formula's."""
    gpu_share: float | None = None
    step_seconds: float | None = None
    trial_seconds: float | None = None
    """Its training steps, without validation and its prior."""
    prior_seconds: float | None = None
    """Its prior's training steps, where it has one."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A study before it runs."""

    name: str
    mode: str
    trials: int
    trials_at_most: bool
    """Whether fewer may run to their last epoch (a scheduler stops some)."""
    priors: int
    priors_at_most: bool
    corners: list[Corner]
    device: str
    gpu: float | str
    """`resources.gpu`."""
    at_once: int
    gpu_bytes: int | None
    disk_bytes: int
    """What trained networks and priors will take on disk: of a search by the mean of a draw, else all of them."""
    disk_bytes_at_most: int
    """The same, of a search if all were the largest by parameters, with the checkpoints of those that run."""
    hours: float | None = None
    """All trials and priors, as long as the middle configuration's, so many at once."""
    hours_at_most: float | None = None
    """The same if all were the largest, as many at once as there is then room for."""
    gpu_hours: float | None = None
    gpu_hours_at_most: float | None = None
    usd: float | None = None
    usd_at_most: float | None = None
    """GPU-hours and money as of `hours` and `hours_at_most`."""
    cuts: list[str] = field(default_factory=list)
    """What the budget will cut, a sentence each."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = asdict(self)
        for corner in plain["corners"]:
            del corner["config"]
        return plain


def make_plan(
    study: Study,
    *,
    measure: bool = False,
    gpu_bytes: int | None = None,
    cpus: int | None = None,
    gpus: int | None = None,
    shapes: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Plan:
    """The study's plan. `measure` times a step of three configurations here and remembers it.

    `gpu_bytes` is the memory of the GPUs to plan for, by default this machine's.
    """
    own_parts.check(study, images_of(study.data_config).channels)
    device, found_bytes, found_gpus = _device()
    gpu_bytes, gpus = gpu_bytes or found_bytes, gpus or found_gpus or 1
    cpus = cpus or cores()
    known = Shapes(device, shapes)
    corners = []
    first = study.branches[0]  # the task decides next to nothing of what a step takes
    survey = survey_of(first, len(Layout.of(study).configurations))
    for which, values in survey.corners.items():
        config = first.config(values)
        channels = images_of(config.data).channels
        if measure and config.method == "unrolled":
            from flowsearch.bench.steps import measure_step

            say(f"timing a step of the {which} configuration on {device} ...")
            measured = measure_step(config, channels, study.resources.cpu)
            known.remember(shape_of(config.to_dict(), channels), **measured)
            if config.pretrain:
                _measure_prior(study, config, known)
        corners.append(_corner(study, which, values, config, known, gpu_bytes))
    prior_seconds = 0.0
    if survey.largest_flow is not None:
        config = first.config(survey.largest_flow)
        if measure and config.method == "unrolled" and known.seconds(_prior_shape(config)) is None:
            say(f"timing a step of the largest prior on {device} ...")
            _measure_prior(study, config, known)
        prior_seconds = _prior_seconds(config, known) or 0.0
    return _whole(study, survey, corners, prior_seconds, device, gpu_bytes, cpus, gpus)


def _measure_prior(study: Study, config: TrialConfig, known: Shapes) -> None:
    from flowsearch.bench.steps import measure_prior

    channels = images_of(config.data).channels
    known.remember(_prior_shape(config), **measure_prior(config, channels, study.resources.cpu))


def _prior_shape(config: TrialConfig) -> str:
    return prior_shape_of(config.to_dict(), images_of(config.data).channels)


def _prior_seconds(config: TrialConfig, known: Shapes) -> float | None:
    """All training steps of the trial's prior; None where a step has not been measured."""
    step = known.seconds(_prior_shape(config))
    steps = math.ceil(images_of(config.data).pretraining / config.prior.batch_size) * config.prior.epochs
    return None if step is None else step * steps


def _whole(
    study: Study,
    survey: Survey,
    corners: list[Corner],
    prior_seconds: float,
    device: str,
    gpu_bytes: int | None,
    cpus: int,
    gpus: int,
) -> Plan:
    """The plan; `prior_seconds` are the largest prior's."""
    middle, largest = corners[len(corners) // 2], corners[-1]
    trials = Layout.of(study).total
    share, most_share = middle.gpu_share or 0.0, largest.gpu_share or 0.0
    slots = _at_once(study, share, trials, cpus, gpus)
    plan: dict[str, Any] = {}
    if middle.trial_seconds is not None:
        total = trials * middle.trial_seconds + survey.priors * (middle.prior_seconds or prior_seconds)
        whole = {"": (total, share, slots)}
        if largest.trial_seconds is not None:
            most = trials * largest.trial_seconds + survey.priors * prior_seconds
            whole["_at_most"] = max(most, total), most_share, _at_once(study, most_share, trials, cpus, gpus)
        budget = study.budget
        for which, (seconds, gpus_each, at_once) in whole.items():
            plan[f"hours{which}"] = seconds / 3600 / at_once
            plan[f"gpu_hours{which}"] = seconds / 3600 * gpus_each if gpus_each else None
            if budget.usd_per_gpu_hour is not None and gpus_each:
                plan[f"usd{which}"] = budget.usd_per_gpu_hour * plan[f"gpu_hours{which}"]
            elif budget.usd_per_hour is not None:
                plan[f"usd{which}"] = budget.usd_per_hour * plan[f"hours{which}"]
    disk, disk_at_most = _disk(study, survey, trials, slots)
    return Plan(
        name=study.name,
        mode=study.mode,
        trials=trials,
        trials_at_most=study.scheduler is not None,
        priors=survey.priors,
        priors_at_most=survey.priors_at_most,
        corners=corners,
        device=device,
        gpu=study.resources.gpu,
        at_once=slots,
        gpu_bytes=gpu_bytes,
        disk_bytes=disk,
        disk_bytes_at_most=disk_at_most,
        cuts=_cuts(study, trials, plan),
        **plan,
    )


def _at_once(study: Study, share: float, trials: int, cpus: int, gpus: int) -> int:
    """How many trials run at once that each take this `share` of a GPU, none with 0."""
    slots = max(1, cpus // study.resources.cpu)
    if share:
        slots = min(slots, room_for(share, gpus))
    return max(1, min(slots, study.resources.concurrent or slots, trials))


def _disk(study: Study, survey: Survey, trials: int, at_once: int) -> tuple[int, int]:
    """`Plan.disk_bytes` and `disk_bytes_at_most`."""
    searched = study.mode == "search"  # of the others all are known
    each = survey.most_parameters if searched else survey.parameters
    flow = survey.most_prior_parameters if searched else survey.prior_parameters
    kept = _KEPT_BYTES * (trials * survey.parameters + survey.priors * survey.prior_parameters)
    most = _KEPT_BYTES * (trials * each + survey.priors * flow)
    return round(kept), round(most + _RUNNING_BYTES * at_once * survey.most_parameters)


def _cuts(study: Study, trials: int, plan: Mapping[str, Any]) -> list[str]:
    """What each part of the budget leaves of the trials."""
    cuts = []
    for name, unit in (("hours", "hours"), ("gpu_hours", "GPU-hours"), ("usd", "USD")):
        limit, whole = getattr(study.budget, name), plan.get(name)
        if limit is None:
            continue
        if whole is None:
            missing = "--measure tells" if not plan else "there is no GPU in this plan"
            cuts.append(f"{limit:g} {unit}: what it cuts is not known yet; {missing}")
        elif whole > limit:
            done = int(trials * limit / whole)
            cuts.append(f"{limit:g} {unit}: enough for about {done} of {trials} trials")
        else:
            cuts.append(f"{limit:g} {unit}: enough for all, about {whole:.2g} are needed")
    return cuts


def _corner(
    study: Study, which: str, values: Values, config: TrialConfig, known: Shapes, gpu_bytes: int | None
) -> Corner:
    images, plain = images_of(config.data), config.to_dict()
    need, shape = estimate(config, images.channels), shape_of(plain, images.channels)
    measured = known.bytes(shape)
    taken = need.at_least(measured)
    gpu, share = study.resources.gpu, None
    if isinstance(gpu, str):
        share = share_of(taken, gpu_bytes) if gpu_bytes else None
    elif gpu:
        share = gpu
    step = known.seconds(shape)
    return Corner(
        which=which,
        values=values,
        config=plain,
        parameters=need.parameters,
        bytes=taken,
        measured=measured is not None,
        gpu_share=share,
        step_seconds=step,
        trial_seconds=None if step is None else step * math.ceil(config.data.train / config.batch_size) * config.epochs,  # type: ignore[operator]
        prior_seconds=_prior_seconds(config, known) if config.pretrain else None,
    )


def _device() -> tuple[str, int | None, int]:
    """What trials would run on here: its name, a GPU's memory, and how many GPUs there are."""
    import torch

    if torch.cuda.is_available():
        known = torch.cuda.get_device_properties(0)
        return known.name, int(known.total_memory), torch.cuda.device_count()
    return "CPU", None, 0
