"""The sections of a study file with their defaults, and `Study`, which is all of it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator

from flowsearch.data.config import DataConfig
from flowsearch.operators.names import parse_task
from flowsearch.results.objective import Constraint, Direction, Metric, constraint
from flowsearch.study.enumeration import Point, ablation, grid
from flowsearch.study.parameter import Values
from flowsearch.study.source import Source, StudyFileError
from flowsearch.study.space import Space
from flowsearch.training.config import METHOD_FIELDS, PriorConfig, TrialConfig
from flowsearch.training.prior_store import FOLDER
from flowsearch.training.prox_names import SEARCHED, parse_prox

OF_EVERY_MODE = ("window", "reproducible")
"""Names of `search` that matter to a scheduler, and so to every mode."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Search(_Section):
    """How configurations are proposed."""

    sampler: Literal["tpe", "random", "gp", "cmaes", "nsga2"] = "tpe"
    trials: Annotated[int, Field(ge=1, le=100_000)] = 20
    """Configurations for each task; each is a trial for each repeat."""
    startup: Annotated[int, Field(ge=0)] = 10
    """All samplers but random: so many first configurations are a balanced draw: each choice equally often within each
    proximal map, ranges covered evenly. nsga2: also the size of its population."""
    seed: Annotated[int, Field(ge=0)] = 0
    window: Annotated[int, Field(ge=1)] | None = None
    """Trial i is proposed from the results of trials 0 to i - window, whatever else has ended by then, which makes a
    study reproducible. Null: a quarter of `trials`, and two to four times as many as run at once. It counts the
    configurations of one task; as many trials for each task and repeat are on their way."""
    reproducible: bool = True
    """False uses every result at once: a little quicker to learn, but each run proposes different configurations."""


class Asha(_Section):
    """Asynchronous successive halving: after `grace`, `grace * reduction`, ... epochs the best 1/`reduction` go on."""

    grace: Annotated[int, Field(ge=1)] = 5
    reduction: Annotated[int, Field(ge=2)] = 3


class Hyperband(_Section):
    """Successive halving in several brackets, of which the later ones stop trials later: for when it is not known
    after how many epochs a trial can be judged. Trials take turns in the brackets, the first bracket most often."""

    grace: Annotated[int, Field(ge=1)] = 1
    reduction: Annotated[int, Field(ge=2)] = 3


class Median(_Section):
    """A trial goes on while its best epoch so far is at least the median of the completed trials' at that epoch."""

    grace: Annotated[int, Field(ge=0)] = 5
    """Epochs before a trial is judged."""
    startup: Annotated[int, Field(ge=1)] = 5
    """Trials that complete before any is judged."""


class Scheduler(_Section):
    """When a trial is stopped before its last epoch: by one of these."""

    asha: Asha | None = None
    hyperband: Hyperband | None = None
    median: Median | None = None

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        given = [name for name, section in self if section is not None]
        if len(given) != 1:
            what = f"not of {len(given)} of them" if given else "or {asha: {}} with its defaults"
            raise ValueError(f"{_SCHEDULER}, {what}")
        return self

    @property
    def named(self) -> str:
        """The name of the one that is given."""
        return next(name for name, section in self if section is not None)


_SCHEDULER = (
    f"scheduler is none, or a mapping of one of {', '.join(Scheduler.model_fields)}, such as {{asha: {{grace: 5}}}}"
)


def _scheduler(value: object) -> object:
    """`none` reads as YAML text, and stands for null."""
    if isinstance(value, dict | Scheduler | None):
        return value
    if value == "none":
        return None
    raise ValueError(f"{_SCHEDULER}, not {value!r}")


class Budget(_Section):
    """What a study may use. When a part is used up nothing more is launched; what runs is interrupted at its last
    checkpoint, and can be resumed with a larger budget."""

    hours: Annotated[float, Field(gt=0)] | None = None
    """Wall-clock hours of one `run` or `resume`."""
    gpu_hours: Annotated[float, Field(gt=0)] | None = None
    """GPU-hours over all runs of the study: half a GPU for two hours is one."""
    usd: Annotated[float, Field(gt=0)] | None = None
    """Money over all runs, at one of the two prices."""
    usd_per_gpu_hour: Annotated[float, Field(gt=0)] | None = None
    """Price of a GPU for an hour in which a trial has it."""
    usd_per_hour: Annotated[float, Field(gt=0)] | None = None
    """Price of everything that the study holds, such as one machine, for an hour of running."""


def _gpu_share(value: object) -> float | str:
    """A share of a GPU, whole GPUs, or `auto`; Ray gives no trial one and a half."""
    if value == "auto":
        return "auto"
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else -1.0
    if 0 <= number < 1 or (number > 0 and number.is_integer()):
        return number
    raise ValueError(f"resources.gpu is auto, a share of a GPU below 1, or a whole number of GPUs, not {value!r}")


class Failures(_Section):
    """What a study does about trials that fail."""

    stop_after: Annotated[int, Field(ge=2)] | None = 5
    """Stop the study once so many trials in a row have failed before their first epoch with the same error. Null: go
    on whatever fails."""


class Resources(_Section):
    """What one trial uses."""

    cpu: Annotated[int, Field(ge=1)] = 1
    """CPU cores, which is also the number of torch threads."""
    gpu: Annotated[float | str, BeforeValidator(_gpu_share)] = 0.0
    """GPUs: 0 trains on the CPU, 1 is a whole one, 0.5 lets two trials share one; `auto` is the share that each trial's
    own memory needs, and 0 where there is no GPU."""
    concurrent: Annotated[int, Field(ge=1)] | None = None
    """How many trials run at once, at most. Null: as many as there is room for. A cluster that starts machines only
    when trials wait for them needs the number."""


def _name(name: str) -> str:
    """The study's name, which is its folder's in the results."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise ValueError(
            "name is at most 100 letters (a to z, A to Z), digits, dots, dashes and underscores, the first a letter or "
            f"digit (it names the results' folder), not {name!r}"
        )
    if name == FOLDER:
        raise ValueError(f"name {FOLDER} is taken: results/{FOLDER} holds the priors that studies share")
    return name


def _tasks(value: object) -> list[str] | None:
    """The tasks, which may be written as mappings, as their texts."""
    if value is None:
        return None
    if not isinstance(value, list) or not value:
        raise ValueError(f"tasks lists at least one task, such as [denoise-0.1, deblur-5], not {value!r}")
    tasks = [str(parse_task(task)) for task in value]
    for index, task in enumerate(tasks):
        if task in tasks[:index]:
            raise ValueError(f"tasks lists {task} twice")
    return tasks


@dataclass(frozen=True)
class _Origin:
    """What a study was read from. It is no part of what the study says: two equal ones may come from two files."""

    source: Source | None = field(default=None, compare=False)


class Study(_Section):
    """A whole study file, resolved: every default filled in."""

    name: Annotated[str, AfterValidator(_name)]
    data: dict[str, Any] = {}
    fixed: dict[str, Any] = {}
    tasks: Annotated[list[str] | None, BeforeValidator(_tasks)] = None
    """The study is repeated for each of these, instead of `fixed.task`."""
    mode: Literal["search", "grid", "ablate"] = "search"
    """`search`: Optuna proposes; `grid`: every combination; `ablate`: a baseline, and what differs from it in one name,
    or in the names of one of the `pairs`."""
    space: dict[str, Any]
    baseline: dict[str, Any] = {}
    """ablate: the value of each name of the space that the others are compared with."""
    pairs: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = []
    objective: dict[Metric, Direction] = {"val_psnr": "maximize"}
    constraints: list[Annotated[str, AfterValidator(lambda text: constraint(text).text)]] = []
    """Limits that the best trial keeps to, such as parameters <= 30e6."""
    repeats: Annotated[int, Field(ge=1, le=1000)] = 1
    """Seeds of each configuration: its own, and those that follow."""
    search: Search = Search()
    enqueue: list[dict[str, Any]] = []
    """search: configurations to try first; the sampler chooses the names that one leaves out."""
    start_from: Annotated[list[str], BeforeValidator(lambda one: [one] if isinstance(one, str) else one)] = []
    """search: earlier studies, by folder or URI, whose trials the sampler learns from before the first of this one."""
    scheduler: Annotated[Scheduler | None, BeforeValidator(_scheduler)] = None
    prior: dict[str, Any] = {}
    budget: Budget = Budget()
    failures: Failures = Failures()
    resources: Resources = Resources()
    _origin: _Origin = PrivateAttr(default_factory=_Origin)

    def model_post_init(self, context: Any) -> None:
        """Keep the source that the study was read from, which comes as the context of its validation."""
        self._origin = _Origin(context)

    @property
    def was_read(self) -> bool:
        """Whether the study comes from a file, by which it was checked."""
        return self._origin.source is not None

    @property
    def metric(self) -> str:
        """The objective's metric, the first where there are several."""
        return next(iter(self.objective))

    @property
    def direction(self) -> Direction:
        """`maximize` or `minimize`."""
        return next(iter(self.objective.values()))

    @property
    def data_config(self) -> DataConfig:
        """Which images the trials see."""
        return DataConfig.from_dict(self.data)

    def config(self, values: Mapping[str, Any]) -> TrialConfig:
        """The configuration of the trial for which the search proposed `values`.

        A proposed `prox.NAME` is the parameter NAME of the proximal map, which is one of the researcher's own.
        """
        trial = self.fixed | {name: value for name, value in values.items() if not name.startswith(SEARCHED)}
        own = {name.removeprefix(SEARCHED): value for name, value in values.items() if name.startswith(SEARCHED)}
        if own:
            trial["prox"] = str(parse_prox(trial["prox"]).given(own))
        return TrialConfig(data=self.data_config, prior=PriorConfig.from_dict(self.prior), **trial)

    @property
    def most_epochs(self) -> int:
        """The most epochs that any of its trials is trained for."""
        space = self.parsed_space().parameters
        given = space["epochs"].corners if "epochs" in space else (self.fixed.get("epochs"),)
        return max((one for one in given if one is not None), default=int(METHOD_FIELDS["unrolled"]["epochs"]))

    def parsed_space(self) -> Space:
        """The search space."""
        return Space(self.space, self.fixed, self.baseline if self.mode == "ablate" else None)

    @property
    def branches(self) -> list[Self]:
        """The study of each task; the study itself where it is not repeated over `tasks`."""
        if self.tasks is None:
            return [self]
        return [self.model_copy(update={"tasks": None, "fixed": self.fixed | {"task": task}}) for task in self.tasks]

    def named_points(self) -> list[Point] | None:
        """Every configuration of a study that has one task, in order, each with the name of the space that it is about;
        None where a sampler proposes them."""
        if self.mode == "grid":
            return grid(self.parsed_space())
        if self.mode == "ablate":
            return ablation(self.parsed_space(), list(self.space), self.pairs)
        return None

    def points(self) -> list[Values] | None:
        """Those configurations without the names."""
        named = self.named_points()
        return None if named is None else [point for _, point in named]

    @property
    def limits(self) -> list[Constraint]:
        """The constraints, read."""
        return [constraint(text) for text in self.constraints]

    @property
    def folder(self) -> Path:
        """Where the file lies that the study was read from: parts of one's own may lie beside it."""
        return Path("study.yaml" if self._origin.source is None else self._origin.source.path).resolve().parent

    def error(self, keys: Iterable[object], message: str) -> StudyFileError:
        """The error `message` about the value at `keys`, naming the line that it came from."""
        source = self._origin.source
        return StudyFileError(message) if source is None else source.error(keys, message)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `study.yaml` holds them."""
        values = self.model_dump(mode="json")
        if self.mode != "search":
            values["search"] = {name: values["search"][name] for name in OF_EVERY_MODE}
        return values
