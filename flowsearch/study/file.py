"""Reads a study file, with every check that can be made before anything runs."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from flowsearch.checks import nearest
from flowsearch.data.config import DataConfig
from flowsearch.results.objective import EPOCH_METRICS, UPWARDS, unknown_metric
from flowsearch.study import modes
from flowsearch.study.parameter import PARSED, SpaceError
from flowsearch.study.sections import Asha, Budget, Failures, Hyperband, Median, Resources, Scheduler, Search, Study
from flowsearch.study.source import Source, StudyFileError
from flowsearch.training.config import PriorConfig, TrialConfig
from flowsearch.training.prox_names import SEARCHED

_RULES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "dict_type": "a mapping of names to values",
    "list_type": "a list",
    "too_short": "two names, such as [folds, weights]",
    "too_long": "two names, such as [folds, weights]",
    "model_type": "a mapping of names to values",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "greater_than": "above {gt}",
}
"""What each of pydantic's complaints is about."""

_SUCH_AS = {
    "data": "{source: faces, size: 64}",
    "objective": "{val_psnr: maximize}",
    "search": "{sampler: tpe, trials: 64}",
    "prior": "{epochs: 100}",
    "budget": "{hours: 12}",
    "resources": "{cpu: 2, gpu: auto}",
}
"""Sections that people write as a single value, as they should be written."""

_TRIAL = tuple(name for name in TrialConfig.field_types() if name != "prox_parameters")
_NAMES = {
    "fixed": _TRIAL,
    "space": _TRIAL,
    "data": tuple(field.name for field in fields(DataConfig)),
    "prior": tuple(field.name for field in fields(PriorConfig)),
    "scheduler": tuple(Scheduler.model_fields),
    "scheduler.asha": tuple(Asha.model_fields),
    "scheduler.hyperband": tuple(Hyperband.model_fields),
    "scheduler.median": tuple(Median.model_fields),
    "search": tuple(Search.model_fields),
    "budget": tuple(Budget.model_fields),
    "failures": tuple(Failures.model_fields),
    "resources": tuple(Resources.model_fields),
    "the file's top level": tuple(Study.model_fields),
}
"""The names of each section, to say where one that stands elsewhere belongs."""


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
    try:
        study = Study.model_validate(source.values, context=source)
    except ValidationError as error:
        raise _first_error(source, error) from None
    return checked(study)


def checked(study: Study) -> Study:
    """A study whose parts have the right types, with the rules on names and values checked and defaults filled in.

    Raises StudyFileError, which names the line where the study was read from a file.
    """
    _check_names(study)
    _check_budget(study)
    _check_objective(study)
    resolved = {"data": _resolved(study, "data", DataConfig), "prior": _resolved(study, "prior", PriorConfig)}
    study = modes.settled(study.model_copy(update=resolved | {"fixed": _fixed(study)}))
    for branch in study.branches:
        try:
            branch.parsed_space().check(branch.config, branch.named_points())
        except SpaceError as error:
            way = _way_to(error, study)
            several = way[0] == "fixed" and isinstance(study.fixed[way[1]], list | dict)
            hint = f"; what is to be tried stands under space, as {way[1]}: [...]" if several else ""
            raise study.error(way, f"{error}{hint}") from None
    return study


def _check_names(study: Study) -> None:
    """Each name of a trial is known, and stands in one place."""
    for section, names in (("fixed", study.fixed), ("space", study.space)):
        for name in names:
            own = name.removeprefix(SEARCHED)
            if name == own or not own.isidentifier():
                if name not in _TRIAL:
                    raise study.error((section, name), _unknown((section, name), _TRIAL))
            elif section == "fixed":
                raise study.error(
                    (section, name),
                    f"fixed.{name}: a parameter that is not searched stands with the map, such as "
                    f"prox: {{mylab.nets:DnCNN: {{{own}: {study.fixed[name]}}}}}",
                )
    for name in study.fixed:
        if name in study.space:
            raise study.error(("fixed", name), f"{name} is in both fixed and space; a name is either fixed or searched")
    if study.tasks is not None:
        for section in ("fixed", "space"):
            if "task" in getattr(study, section):
                raise study.error((section, "task"), "tasks says which tasks there are; take this one away, or tasks")


def _check_budget(study: Study) -> None:
    budget = study.budget
    prices = [name for name in ("usd_per_gpu_hour", "usd_per_hour") if getattr(budget, name) is not None]
    if len(prices) > 1:
        raise study.error(("budget", prices[1]), "budget has one price: usd_per_gpu_hour or usd_per_hour")
    if budget.usd is not None and not prices:
        raise study.error(
            ("budget", "usd"),
            "budget.usd needs a price: usd_per_gpu_hour (of a GPU) or usd_per_hour (of the whole machine), in budget",
        )


def _check_objective(study: Study) -> None:
    """Each metric is judged the right way round, and a scheduler can judge by the only one."""
    if not study.objective:
        raise study.error(("objective",), "objective has at least one metric, such as val_psnr: maximize")
    for metric, direction in study.objective.items():
        if direction != UPWARDS[metric]:
            raise study.error(
                ("objective", metric), f"{metric} is better the other way; write {metric}: {UPWARDS[metric]}"
            )
    if study.scheduler is None:
        return
    if len(study.objective) > 1:
        raise study.error(
            ("scheduler",), "trials are stopped early by one objective, not by several; write scheduler: none"
        )
    if study.metric not in EPOCH_METRICS:
        raise study.error(
            ("objective", study.metric),
            f"{study.scheduler.named} judges by what is known after each epoch ({', '.join(EPOCH_METRICS)}), not by "
            f"{study.metric}; change the objective or write scheduler: none",
        )


def _resolved(study: Study, name: str, config: type[DataConfig] | type[PriorConfig]) -> dict[str, Any]:
    """The section `name`, `data` or `prior`, with its defaults filled in."""
    section = getattr(study, name)
    for key in section:
        if key not in _NAMES[name]:
            raise study.error((name, key), _unknown((name, key), _NAMES[name]))
    try:
        return config.from_dict(section).to_dict()
    except ValueError as error:
        about = str(error).removeprefix(f"{name}.").split(" ", 1)[0]
        raise study.error((name, about) if about in section else (name,), f"{name}: {error}") from None


def _fixed(study: Study) -> dict[str, Any]:
    """`fixed` with its task and proximal map, which may be written as mappings, as their one text."""
    fixed = dict(study.fixed)
    for name, parse in PARSED.items():
        if name in fixed:
            try:
                fixed[name] = str(parse(fixed[name]))
            except ValueError as error:
                inside = fixed[name] if isinstance(fixed[name], dict) and len(fixed[name]) == 1 else ()
                raise study.error(("fixed", name, *inside), str(error)) from None
    return fixed


def _way_to(error: SpaceError, study: Study) -> tuple[str, ...]:
    """Where the name that `error` is about stands in the file."""
    for name in error.names:
        if name in study.baseline and f"not {study.baseline[name]!r}" in str(error):
            return ("baseline", name)
        for section in ("space", "fixed", "data"):
            if name in getattr(study, section):
                return (section, name, *error.below)
        if name == "task" and study.tasks is not None:
            return ("tasks",)
    return ("space",)


def _first_error(source: Source, error: ValidationError) -> StudyFileError:
    """pydantic's first complaint in words that a person can act on."""
    errors = error.errors(include_url=False)
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    kind, value, context = first["type"], first["input"], first.get("ctx", {})
    way = tuple(str(part) for part in first["loc"] if part != "[key]")
    name = ".".join(way) or "the file"
    if kind == "extra_forbidden":
        return source.error(way, _unknown(way, _section_at(way[:-1]).model_fields))
    if kind == "missing":
        for section, inside in source.values.items():
            if isinstance(inside, dict) and name in inside:
                return source.error((section, name), f"{name} stands inside {section}; indent it as {section} is")
        return source.error(way[:-1], f"{name} is missing, and there is no default for it")
    if kind == "value_error":
        return source.error(way, str(context["error"]))
    if kind == "literal_error":
        allowed = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        of_metric = "[key]" in first["loc"]
        if of_metric and value.startswith(("test_", "ood_")):
            return source.error(way, f"objective: {unknown_metric(value)}")
        what = "objective" if of_metric else name
        return source.error(way, f"{what} is one of {', '.join(allowed)}, not {value!r}{nearest(str(value), allowed)}")
    rule = _RULES[kind].format_map(context) if kind in _RULES else first["msg"]
    if kind in ("dict_type", "model_type") and name in _SUCH_AS:
        rule += f", such as {_SUCH_AS[name]}"
    return source.error(way, f"{name} is {rule}, not {value!r}")


def _section_at(way: Sequence[str]) -> type[BaseModel]:
    """The section that stands at `way`."""
    section: type[BaseModel] = Study
    for part in way:
        kind = section.model_fields[part].annotation
        section = next(one for one in (kind, *get_args(kind)) if isinstance(one, type) and issubclass(one, BaseModel))
    return section


def _unknown(way: Sequence[str], known: Iterable[str]) -> str:
    """What to say of a name that is none of those `known` in its place: where it belongs, or which is nearest."""
    above = "".join(f"{part}." for part in way[:-1])
    *others, last = [section for section, names in _NAMES.items() if way[-1] in names] or [""]
    if last:
        hint = f"; it belongs to {', '.join(others)}{' or ' if others else ''}{last}"
    else:
        hint = nearest(way[-1], known).replace("mean ", f"mean {above}", 1)
    return f"{above}{way[-1]} is not a known name{hint} (known here: {', '.join(sorted(known))})"
