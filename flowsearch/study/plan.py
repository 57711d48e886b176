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

import numpy as np

from flowsearch.cores import cores
from flowsearch.data.config import DataConfig
from flowsearch.data.splits import Counted, counted
from flowsearch.study import own_parts
from flowsearch.study.file import Study
from flowsearch.study.layout import Layout
from flowsearch.study.packing import share_of
from flowsearch.study.shapes import Shapes, prior_shape_of, shape_of
from flowsearch.study.space import Parameter, Space, Values
from flowsearch.training.config import TrialConfig
from flowsearch.training.need import Need, estimate, flow_parameters
from flowsearch.training.prior_store import PRIOR_NAMES, prior_key

_DRAWS = 51
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
    """What trained networks and priors will take on disk, every trial as large as the middle one."""
    disk_bytes_at_most: int
    """The same if all were the largest, with the checkpoints of those that run."""
    hours: float | None = None
    """All trials and priors, as long as the middle configuration's, so many at once."""
    hours_at_most: float | None = None
    """The same if all were the largest."""
    gpu_hours: float | None = None
    usd: float | None = None
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
    own_parts.check(study, _counted(study.data_config).channels)
    device, found_bytes, found_gpus = _device()
    gpu_bytes, gpus = gpu_bytes or found_bytes, gpus or found_gpus or 1
    cpus = cpus or cores()
    known = Shapes(device, shapes)
    corners = []
    first = study.branches[0]  # the task decides next to nothing of what a step takes
    for which, values in _corners(first).items():
        config = first.config(values)
        channels = _counted(config.data).channels
        if measure and config.method == "unrolled":
            from flowsearch.bench.steps import measure_prior, measure_step

            say(f"timing a step of the {which} configuration on {device} ...")
            plain, threads = config.to_dict(), study.resources.cpu
            known.remember(shape_of(plain, channels), **measure_step(config, channels, threads))
            if config.pretrain:
                known.remember(prior_shape_of(plain, channels), **measure_prior(config, channels, threads))
        corners.append(_corner(study, which, values, config, known, gpu_bytes))
    return _whole(study, corners, device, gpu_bytes, cpus, gpus)


def _whole(study: Study, corners: list[Corner], device: str, gpu_bytes: int | None, cpus: int, gpus: int) -> Plan:
    middle, largest = corners[len(corners) // 2], corners[-1]
    trials, (priors, at_most) = Layout.of(study).total, _priors(study.branches[0])
    share = middle.gpu_share or 0.0
    slots = max(1, cpus // study.resources.cpu)
    if share:
        slots = min(slots, int(gpus / share) if share <= 1 else int(gpus // share))
    slots = max(1, min(slots, study.resources.concurrent or slots, trials))
    plan: dict[str, Any] = {}
    if middle.trial_seconds is not None:
        total = trials * middle.trial_seconds + priors * (middle.prior_seconds or largest.prior_seconds or 0)
        plan["hours"] = total / 3600 / slots
        plan["gpu_hours"] = total / 3600 * share if share else None
        if largest.trial_seconds is not None:
            most = trials * largest.trial_seconds + priors * (largest.prior_seconds or 0)
            plan["hours_at_most"] = max(most, total) / 3600 / slots
        budget = study.budget
        if budget.usd_per_gpu_hour is not None and plan["gpu_hours"]:
            plan["usd"] = budget.usd_per_gpu_hour * plan["gpu_hours"]
        elif budget.usd_per_hour is not None:
            plan["usd"] = budget.usd_per_hour * plan["hours"]
    disk, disk_at_most = _disk(trials, priors, slots, corners)
    return Plan(
        name=study.name,
        mode=study.mode,
        trials=trials,
        trials_at_most=study.scheduler is not None,
        priors=priors,
        priors_at_most=at_most,
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


def _disk(trials: int, priors: int, at_once: int, corners: list[Corner]) -> tuple[int, int]:
    """`Plan.disk_bytes` and `disk_bytes_at_most`."""
    middle, largest = corners[len(corners) // 2], corners[-1]
    configs = [TrialConfig.from_dict(corner.config) for corner in corners if corner.config.get("pretrain")]
    flow = max((flow_parameters(config, _counted(config.data).channels) for config in configs), default=0)
    kept = [_KEPT_BYTES * (trials * corner.parameters + priors * flow) for corner in (middle, largest)]
    return kept[0], kept[1] + _RUNNING_BYTES * at_once * largest.parameters


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
    images, plain = _counted(config.data), config.to_dict()
    need, shape = estimate(config, images.channels), shape_of(plain, images.channels)
    measured = known.bytes(shape)
    taken = need.bytes if measured is None else measured
    gpu, share = study.resources.gpu, None
    if isinstance(gpu, str):
        share = share_of(taken, gpu_bytes) if gpu_bytes else None
    elif gpu:
        share = gpu
    step = known.seconds(shape)
    prior_step = known.seconds(prior_shape_of(plain, images.channels)) if config.pretrain else None
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
        prior_seconds=None
        if prior_step is None
        else prior_step * math.ceil(images.pretraining / config.prior.batch_size) * config.prior.epochs,
    )


def _counted(data: DataConfig) -> Counted:
    """The study's images; colour, and as many as the file says, where they are not prepared here."""
    try:
        return counted(data)
    except ValueError:
        return Counted(channels=3, pretraining=data.train + (data.prior_images or 0))


def _corners(study: Study) -> dict[str, Values]:
    """The smallest, the middle and the largest configuration by memory; one where they are the same.

    Of a grid or an ablation all are looked at; of a search the corners, and a seeded draw for the middle.
    """
    needs: dict[str, Need] = {}

    def size(values: Values) -> tuple[int, bool]:
        """Its memory; of two alike, one with a prior is larger."""
        config = study.config(values)
        channels = _counted(config.data).channels
        shape = shape_of(config.to_dict(), channels)
        if shape not in needs:
            needs[shape] = estimate(config, channels)
        return needs[shape].bytes, bool(config.pretrain)

    points = study.points()
    if points is None:
        space = study.parsed_space()
        corners = [values for _, values in space.corners()]
        smallest = _climb(space, min(corners, key=size), lambda values: tuple(-part for part in size(values)))
        largest = _climb(space, max(corners, key=size), size)
        points = [_draw(space, seed) for seed in range(_DRAWS)]
    else:
        smallest, largest = min(points, key=size), max(points, key=size)
    middle = sorted(points, key=size)[len(points) // 2]
    if size(smallest) == size(largest):
        return {"each": middle}
    return {"smallest": smallest, "middle": middle, "largest": largest}


def _climb(space: Space, start: Values, height: Callable[[Values], tuple[int, ...]]) -> Values:
    """The highest point that is reached from `start` by moving one name after another to one of its corners."""
    best = start
    for _ in range(len(space.parameters)):
        before = best
        for name, parameter in space.parameters.items():
            for corner in parameter.corners:
                best = max(best, _moved(space, best, name, corner), key=height)
        if best == before:
            break
    return best


def _moved(space: Space, point: Values, name: str, value: Any) -> Values:
    moved = point | {name: value}
    return space.fill(lambda parameter: moved.get(parameter.name, parameter.corners[-1]))


def _draw(space: Space, seed: int) -> Values:
    rng = np.random.default_rng(seed)

    def choose(parameter: Parameter) -> Any:
        if parameter.choices:
            return parameter.choices[int(rng.integers(len(parameter.choices)))]
        return parameter.at(rng.random())

    return space.fill(choose)


def _priors(study: Study) -> tuple[int, bool]:
    """How many distinct priors the trials need, and whether that is a bound."""
    points = study.points()
    if points is not None:
        configs = [study.config(point) for point in points]
        return len({prior_key(one, "") for one in configs if one.pretrain}), False
    space = study.parsed_space()
    if not any(study.config(values).pretrain for _, values in space.corners()):
        return 0, False
    distinct = 1.0
    for name in PRIOR_NAMES:
        parameter = space.parameters.get(name)
        if parameter is None:
            continue
        if parameter.choices:
            distinct *= len(parameter.choices)
        elif parameter.whole:
            distinct *= (int(parameter.high) - int(parameter.low)) // parameter.step + 1
        else:
            distinct = math.inf
    return int(min(distinct, Layout.of(study).total)), True


def _device() -> tuple[str, int | None, int]:
    """What trials would run on here: its name, a GPU's memory, and how many GPUs there are."""
    import torch

    if torch.cuda.is_available():
        known = torch.cuda.get_device_properties(0)
        return known.name, int(known.total_memory), torch.cuda.device_count()
    return "CPU", None, 0
