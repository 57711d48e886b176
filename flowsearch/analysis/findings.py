"""What a study found, in sentences with numbers and their limits. Plain text: whoever shows it, escapes it."""

import pandas as pd

from flowsearch.analysis.comparisons import ALPHA, held_against, lost_seeds, p_told, reached
from flowsearch.analysis.factors import factor_sentences
from flowsearch.analysis.wording import (
    above,
    as_good,
    chosen_by,
    counted,
    described,
    devices,
    kept,
    listed,
    named,
    not_finite,
    of_all,
    over,
    plural,
    spread,
    without_objective,
)
from flowsearch.results import Results, schema
from flowsearch.results.configurations import front, objectives, ranked
from flowsearch.results.forms import missing, signed, whole, written
from flowsearch.results.scores import IMAGES, SEEDS, SEEDS_AND_IMAGES, non_finite

_TOLD = 2
"""So many tasks are told one by one; more are summed up."""
_LISTED = 4
"""So many tasks or methods are named in one sentence."""
_OVER = {
    IMAGES: "the test images only, for one training on a side: they say nothing of other seeds",
    SEEDS: "seeds",
    SEEDS_AND_IMAGES: "seeds and the test images",
}
_SPLITS = {"test": "test images", "ood": "images out of distribution"}


def findings(results: Results) -> list[str]:
    """About ten sentences at most, however many tasks: the best configurations and their gain, who is ahead of whom,
    what single factors do, and what the intervals say and do not say."""
    if results.trials.empty:
        return ["No trial has been recorded yet."]
    if results.completed.empty:
        return [_none_completed(results)]
    if len(objectives(results)) > 1:
        return [*_fronts(results), *_unknown(results), *_lost(results), *_mixed(results), *factor_sentences(results)]
    if len(results.tasks) > _TOLD:
        best = [_bests(results)]
    else:
        best = [_of_task(results, task, _best(results, task)) for task in results.tasks]
    held = held_against(results)
    aside = [*_unknown(results), *_lost(results), *_mixed(results)]
    return [*best, *aside, *_against(results, held), *factor_sentences(results), *_limits(results, held)]


def status_line(results: Results) -> str:
    """How far the study is: counted trials, and what is missing from those asked for."""
    counts = results.counts
    asked = asked_for(results)
    total = len(results.trials)
    ended = sum(count for status, count in counts.items() if status in schema.ENDED)
    line = f"{plural(total, 'trial')}: {counted(counts)}." if total else "No trials yet."
    if asked is not None and ended < asked:
        line += f" The study is not finished: {ended:,} of {asked:,} trials asked for {_have(ended)} ended."
    elif ended < total:
        line += " The study is not finished."
    return line


def asked_for(results: Results) -> int | None:
    """Number of trials that the study file asks for, where it says so."""
    study = results.study
    if study.get("mode", "search") != "search":
        count = results.provenance.get("trials")
    else:
        search = study.get("search")
        count = search.get("trials") if isinstance(search, dict) else None
        if isinstance(count, int):
            count *= len(study.get("tasks") or [None]) * int(study.get("repeats") or 1)
    return count if isinstance(count, int) and not isinstance(count, bool) else None


def leading(results: Results) -> set[str]:
    """The trials of the best configuration of each task; with several objectives, of those on the Pareto front."""
    chosen: set[str] = set()
    for task in results.tasks:
        found = _front(results, task) if len(objectives(results)) > 1 else ranked(results, task).head(1)
        chosen |= {trial for trials in found["trials"] for trial in trials}
    return chosen


def _none_completed(results: Results) -> str:
    reasons = results.trials["reason"].dropna()
    often = f" The most frequent reason: {reasons.mode().iloc[0]}." if len(reasons) else ""
    return (
        f"None of {plural(len(results.trials), 'trial')} has been completed ({counted(results.counts)}), "
        f"so there is nothing to compare yet.{often}"
    )


def _best(results: Results, task: str) -> str:
    best = ranked(results, task)
    metric, _ = results.objective
    if best.empty:
        return f"No completed trial has the objective {metric}{kept(results)}."
    one = best.iloc[0]
    text = f"Best by {named(metric)}: trial {one['trial_id']} ({described(one)}"
    text += "" if missing(one["parameters"]) else f"; {whole(one['parameters'])} parameters"
    seeds = one["repeats"] + one["lost"]
    text += f"; mean of {of_all(one)} seeds)" if seeds > 1 else ")"
    ties = as_good(best["trial_id"][1:][best[metric] == one[metric]].tolist())
    text += f"; {ties}." if ties else "."
    for split, where in (
        ("test", "It reaches {} on the test images"),
        ("ood", "Out of distribution it reaches {}"),
    ):
        row = reached(results, best.head(1), split).iloc[0]
        if row["score"] is not None:
            gain = row["gain"]
            text += f" {where.format(spread(row['score']))}"
            text += f", {above(gain.interval.mean)} their measurements ({over(gain)})." if gain is not None else "."
    return text


def _unknown(results: Results) -> list[str]:
    """Which configurations have no objective, and which means are unknown for an image that is not finite."""
    lacking = without_objective(results)
    said = [f"{lacking}."] if lacking else []
    found = non_finite(results)
    if found.empty:
        return said
    return [
        *said,
        f"Reconstructions that are not finite leave means over their images unknown: {not_finite(found, _LISTED)}.",
    ]


def _mixed(results: Results) -> list[str]:
    """That trials ran on unlike devices, if they did."""
    if results.trials["device"].nunique() < 2:
        return []
    return [f"Trials ran on {devices(results)}: times and peak memory of one are not those of the other."]


def _lost(results: Results) -> list[str]:
    """Which of the configurations that stand for their methods are judged by some of their seeds only."""
    found = lost_seeds(results, _LISTED)
    if not found:
        return []
    return [f"Seeds that were pruned, failed or diverged have no part in the means of the others: {found}."]


def _bests(results: Results) -> str:
    """The best of each of many tasks, in one sentence."""
    metric, _ = results.objective
    parts, several = [], results.tasks
    for task in several[:_LISTED]:
        best = ranked(results, task).head(1)
        if len(best):
            row = reached(results, best).iloc[0]
            text = f"{task}: {row['label']}, trial {row['trial_id']}"
            parts.append(text + (f", {spread(row['score'])} on its test images" if row["score"] else ""))
        else:
            parts.append(f"{task}: no completed trial has it{kept(results)}")
    text = f"Best by {named(metric)}, task by task. {'; '.join(parts)}"
    return text + (f"; {len(several) - _LISTED} more tasks in the table below." if len(several) > _LISTED else ".")


def _fronts(results: Results) -> list[str]:
    """With several objectives: how large each task's Pareto front is, and what lies at its ends."""
    wanted = objectives(results)
    names = listed([f"{named(name)} ({'more' if more else 'less'} is better)" for name, more in wanted.items()])
    limits = [limit.text for limit in results.limits]
    within = f" within {listed(limits)}," if limits else ""
    said = []
    for task in results.tasks[:_LISTED]:
        known = ranked(results, task)
        found = _front(results, task)
        if found.empty:
            said.append(_of_task(results, task, f"No completed configuration has all of {names}{kept(results)}."))
            continue
        ends = []
        for name, more in wanted.items():
            end = found.sort_values(name, ascending=not more, kind="stable").iloc[0]
            values = listed([f"{named(other)} {written(other, end[other], unit=True)}" for other in wanted])
            ends.append(f"the best {named(name)} is that of trial {end['trial_id']} ({end['label']}): {values}")
        kinds = listed([f"{count} {kind}" for kind, count in found["label"].value_counts().items()])
        text = (
            f"No single best: of {plural(len(known), 'completed configuration')}{within} {len(found)} ({kinds}) are on "
            f"the Pareto front of {names}, where no other equals or beats them in all. At its ends, {'; '.join(ends)}."
        )
        said.append(_of_task(results, task, text))
    left = len(results.tasks) - _LISTED
    return [*said, f"The fronts of {plural(left, 'more task')} are in the table below."] if left > 0 else said


def _front(results: Results, task: str) -> pd.DataFrame:
    known = ranked(results, task)
    wanted = {name: more for name, more in objectives(results).items() if name in known}
    return known[front(known, wanted)]


def _against(results: Results, held: pd.DataFrame) -> list[str]:
    """Ours against every other method, on the test images and out of distribution."""
    if len(results.tasks) > _TOLD:
        rows = {where: held[held["split"] == split] for split, where in _SPLITS.items()}
        return [_summed_up(own, where) for where, own in rows.items() if len(own)]
    said = []
    for task, own in held.groupby("task", sort=True):
        kinds = list(own.groupby("second", sort=False))
        parts = []
        for other, pair in kinds[:_LISTED]:
            told = listed([_difference(row) for _, row in pair.iterrows()])
            parts.append(f"against best {other} (trial {pair['second_trial'].iloc[0]}) {told}")
        more = f"; {len(kinds) - _LISTED} more in the table below" if len(kinds) > _LISTED else ""
        first = own.iloc[0]
        text = f"Best {first['first']} (trial {first['first_trial']}) {'; '.join(parts)}{more}."
        said.append(_of_task(results, str(task), text))
    return said


def _difference(row: pd.Series) -> str:
    where = _SPLITS[row["split"]] if row["images"] != 1 else _SPLITS[row["split"]].replace("images", "image")
    on = f"on the same {row['images']} {where}" if row["images"] else f"in mean PSNR of the {where}"
    text = f"{signed(row['difference'])} dB {on}"
    if not row["over"]:
        return f"{text} (one value each, so no interval)"
    return f"{text} ({_ends(row)}, {'; '.join(p_told(row['p_holm'], row['low'], row['high']))})"


def _summed_up(rows: pd.DataFrame, where: str) -> str:
    """Ours against each other method over many tasks, in one sentence."""
    parts = []
    kinds = rows.groupby(["first", "second"], sort=False)
    for (one, two), own in list(kinds)[:_LISTED]:
        clear = own[own["p_holm"] <= ALPHA]
        ahead, behind = int((clear["difference"] > 0).sum()), int((clear["difference"] < 0).sum())
        text = f"best {one} against best {two}: ahead on {ahead}, behind on {behind} of {plural(len(own), 'task')}"
        low, high = own["difference"].min(), own["difference"].max()
        parts.append(f"{text} ({signed(low)} to {signed(high)} dB)")
    more = f"; {len(kinds) - _LISTED} more pairs in the table below" if len(kinds) > _LISTED else ""
    return f"On the {where}, counting clear differences: {'; '.join(parts)}{more}."


def _limits(results: Results, held: pd.DataFrame) -> list[str]:
    """What the numbers above are, and what they do not say."""
    if held.empty:
        return []
    kinds = {kind for kind in held["over"] if kind}
    told = []
    if kinds:
        what = _OVER[IMAGES] if kinds == {IMAGES} else _OVER[SEEDS] if kinds == {SEEDS} else _OVER[SEEDS_AND_IMAGES]
        what += (
            ", and over the test images alone where a side has one seed" if IMAGES in kinds and len(kinds) > 1 else ""
        )
        told.append(
            f"Intervals are at 95% and over {what}; p-values are corrected for the "
            f"{plural(int(held['p'].notna().sum()), 'comparison')} of methods (Holm)."
        )
    configs = results.configurations
    configs = configs[configs["task"].isin(held["task"]) & configs["label"].isin({*held["first"], *held["second"]})]
    tried = configs.groupby(["label", "task"]).size()
    if tried.max() > 1:  # of one of each nothing was chosen
        names = tried.groupby("label").sum().sort_values(ascending=False, kind="stable").index[:_LISTED]
        counts = listed([f"{_range(tried[name])} {name}" for name in names])
        each = " a task" if len(held["task"].unique()) > 1 else ""
        told.append(
            f"Each configuration was chosen by its {chosen_by(results)}, from {counts} completed "
            f"configurations{each}; a longer search could change what each is capable of."
        )
    return [" ".join(told)] if told else []


def _range(counts: pd.Series) -> str:
    low, high = counts.min(), counts.max()
    return str(low) if low == high else f"{low} to {high}"


def _of_task(results: Results, task: str, sentence: str) -> str:
    return f"{task}: {sentence}" if len(results.tasks) > 1 else sentence


def _ends(row: pd.Series) -> str:
    seeds = f" over {row['seeds']} seeds" if row["seeds"] > 1 else ""
    return f"95% interval {signed(row['low'])} to {signed(row['high'])}{seeds}"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"
