"""The tables of the paper (I: test images, II: out of distribution, III: with and without pre-training), from whatever
tasks and methods a study has, with intervals; and what a reader needs to judge them by."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from flowsearch.analysis import published
from flowsearch.analysis.comparisons import OURS, UNTRIED, held_against, lost_seeds, reached, turned
from flowsearch.analysis.findings import status_line
from flowsearch.analysis.paper_figures import paper_figures
from flowsearch.analysis.paper_formats import Cell, Paper, Table
from flowsearch.analysis.wording import chosen_by, command_line, devices, kept, not_finite, without_objective
from flowsearch.results import Results, schema
from flowsearch.results.compare import differences
from flowsearch.results.configurations import best_of_each, configurations, objectives, ranked, varies
from flowsearch.results.forms import EMPTY, decibels, missing, number, p_value, signed, whole, written
from flowsearch.results.scores import IMAGES, SEEDS, SEEDS_AND_IMAGES, Score, non_finite
from flowsearch.statistics import holm

_OVER = {
    IMAGES: "images",
    SEEDS: "seeds",
    SEEDS_AND_IMAGES: "seeds and images",
    "": "one value: no interval",
}
_SETS = {"test": "test", "ood": "out of distribution"}
_WIDE = 5
"""More methods than this are no columns."""


def paper(results: Results, figures: bool = False) -> Paper:
    """The tables of a study, and its `figures`; without completed trials none, and the lead says so."""
    if results.completed.empty:
        return Paper(results.name, status_line(results) + " No trial was completed, so there are no tables.")
    found = {split: _reached(results, split) for split in _SETS}
    held, trained = held_against(results), _of_pretraining(results)
    tables = [
        _psnr(results, found["test"], "Table I: PSNR on the test images"),
        _gains(held, "test", "Gains in table I"),
        _psnr(results, found["ood"], "Table II: PSNR out of distribution"),
        _gains(held, "ood", "Gains in table II"),
        _pretrained(results, trained),
        _beside(found),
        _gains_beside(held, trained, results.tasks),
        _settings(results, trained),
    ]
    return Paper(
        results.name,
        f"{status_line(results)} {_lacking(results, found)}".strip(),
        [one for one in tables if one is not None],
        _notes(results),
        paper_figures(results) if figures else [],
    )


def _lacking(results: Results, found: dict[str, dict[str, pd.DataFrame]]) -> str:
    """Why there are no tables, or none of the test sets; empty where there are."""
    if any(found.values()):
        return ""
    if ranked(results).empty:
        return f"No completed trial has the objective {results.objective[0]}{kept(results)}, so there are no tables."
    return "Of no test image is there a result, so tables I to III are left out."


def _psnr(results: Results, found: dict[str, pd.DataFrame], title: str) -> Table | None:
    """A row per task, a column per method: the paper's tables I and II. With many methods these are the rows."""
    methods = _in_order(found)
    if not methods:
        return None
    rows = []
    for task, table in found.items():
        scores = _scores(table)
        unknown = set(table["label"]) - set(scores)
        tried = {name: score for name, score in scores.items() if name not in UNTRIED}
        top = max((decibels(score.interval.mean) for score in tried.values()), key=float, default="")
        gains = [(row["score"], row["gain"]) for _, row in table.iterrows() if row["gain"] is not None]
        measured = decibels(gains[0][0].interval.mean - gains[0][1].interval.mean) if gains else EMPTY
        cells = [Cell(task), Cell(measured)]
        for name in methods:
            text = _spread(scores[name]) if name in scores else "unknown" if name in unknown else EMPTY
            cells.append(Cell(text, name in scores and decibels(scores[name].interval.mean) == top))
        images, seeds = ({getattr(score, what) for score in scores.values()} for what in ("images", "seeds"))
        rows.append([*cells, Cell(_range(images)), Cell(_range(seeds))])
    heads = ["task", "measured", *methods, "images", "seeds"]
    if len(methods) > _WIDE:
        columns = zip([Cell(head) for head in heads], *rows, strict=True)
        (_, *names), *rows = [list(column) for column in columns]
        heads = ["method", *(name.text for name in names)]
    caption = (
        "Mean PSNR in dB with its 95% interval, of each method's best configuration by "
        f"{_choice(results)}, over its completed seeds and the images; bold: the highest mean. Images differ in how "
        "hard they are, so these intervals are wider than those of the gains."
    )
    if any(cell.text == "unknown" for row in rows for cell in row):
        caption += " Unknown: over a reconstruction that is not finite; the notes at the end count these."
    return Table(title, caption, heads, rows)


def _reached(results: Results, split: str) -> dict[str, pd.DataFrame]:
    """By task, the best configuration of each method with what it reached on a test set; no score where that is unknown
    for an image that is not finite."""
    rows = non_finite(results)
    failed = set(rows.loc[rows["split"] == split, "trial_id"])
    found = {}
    for task in results.tasks:
        table = reached(results, best_of_each(results, "label", task), split)
        lost = pd.Series([not failed.isdisjoint(trials) for trials in table["trials"]], table.index, dtype=bool)
        found[task] = table[table["score"].notna() | lost]
    return {task: table for task, table in found.items() if len(table)}


def _scores(table: pd.DataFrame) -> dict[str, Score]:
    """What is known, by method."""
    return {name: score for name, score in zip(table["label"], table["score"], strict=True) if score is not None}


def _gains(held: pd.DataFrame, split: str, title: str) -> Table | None:
    """A row per task and baseline: how far ours is ahead of it."""
    own = held[held["split"] == split]
    if own.empty:
        return None
    rows = [_cells(row["task"], f"{row['first']} − {row['second']}", *_difference(row)) for _, row in own.iterrows()]
    caption = (
        "Difference in mean PSNR in dB with its 95% interval, paired by image, and by seed where both sides have the "
        "same; p-values two-sided and corrected for all gains of tables I and II together (Holm); intervals are not."
    )
    return Table(title, caption, ["task", "difference", "dB", "p", "images", "seeds", "interval over"], rows, 2)


def _pretrained(results: Results, table: pd.DataFrame) -> Table | None:
    """Ours with and without pre-training: the paper's table III."""
    if table.empty:
        return None
    rows = []
    for _, row in table.iterrows():
        means = [decibels(row[f"{side}_mean"]) for side in ("second", "first")]
        sides = [Cell(mean, mean == max(means, key=float)) for mean in means]
        rows.append([Cell(str(row["task"])), *sides, *_cells(*_difference(row))])
    caption = (
        "Mean PSNR in dB on the test images of the best configurations with and without a pre-trained prior, each by "
        f"{_choice(results)}; the gain with its 95% interval, paired as above; p-values corrected for this "
        "table, intervals not."
    )
    heads = ["task", "without", "with", "gain (dB)", "p", "images", "seeds", "interval over"]
    return Table("Table III: with and without pre-training", caption, heads, rows)


def _of_pretraining(results: Results) -> pd.DataFrame:
    """Ours, pre-trained, minus ours that is not, by task: rows as `Results.compare` has them, corrected together."""
    table = differences(results, "pretrain", ["task", "label"])
    table = table[table["label"].isin(OURS)]
    table = table.assign(p_holm=holm(table["p"].to_numpy(dtype=float)))
    if table.empty:
        return table
    pretrained = table["first"].astype(bool)
    return pd.concat([table[pretrained], turned(table[~pretrained])]).sort_index()


def _beside(found: dict[str, dict[str, pd.DataFrame]]) -> Table | None:
    """The PSNR that the paper has of the same network on the same task."""
    rows = []
    for split, set_name in _SETS.items():
        for task, table in found[split].items():
            for name, theirs, score in published.beside(_scores(table), task, split):
                beyond = signed(score.interval.mean - theirs)
                rows.append(_cells(task, set_name, name, decibels(theirs), _spread(score), beyond))
    if not rows:
        return None
    caption = (
        "Mean PSNR in dB as the paper prints it, for its own images at 64 x 64, and here (95% interval). The images, "
        "their size, the networks and how long they were trained differ as far as Settings and Provenance say."
    )
    return Table(
        "Beside the paper: PSNR", caption, ["task", "images", "network", "paper", "here", "difference"], rows, 3
    )


def _gains_beside(held: pd.DataFrame, trained: pd.DataFrame, tasks: list[str]) -> Table | None:
    """What the paper is about, its gains, and ours."""
    rows = []
    for task in tasks:
        for split, set_name in _SETS.items():
            theirs, own = published.gain_over_the_better(task, split), published.over_the_better(held, task, split)
            if theirs is not None and own is not None:
                gain = f"Glow over {own['second']}, the better baseline"
                rows.append(_cells(task, set_name, gain, signed(theirs), _difference(own)[0]))
    for _, own in trained.iterrows():
        theirs = published.gain_of_pretraining(own["task"])
        if theirs is not None:
            gain = "pre-training of the Glow"
            rows.append(_cells(own["task"], _SETS["test"], gain, signed(theirs), _difference(own)[0]))
    if not rows:
        return None
    caption = (
        "Differences in mean PSNR in dB: as the paper's tables I to III have them, and here with the 95% interval."
    )
    return Table("Beside the paper: gains", caption, ["task", "images", "gain", "paper", "here"], rows, 3)


def _settings(results: Results, trained: pd.DataFrame) -> Table | None:
    """What the configurations in the tables are, those of `trained` in table III too, in the names in which they
    differ."""
    every = configurations(results)
    best = pd.concat([best_of_each(results, "label", task) for task in results.tasks], ignore_index=True)
    best = best[~best["label"].isin(UNTRIED)]
    of_three = every["trial_id"].isin({*trained["first_trial"], *trained["second_trial"]})
    more = every[of_three & ~every["trial_id"].isin(best["trial_id"])]
    if best.empty:
        return None
    best = pd.concat([best, more], ignore_index=True).sort_values("task", kind="stable")
    tried = every.groupby(["task", "label"]).size()
    known = [one.name for one in schema.CONFIG_COLUMNS if one.name not in ("task", "method", "prox", "seed")]
    names = [name for name in known if varies(best[name])]
    rows = []
    for _, row in best.iterrows():
        settings = ["" if missing(row[name]) else number(row[name]) for name in names]
        costs = [written(name, row[name]) for name in ("parameters", "seconds_per_image", "repeats")]
        count = whole(tried[row["task"], row["label"]])
        rows.append(_cells(row["task"], row["label"], row["trial_id"], *settings, *costs, count))
    same = [name for name in known if name not in names and best[name].notna().any()]
    alike = ", ".join(f"{name} {number(best[name].dropna().iloc[0])}" for name in same)
    with_or_without = ", or the best with or without pre-training (table III)" if len(more) else ""
    caption = (
        "The configurations in the tables, and what they differ in; the last column is how many of the method were "
        f"completed, of which this is the best{kept(results)}{with_or_without}."
        + (f" The same in all that have it: {alike}." if alike else "")
    )
    heads = ["task", "method", "trial", *(name.replace("_", " ") for name in names)]
    return Table("Settings", caption, [*heads, "parameters", "time of an image", "seeds", "configurations"], rows, 3)


def _notes(results: Results) -> list[tuple[str, str]]:
    """Where the numbers come from."""
    data, facts = results.study.get("data"), results.provenance
    notes = []
    if isinstance(data, Mapping):
        notes.append(("data", ", ".join(f"{name} {value}" for name, value in data.items() if value is not None)))
    if facts.get("data_fingerprint"):
        notes.append(("fingerprint of the data", str(facts["data_fingerprint"])))
    git = facts.get("git")
    if isinstance(git, Mapping) and git.get("commit"):
        changed = git.get("changed") or git.get("dirty")
        notes.append(("commit", f"{git['commit']}{' with uncommitted changes' if changed else ''}"))
    if facts.get("cpus"):
        notes.append(("machine", ", ".join(filter(None, [facts.get("processor"), f"{facts['cpus']} CPUs"]))))
    if (ran_on := devices(results)) not in ("", facts.get("processor")):
        notes.append(("trials on", ran_on))
    command = facts.get("command")
    if isinstance(command, list) and command:
        notes.append(("command", command_line(command)))
    versions = facts.get("versions")
    if isinstance(versions, Mapping):
        notes.append(("versions", ", ".join(f"{name} {value}" for name, value in versions.items() if value)))
    chosen = f"{_choice(results)}; the test images chose nothing"
    if len(objectives(results)) > 1:
        chosen += f". The study has other objectives too: {', '.join(list(objectives(results))[1:])}"
    notes.append(("chosen by", chosen))
    if lost := lost_seeds(results, len(results.configurations)):
        notes.append(("lost seeds", f"{lost} were pruned, failed or diverged; means are over the others"))
    if lacking := without_objective(results):
        notes.append(("without objective", lacking))
    if len(failed := non_finite(results)):
        notes.append(("not finite", f"{not_finite(failed, len(failed))}; means over them are unknown"))
    return [*notes, *(("not read", note) for note in results.notes)]


def _cells(*texts: Any) -> list[Cell]:
    return [Cell(str(text)) for text in texts]


def _choice(results: Results) -> str:
    mean = ", the mean over its repeats" if results.configurations["repeats"].max() > 1 else ""
    return f"{chosen_by(results)}{mean}"


def _in_order(found: Mapping[str, pd.DataFrame]) -> list[str]:
    """The methods: baselines first and ours last, as in the paper."""
    names = list(dict.fromkeys(str(name) for table in found.values() for name in reversed(table["label"].tolist())))
    names = [name for name in names if name not in UNTRIED]
    return sorted(names, key=lambda name: name in OURS)


def _difference(row: Any) -> list[str]:
    """A difference's cells: with interval, p, images, seeds, and what the interval is over."""
    text = signed(row["difference"])
    if row["over"]:
        text += f" [{signed(row['low'])}, {signed(row['high'])}]"
    p = EMPTY if pd.isna(row["p_holm"]) else p_value(row["p_holm"]).removeprefix("p ").removeprefix("= ")
    return [text, p, whole(row["images"]) if row["images"] else EMPTY, whole(row["seeds"]), _OVER[row["over"]]]


def _spread(score: Score) -> str:
    mean = decibels(score.interval.mean)
    return f"{mean} [{decibels(score.interval.low)}, {decibels(score.interval.high)}]" if score.over else mean


def _range(counts: set[int]) -> str:
    low, high = min(counts), max(counts)
    return (str(low) if low == high else f"{low}–{high}") if high else EMPTY
