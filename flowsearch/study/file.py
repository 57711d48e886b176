"""The study file: its schema, and every check that can be made before anything runs."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from flowsearch.checks import nearest
from flowsearch.data.config import DataConfig
from flowsearch.operators.names import parse_task
from flowsearch.results.objective import (
    EPOCH_METRICS,
    UPWARDS,
    Constraint,
    Direction,
    Metric,
    constraint,
    unknown_metric,
)
from flowsearch.study import modes
from flowsearch.study.source import Source, StudyFileError, dump
from flowsearch.study.space import Space, SpaceError, Values, config_of
from flowsearch.training.config import METHOD_FIELDS, PriorConfig, TrialConfig
from flowsearch.training.prior_store import FOLDER
from flowsearch.training.prox_names import SEARCHED, parse_prox

__all__ = [
    "Asha",
    "Budget",
    "Failures",
    "Hyperband",
    "Median",
    "Resources",
    "Scheduler",
    "Search",
    "Study",
    "StudyFileError",
    "dump",
    "load",
    "read",
]


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
    study reproducible. Null: a quarter of `trials`, and two to four times as many as run at once."""
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

    @property
    def named(self) -> list[str]:
        """The names of those that are given."""
        return [name for name in type(self).model_fields if getattr(self, name) is not None]


_SCHEDULER = f"none, or a mapping of one of {', '.join(Scheduler.model_fields)}, such as {{asha: {{grace: 5}}}}"


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
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and value >= 0 and (value < 1 or value == int(value)):  # type: ignore[operator,call-overload]
        return float(value)  # type: ignore[arg-type]
    raise ValueError("auto, a share of a GPU below 1, or a whole number of GPUs")


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


@dataclass(frozen=True)
class _Origin:
    """What a study was read from. It is no part of what the study says: two equal ones may come from two files."""

    source: Source | None = field(default=None, compare=False)


class Study(_Section):
    """A whole study file, resolved: every default filled in."""

    name: str
    data: dict[str, Any] = {}
    fixed: dict[str, Any] = {}
    tasks: list[str] | None = None
    """The study is repeated for each of these, instead of `fixed.task`."""
    mode: Literal["search", "grid", "ablate"] = "search"
    """`search`: Optuna proposes; `grid`: every combination; `ablate`: a baseline, and what differs from it in one name,
    or in the names of one of the `pairs`."""
    space: dict[str, Any]
    baseline: dict[str, Any] = {}
    """ablate: the value of each name of the space that the others are compared with."""
    pairs: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = []
    objective: dict[Metric, Direction] = {"val_psnr": "maximize"}
    constraints: list[str] = []
    """Limits that the best trial keeps to, such as parameters <= 30e6."""
    repeats: Annotated[int, Field(ge=1, le=1000)] = 1
    """Seeds of each configuration: its own, and those that follow."""
    search: Search = Search()
    enqueue: list[dict[str, Any]] = []
    """search: configurations to try first; the sampler chooses the names that one leaves out."""
    start_from: list[str] = []
    """search: earlier studies, by folder or URI, whose trials the sampler learns from before the first of this one."""
    scheduler: Scheduler | None = None
    prior: dict[str, Any] = {}
    budget: Budget = Budget()
    failures: Failures = Failures()
    resources: Resources = Resources()
    _origin: _Origin = PrivateAttr(default_factory=_Origin)

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, values: Any) -> Any:
        """`scheduler: none` reads as YAML text; a single folder needs no list."""
        if isinstance(values, dict):
            values = dict(values)
            if values.get("scheduler") == "none":
                values["scheduler"] = None
            if isinstance(values.get("start_from"), str):
                values["start_from"] = [values["start_from"]]
        return values

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
        """The configuration of the trial for which the search proposed `values`."""
        return config_of(self.data, self.prior, self.fixed, values)

    @property
    def most_epochs(self) -> int:
        """The most epochs that any of its trials is trained for."""
        given = self.space.get("epochs", self.fixed.get("epochs"))
        if isinstance(given, dict):
            given = next((given[kind] for kind in ("int", "choice") if kind in given), None)
        numbers = [one for one in (given if isinstance(given, list) else [given]) if isinstance(one, int)]
        return max(numbers, default=int(METHOD_FIELDS["unrolled"]["epochs"]))

    def parsed_space(self) -> Space:
        """The search space."""
        return Space(self.space, self.fixed, self.baseline if self.mode == "ablate" else None)

    @property
    def branches(self) -> "list[Study]":
        """The study of each task; the study itself where it is not repeated over `tasks`."""
        if self.tasks is None:
            return [self]
        return [self.model_copy(update={"tasks": None, "fixed": self.fixed | {"task": task}}) for task in self.tasks]

    def points(self) -> list[Values] | None:
        """Every configuration of a study that has one task, in order; None where a sampler proposes them."""
        found = modes.points(self)
        return None if found is None else [point for _, point in found]

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
            values["search"] = {name: values["search"][name] for name in modes.KEPT}
        return values


def load(path: Path | str, sets: Iterable[str] = (), profile: str | None = None) -> Study:
    """Read and check a study file with one of its profiles, if any, and then `a.b=c` overrides.

    Raises StudyFileError (a ValueError) with file and line, or the `--set`, the rule and the nearest valid name;
    FileNotFoundError where there is no file.
    """
    path = Path(path)
    if path.is_dir():
        raise StudyFileError(f"{path} is a folder; name a study file, such as studies/quickstart.yaml")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise StudyFileError(f"{path} is not text in UTF-8, so it is no study file") from None
    return read(Source(path, text, sets, profile))


def read(source: Source) -> Study:
    """Check the values of `source` and fill in the defaults."""
    values = modes.settle_tasks(source, _settle_parts(source))
    _check_section(source, "data", DataConfig)
    _check_section(source, "prior", PriorConfig)
    try:
        study = Study.model_validate(values)
    except ValidationError as error:
        raise _first_error(source, error) from None
    _check_name(source, study)
    _check_budget(source, study.budget)
    _check_objective(source, study)
    _check_fixed(source, study)
    study = modes.check(source, study)
    for branch in study.branches:
        try:
            branch.parsed_space().check(branch.config, modes.points(branch))
        except SpaceError as error:
            raise source.error(_keys_of(error, study), str(error)) from None
    resolved = {"data": study.data_config.to_dict(), "prior": PriorConfig.from_dict(study.prior).to_dict()}
    study = study.model_copy(update=resolved)
    study._origin = _Origin(source)
    return study


def _settle_parts(source: Source) -> dict[str, Any]:
    """The source's values with a fixed task and proximal map, which may be written as mappings, as their one text."""
    fixed = source.values.get("fixed")
    if not isinstance(fixed, dict):
        return source.values
    settled = {}
    for name, parse in (("task", parse_task), ("prox", parse_prox)):
        if name in fixed:
            try:
                settled[name] = str(parse(fixed[name]))
            except ValueError as error:
                raise source.error(("fixed", name, *_nested(fixed[name])), str(error)) from None
    return source.values | {"fixed": fixed | settled}


def _nested(part: object) -> tuple[str, ...]:
    """The name of a task or map, where it is a mapping of one: the line to point at."""
    return (str(next(iter(part))),) if isinstance(part, dict) and len(part) == 1 else ()


def _check_section(source: Source, name: str, config: type[DataConfig] | type[PriorConfig]) -> None:
    section = source.values.get(name, {})
    if not isinstance(section, dict):
        raise source.error((name,), f"{name} is a mapping of names to values, not {section!r}")
    known = [field.name for field in fields(config)]
    for key in section:
        if key not in known:
            raise source.error((name, key), _unknown(f"{name}.{key}", key, known))
    try:
        config.from_dict(section)
    except ValueError as error:
        said = str(error).removeprefix(f"{name}.").split(" ", 1)[0]
        raise source.error((name, said) if said in section else (name,), f"{name}: {error}") from None


def _check_name(source: Source, study: Study) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", study.name):
        raise source.error(
            ("name",),
            "name is at most 100 letters (a to z, A to Z), digits, dots, dashes and underscores, the first a letter or "
            f"digit (it names the results' folder), not {study.name!r}",
        )
    if study.name == FOLDER:
        raise source.error(("name",), f"name {FOLDER} is taken: results/{FOLDER} holds the priors that studies share")


def _check_budget(source: Source, budget: Budget) -> None:
    prices = [name for name in ("usd_per_gpu_hour", "usd_per_hour") if getattr(budget, name) is not None]
    if len(prices) > 1:
        raise source.error(("budget", prices[1]), "budget has one price: usd_per_gpu_hour or usd_per_hour")
    if budget.usd is not None and not prices:
        raise source.error(
            ("budget", "usd"),
            "budget.usd needs a price: usd_per_gpu_hour (of a GPU) or usd_per_hour (of the whole machine), in budget",
        )


def _check_objective(source: Source, study: Study) -> None:
    if not study.objective:
        raise source.error(("objective",), "objective has at least one metric, such as val_psnr: maximize")
    for metric, direction in study.objective.items():
        if direction != UPWARDS[metric]:
            raise source.error(
                ("objective", metric), f"{metric} is better the other way; write {metric}: {UPWARDS[metric]}"
            )
    if study.scheduler is None:
        return
    if len(study.objective) > 1:
        raise source.error(
            ("scheduler",), "trials are stopped early by one objective, not by several; write scheduler: none"
        )
    names = study.scheduler.named
    if len(names) != 1:
        what = f"not of {len(names)} of them" if names else "or {asha: {}} with its defaults"
        raise source.error(("scheduler",), f"scheduler is {_SCHEDULER}, {what}")
    if study.metric not in EPOCH_METRICS:
        raise source.error(
            ("objective", study.metric),
            f"{names[0]} judges by what is known after each epoch ({', '.join(EPOCH_METRICS)}), not by {study.metric}; "
            "change the objective or write scheduler: none",
        )


def _check_fixed(source: Source, study: Study) -> None:
    known = [name for name in TrialConfig.field_types() if name != "prox_parameters"]
    for section, names in (("fixed", study.fixed), ("space", study.space)):
        for name in names:
            if name.startswith(SEARCHED) and name.removeprefix(SEARCHED).isidentifier():
                if section == "fixed":
                    own = name.removeprefix(SEARCHED)
                    raise source.error(
                        (section, name),
                        f"fixed.{name}: a parameter that is not searched stands with the map, such as "
                        f"prox: {{mylab.nets:DnCNN: {{{own}: {study.fixed[name]}}}}}",
                    )
            elif name not in known:
                raise source.error((section, name), _unknown(f"{section}.{name}", name, known))
    for name in study.fixed:
        if name in study.space:
            raise source.error(
                ("fixed", name), f"{name} is in both fixed and space; a name is either fixed or searched"
            )


def _keys_of(error: "SpaceError", study: Study) -> tuple[str, ...]:
    """Where the name that `error` is about stands in the file."""
    for name in error.names:
        if name in study.baseline and f"not {study.baseline[name]!r}" in str(error):
            return ("baseline", name)
        for section in ("space", "fixed", "data"):
            if name in getattr(study, section):
                return (section, name, *error.below)
        if name == "task" and study.tasks is not None:
            at = [index for index, task in enumerate(study.tasks) if f"{task}" in str(error)]
            return ("tasks", *map(str, at[:1]))
    return ("space",)


def _first_error(source: Source, error: ValidationError) -> StudyFileError:
    """pydantic's first complaint in words that a person can act on."""
    errors = error.errors(include_url=False)
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    kind, way = first["type"], tuple(str(part) for part in first["loc"] if part != "[key]")
    name = ".".join(way) or "the file"
    if kind == "extra_forbidden":
        return source.error(way, _unknown(name, way[-1], _model_at(way[:-1]).model_fields))
    if kind == "missing":
        return source.error(way[:-1], f"{name} is missing, and there is no default for it")
    context, value = first.get("ctx", {}), first["input"]
    if kind == "literal_error":
        allowed = _literals(way)
        if way[0] == "objective" and way[1].startswith(("test_", "ood_")):
            return source.error(way, f"objective: {unknown_metric(way[1])}")
        hint = nearest(way[-1] if way[0] == "objective" and value in way else str(value), allowed)
        metric = way[0] == "objective" and allowed == get_args(Metric)
        return source.error(
            way, f"{'objective' if metric else name} is one of {', '.join(allowed)}, not {value!r}{hint}"
        )
    rules = {
        "value_error": str(context.get("error")),
        "int_type": "a whole number",
        "float_type": "a number",
        "bool_type": "true or false",
        "string_type": "text",
        "dict_type": "a mapping of names to values",
        "list_type": "a list",
        "too_short": "two names, such as [folds, weights]",
        "too_long": "two names, such as [folds, weights]",
        "model_type": "a mapping of names to values",
        "model_attributes_type": "a mapping of names to values",
        "greater_than_equal": f"at least {context.get('ge')}",
        "less_than_equal": f"at most {context.get('le')}",
        "greater_than": f"above {context.get('gt')}",
    }
    rule = _SCHEDULER if way == ("scheduler",) else rules.get(kind, first["msg"])
    return source.error(way, f"{name} is {rule}, not {value!r}")


def _model_at(way: tuple[str, ...]) -> type[BaseModel]:
    """The section that stands at `way`."""
    model: type[BaseModel] = Study
    for part in way:
        kind = model.model_fields[part].annotation
        candidates = [kind, *get_args(kind)]
        model = next(one for one in candidates if isinstance(one, type) and issubclass(one, BaseModel))
    return model


def _literals(way: tuple[str, ...]) -> tuple[str, ...]:
    if way[0] == "objective":
        return get_args(Direction) if way[1] in get_args(Metric) else get_args(Metric)
    return get_args(_model_at(way[:-1]).model_fields[way[-1]].annotation)


def _unknown(dotted: str, name: str, known: Iterable[str]) -> str:
    names = list(known)
    where = dotted.rpartition(".")[0]
    hint = nearest(name, names)
    hint = hint.replace("did you mean ", f"did you mean {where}.") if where else hint
    return f"{dotted} is not a known name{hint} (known here: {', '.join(sorted(names))})"
