"""The tables at a study's end: an ablation, a Pareto front, configurations with repeats, the best of each method."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table

from flowsearch.cli.live import short
from flowsearch.cli.terminal import table
from flowsearch.results.forms import duration, written
from flowsearch.results.labels import labels
from flowsearch.results.objective import finite
from flowsearch.results.standings import SHOWN, in_order, measured, standings
from flowsearch.study.enumeration import varied
from flowsearch.study.parameter import show

if TYPE_CHECKING:
    from flowsearch.study.progress import Progress
    from flowsearch.study.standing import Configuration

_MOST = 10
"""Configurations in a table of those with repeats; trials that lost something, and warnings, that are named."""
_NAMED = 4
"""Trials that are named with the warning that they share."""
_INTERVALS = "± is a 95% interval of the mean over n repeats (seeds), by Student's t; one repeat has none"
_PAIRED = "; of a difference, over the repeats with the same seed"


def closing_tables(progress: "Progress") -> list[Table]:
    """The tables that the study's mode asks for, one for each task; none for a search of one objective."""
    study = progress.study
    if study.mode == "ablate":
        draw = ablation_table
    elif len(study.objective) > 1:
        draw = front_table
    elif study.mode == "grid" or study.repeats > 1:
        draw = ranking_table
    else:
        return []
    return [draw(progress, task) for task in progress.tasks]


def standings_tables(progress: "Progress") -> list[Table]:
    """The best configuration of each method, a row a method; a table for each task."""
    from flowsearch.study.standing import ranked

    known = ranked(progress.study, progress.trials.values())
    names = labels([one.trials[0].config for one in known])
    shown = {progress.study.metric, "measurement_psnr", *SHOWN}
    rows = [
        {"trial_id": one.completed[0].id, "task": one.task, "label": name} | {of: one.mean(of) for of in shown}
        for one, name in zip(known, names, strict=True)
    ]
    found = standings(rows, progress.study.metric, more=progress.study.direction == "maximize")
    tables = []
    for task, best in found.items():
        heads = ("method", "test", "ood", "SSIM", "time/image", "parameters")
        made = _table(progress, task, "the best of each method", heads, left=1)
        made.add_row("measured", *_standing({"test_psnr": measured(best)}))
        for name in in_order(found):
            if name in best:
                made.add_row(name, *_standing(best[name]))
        made.caption = (
            f"PSNR in dB and SSIM of {best_of(progress)} by the objective{_within(progress)}; ood: out of distribution"
        )
        tables.append(made)
    return tables


def best_of(progress: "Progress") -> str:
    """What a table of the best shows."""
    return "the best trial" if progress.study.repeats == 1 else "the best configuration (means over its repeats)"


def best_lines(progress: "Progress") -> list[str]:
    """A line for the best configuration of each task; what stands in its way, where there is none."""
    from flowsearch.analysis.wording import as_good
    from flowsearch.study.standing import ranked

    study = progress.study
    if len(study.objective) > 1:
        return []
    lines = []
    for task in progress.tasks:
        of = "" if task is None else f" on {task}"
        best = progress.best_of(task)
        if best is not None:
            trial, mean = best.completed[0], written(study.metric, best.mean(study.metric), unit=True)
            count = len(best.completed)
            of_all = f"{count} of {study.repeats}" if count < study.repeats else str(count)
            repeats = f" (mean of {of_all} repeats)" if study.repeats > 1 else ""
            ties = as_good(
                [
                    one.completed[0].id
                    for one in ranked(study, progress.of(task))[1:]
                    if one.mean(study.metric) == best.mean(study.metric)
                ]
            )
            told = f"{short(_proposed(progress, best))}{f'; {ties}' if ties else ''}"
            lines.append(f"best{of}: trial {trial.id}, {mean}{repeats}: {told}")
        elif study.constraints and any(trial.status == "completed" for trial in progress.of(task)):
            lines.append(f"no best{of}: none of the completed trials keeps to {' and '.join(study.constraints)}")
    return lines


def lost_lines(progress: "Progress") -> list[str]:
    """What went with workers and machines that went away, and was run again elsewhere; nothing where none did."""
    hit = {trial.id: trial.losses for _, trial in sorted(progress.trials.items()) if trial.losses}
    if not hit:
        return []
    losses = [loss for one in hit.values() for loss in one]
    seconds = sum(loss.seconds for loss in losses)
    times = "once" if len(losses) == 1 else f"{len(losses)} times"
    lines = [
        f"workers or machines went away {times}, from {len(hit)} trial{'s' if len(hit) > 1 else ''} that went on from "
        f"checkpoints; at most {duration(seconds)} of training were lost and run again:"
    ]
    for trial, its in list(hit.items())[:_MOST]:
        told = [
            f"{duration(loss.seconds) if loss.seconds else 'nothing'} of epoch {loss.epoch + 1}"
            + (f" on {loss.host}" if loss.host else "")
            + ("" if loss.seconds else " (its machine gave notice)")
            for loss in its
        ]
        lines.append(f"  trial {trial}: {'; '.join(told)}")
    return [*lines, *([f"  and {len(hit) - _MOST} more"] if len(hit) > _MOST else [])]


def warning_lines(progress: "Progress") -> list[str]:
    """What trials warned of, each text with the trials that it came from; nothing where none did."""
    found: dict[str, list[str]] = {}
    for _, trial in sorted(progress.trials.items()):
        for text in (trial.warnings or "").splitlines():
            found.setdefault(text, []).append(trial.id)
    lines = []
    for text, ids in list(found.items())[:_MOST]:
        more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
        lines.append(f"warning of trial{'s' if len(ids) > 1 else ''} {', '.join(ids[:_NAMED])}{more}: {text}")
    left = len(found) - _MOST
    return [*lines, *([f"{left} more warning{'s' if left > 1 else ''} in the report"] if left > 0 else [])]


def ablation_table(progress: "Progress", task: str | None) -> Table:
    """The baseline, then each configuration by what differs from it, with the difference that it makes."""
    from flowsearch.study.standing import configurations

    study = progress.study
    metric = study.metric
    names = ["factor", "value", metric, "difference", *_also(progress), "parameters", *_repeated(progress)]
    made = _table(progress, task, "the baseline, and what differs from it", names, left=2)
    found = configurations(progress.of(task))
    baseline = next((one for one in found if not _varied(progress, one)), None)
    for one in found:
        other = _varied(progress, one)
        made.add_row(
            ", ".join(other) or "baseline",
            ", ".join(_value(value) for value in other.values()),
            _mean(one, metric),
            _difference(one, baseline, metric) if other else "",
            *(_mean(one, name) for name in _also(progress)),
            _mean(one, "parameters"),
            *(str(len(one.completed)) for _ in _repeated(progress)),
        )
    made.caption = _caption("PSNR in dB", _INTERVALS + _PAIRED if study.repeats > 1 else "")
    return made


def front_table(progress: "Progress", task: str | None) -> Table:
    """The Pareto front: configurations that no other beats in every objective."""
    from flowsearch.study.standing import ranked

    study = progress.study
    heads = ["trial", *study.objective, *_repeated(progress), "configuration"]
    made = _table(progress, task, "the Pareto front", heads, left=0)
    found = progress.front(task)
    for one in found:
        made.add_row(
            one.completed[0].id,
            *(_mean(one, metric) for metric in study.objective),
            *(str(len(one.completed)) for _ in _repeated(progress)),
            short(_proposed(progress, one)),
        )
    feasible = len(ranked(study, progress.of(task)))
    said = f"{len(found)} of the {feasible} completed configurations{_within(progress)}"
    made.caption = _caption(said, _INTERVALS if study.repeats > 1 else "")
    return made


def ranking_table(progress: "Progress", task: str | None) -> Table:
    """The best configurations, by the mean over their repeats."""
    from flowsearch.study.standing import ranked

    names = [progress.study.metric, *_also(progress)]
    heads = ["trial", *names, *_repeated(progress), "configuration"]
    made = _table(progress, task, "the best configurations", heads, left=0)
    found = ranked(progress.study, progress.of(task))
    for one in found[:_MOST]:
        means = [_mean(one, name) for name in names]
        repeats = [str(len(one.completed)) for _ in _repeated(progress)]
        made.add_row(one.completed[0].id, *means, *repeats, short(_proposed(progress, one)))
    said = f"{min(_MOST, len(found))} of {len(found)} completed configurations{_within(progress)}; PSNR in dB"
    made.caption = _caption(said, _INTERVALS if progress.study.repeats > 1 else "")
    return made


def _table(progress: "Progress", task: str | None, what: str, heads: Iterable[str], *, left: int) -> Table:
    """An empty table; the first `left` columns, and the configuration's, are text."""
    of = "" if task is None else f" on {task}"
    heads = list(heads)
    numbers = [head for head in heads[left:] if head != "configuration"]
    return table(heads, right=numbers, wrapped=("configuration",), title=f"{progress.study.name}: {what}{of}")


def _within(progress: "Progress") -> str:
    """The limits that what a table shows keeps to."""
    limits = progress.study.constraints
    return f" that keep to {' and '.join(limits)}" if limits else ""


def _standing(trial: Mapping[str, Any]) -> list[str]:
    return [written(name, trial.get(name), empty="") for name in SHOWN]


def _caption(*said: str) -> str:
    return "\n".join(one for one in said if one)


def _also(progress: "Progress") -> list[str]:
    """What is shown beside the objective."""
    return [name for name in ("test_psnr",) if name not in progress.study.objective]


def _repeated(progress: "Progress") -> list[str]:
    """The column of how many repeats were completed, where there are any."""
    return ["n"] if progress.study.repeats > 1 else []


def _proposed(progress: "Progress", one: "Configuration") -> dict[str, Any]:
    return {name: value for name, value in one.trials[0].values.items() if name in progress.study.space}


def _varied(progress: "Progress", one: "Configuration") -> dict[str, Any]:
    return varied(progress.study.baseline, _proposed(progress, one))


def _value(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else show(value)


def _mean(one: "Configuration", metric: str) -> str:
    """`28.31 ±0.12`, as far as it is known."""
    values = one.measured(metric)
    return _around(values, metric) if values else ""


def _difference(one: "Configuration", baseline: "Configuration | None", metric: str) -> str:
    """How much more than the baseline, over the repeats that both completed."""
    if baseline is None:
        return ""
    first, second = (
        {trial.repeat: finite(trial.metrics, metric) for trial in each.completed} for each in (one, baseline)
    )
    both = [(first[repeat], second.get(repeat)) for repeat in first]
    pairs = [one - two for one, two in both if one is not None and two is not None]
    return _around(pairs, metric, sign="+") if pairs else ""


def _around(values: list[float], metric: str, sign: str = "") -> str:
    from flowsearch.statistics import student_interval

    interval = student_interval(values)
    text = written(metric, abs(interval.mean))
    below = interval.mean < 0 and any(digit in text for digit in "123456789")
    around = f" ±{written(metric, interval.high - interval.mean)}" if interval.n > 1 and metric != "parameters" else ""
    return f"{'-' if below else sign}{text}{around}"
