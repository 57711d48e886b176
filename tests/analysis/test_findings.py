"""The report's sentences hold the tables' numbers, and claim no more than those allow."""

import html
from pathlib import Path

import pytest
from known_study import known_study
from made_up import make_study

from flowsearch.analysis.comparisons import held_against
from flowsearch.analysis.configurations_table import configurations_table
from flowsearch.analysis.findings import asked_for, findings, status_line
from flowsearch.analysis.paper_tables import paper
from flowsearch.analysis.standings_table import standings_table
from flowsearch.analysis.trials_table import maps_table
from flowsearch.results import Results, load


def test_the_best_is_told_with_its_numbers(results: Results) -> None:
    best, first = results.best(), findings(results)[0]
    assert f"trial {best['trial_id']}" in first
    assert f"It reaches {best['test_psnr']:.2f} dB (" in first
    images = results.images[(results.images["trial_id"] == best["trial_id"]) & (results.images["split"] == "test")]
    assert f"{(images['psnr'] - images['measurement_psnr']).mean():.2f} dB above their measurements" in first
    assert f"n = {len(images)} images" in first


@pytest.mark.parametrize("other", ["resnet", "unet"])
def test_glow_is_held_against_the_baselines(results: Results, other: str) -> None:
    (sentence,) = (text for text in findings(results) if f"against best {other}" in text and "test images" in text)
    best = results.by("prox")["best_trial"]
    images = results.images[results.images["split"] == "test"].set_index(["trial_id", "image"])["psnr"]
    assert f"{(images[best['glow']] - images[best[other]]).mean():+.2f} dB on the same 24 test images" in sentence


@pytest.mark.parametrize(
    ("more", "asked"),
    [
        ("search: {trials: 5}\n", 5),
        ("search: {trials: 5}\ntasks: [denoise-0.1, deblur-5]\nrepeats: 3\n", 30),
        ("mode: grid\nsearch: {window: 8}\n", 12),
    ],
    ids=["search", "tasks and repeats", "grid"],
)
def test_how_many_trials_a_study_asks_for(tmp_path: Path, more: str, asked: int) -> None:
    (tmp_path / "study.yaml").write_text(f"name: x\n{more}")
    (tmp_path / "provenance.json").write_text('{"trials": 12}')
    assert asked_for(load(tmp_path)) == asked


def test_few_trials_on_a_side_are_no_finding(results: Results) -> None:
    (sentence,) = (text for text in findings(results) if text.startswith("Pre-training"))
    glow = results.completed[results.completed["prox"] == "glow"]
    counts = glow["pretrain"].value_counts()
    assert counts.min() < 5
    assert f"dB of {counts[True]} and" in sentence
    assert f"dB of {counts[False]}." in sentence
    assert "no finding by itself" in sentence
    assert "interval" not in sentence


def test_many_trials_get_an_interval_and_its_limit(tmp_path: Path) -> None:
    results = load(make_study(tmp_path / "many", trials=60, epochs=3, images=4))
    (sentence,) = (text for text in findings(results) if text.startswith("Pre-training"))
    assert "95% interval" in sentence
    assert "not the choice's alone" in sentence


def test_a_single_fold_has_no_weights_to_tie(results: Results) -> None:
    (sentence,) = (text for text in findings(results) if text.startswith("Tied or untied weights"))
    several = results.completed[results.completed["folds"] > 1]
    assert len(several) < len(results.completed)
    several = several.groupby("prox").filter(lambda own: own["weights"].nunique() > 1)
    for weights, own in several.groupby("weights"):
        assert weights in sentence
        assert f"{own['test_psnr'].mean():.2f} dB of {len(own)}" in sentence


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, ""),
        ({"denoise-0.1": 1, "inpaint-9": 1}, "from 2 glow, 1 resnet and 1 unet completed configurations a task;"),
        ({"inpaint-9": 2}, "from 1 to 3 glow, 1 resnet and 1 unet completed configurations a task;"),
    ],
    ids=["one of each", "two glows", "on one task more"],
)
def test_what_was_chosen_from_is_counted_on_each_task(tmp_path: Path, more: dict[str, int], said: str) -> None:
    worth = [
        ({"task": task, "prox": prox}, 28.0)
        for task in ("denoise-0.1", "inpaint-9")
        for prox in ("glow", "resnet", "unet", *["glow"] * more.get(task, 0))
    ]
    told = findings(known_study(tmp_path / "s", worth))[-1]
    assert said in told
    assert ("chosen" in told) == bool(said)
    assert "Intervals are at 95%" in told


def test_what_stands_on_the_seeds_that_got_through_says_so(tmp_path: Path) -> None:
    worth = [({"prox": "glow"}, 29.0), ({"prox": "unet"}, 28.0)]
    results = known_study(tmp_path / "s", worth, repeats=3, of_seed=0.1)
    results.trials.loc[results.trials["trial_id"].isin(["0001", "0002"]), "status"] = "diverged"
    told = findings(results)
    assert "mean of 1 of 3 seeds)" in told[0]
    assert told[1].endswith("no part in the means of the others: 2 of 3 of trial 0000's configuration.")
    assert "for one training on a side" in told[-1]
    for table in (maps_table(results), configurations_table(results)):
        assert "1 of 3" in table
    assert dict(paper(results).notes)["lost seeds"].startswith("2 of 3 of trial 0000's")


def test_of_seeds_that_all_got_through_nothing_is_said(tmp_path: Path) -> None:
    results = known_study(tmp_path / "s", [({"prox": "glow"}, 29.0)], repeats=3, of_seed=0.1)
    assert "mean of 3 seeds)" in findings(results)[0]
    assert not any("no part" in text for text in findings(results))
    assert "lost seeds" not in dict(paper(results).notes)


LIMITS = 'constraints: ["parameters <= 1500"]\n'


def test_of_many_tasks_one_without_a_best_says_why(tmp_path: Path) -> None:
    worth = [
        ({"task": task, "parameters": size}, 28.0)
        for task, size in (("denoise-0.1", 1000), ("inpaint-9", 2000), ("deblur-5", 1000))
    ]
    told = findings(known_study(tmp_path / "s", worth, study=LIMITS))[0]
    assert "inpaint-9: no completed trial has it and keeps to parameters <= 1500" in told


@pytest.mark.parametrize(("limits", "mean"), [("", "27.00"), (LIMITS, "28.00")], ids=["no limits", "limits"])
def test_what_the_mean_of_each_method_is_over_is_said(tmp_path: Path, limits: str, mean: str) -> None:
    worth = [({"parameters": 1000}, 28.0), ({"parameters": 2000}, 26.0)]
    table = maps_table(known_study(tmp_path / "s", worth, study=limits))
    assert f'2 of 2</td><td class="n">{mean}</td>' in table
    assert ("The mean is over all that were completed and keep to that." in table) == bool(limits)


def test_what_the_best_is_the_best_by_is_said_where_it_is_shown(tmp_path: Path) -> None:
    worth = [({"parameters": size, "val_loss": 1 / size}, 20 + size / 1000) for size in (1000, 1500, 2000)]
    study = "objective: {val_loss: minimize, parameters: minimize}\n"
    results = known_study(tmp_path / "s", worth, study=study + LIMITS)
    by = "validation loss, the first of 2 objectives, among what keeps to parameters <= 1500"
    made = paper(results)
    for text in (maps_table(results), standings_table(results), made.tables[0].caption, dict(made.notes)["chosen by"]):
        assert by in html.unescape(text)
    (settings,) = (table.caption for table in made.tables if table.title == "Settings")
    assert "this is the best and keeps to parameters <= 1500" in settings
    assert "val loss" in maps_table(results)
    assert "of 2 completed configurations within parameters <= 1500, 2 (2 glow) are on" in findings(results)[0]


def test_a_difference_without_a_p_value_is_not_counted_as_corrected(tmp_path: Path) -> None:
    results = known_study(tmp_path / "s", [({"prox": "glow"}, 29.0), ({"prox": "unet"}, 28.0)])
    results.images = results.images[(results.images["split"] == "test") | (results.images["image"] == 0)]
    assert "corrected for the 1 comparison of methods" in findings(results)[-1]


def test_what_else_is_as_good_as_the_best_is_said(tmp_path: Path) -> None:
    worth = [({"val_psnr": value}, 28.0) for value in (27.0, 28.0, 28.0, 28.0)]
    assert "trials 0002 and 0003 reach the same." in findings(known_study(tmp_path / "tied", worth))[0]
    assert "the same." not in findings(known_study(tmp_path / "one", worth[:2]))[0]


def test_why_an_interval_without_zero_is_no_clear_difference_is_said(tmp_path: Path) -> None:
    worth = [({"prox": "glow"}, 28.0), ({"prox": "unet"}, 27.94), ({"prox": "resnet"}, 20.0)]
    results = known_study(tmp_path / "s", worth, images=30, seed=9)
    row = held_against(results).set_index(["second", "split"]).loc[("unet", "ood")]
    assert row["low"] > 0
    assert row["p"] < 0.05 < row["p_holm"]
    (text,) = (one for one in findings(results) if "against best unet" in one)
    assert f"{row['p_holm']:.3f} corrected for all comparisons; no clear difference)" in text
    assert text.count("corrected for all comparisons") == 1, "not where the difference is clear"


@pytest.mark.parametrize(("images", "said"), [(1, "the same 1 test image"), (2, "the same 2 test images")])
def test_one_image_is_no_images(tmp_path: Path, images: int, said: str) -> None:
    results = known_study(tmp_path / "s", [({"prox": "glow"}, 29.0), ({"prox": "unet"}, 28.0)], images=images)
    assert any(f"{said} (" in text for text in findings(results))


def test_each_task_is_told_apart(tmp_path: Path) -> None:
    from flowsearch.results import Writer

    study = make_study(tmp_path / "two", trials=4)
    row = load(study).trials.iloc[0].dropna().to_dict()
    with Writer(study) as writer:
        row |= {"trial_id": "0100", "index": 100, "configuration": 100}
        writer.trial(row | {"task": "inpaint-9", "val_psnr": 50.0})
    texts = findings(load(study))
    assert any(text.startswith("inpaint-9: Best by validation PSNR: trial 0100") for text in texts)
    assert any(text.startswith("denoise-0.1: Best by") for text in texts)
    assert not any("0100" in text for text in texts if text.startswith("denoise"))


@pytest.mark.parametrize(
    ("trials", "statuses", "unfinished", "said"),
    [
        pytest.param(0, None, False, "No trials yet.", id="empty"),
        pytest.param(3, ["failed"], False, "3 trials: 3 failed.", id="failed only"),
        pytest.param(3, ["completed"], True, "not finished: 2 of 3 trials asked for have ended", id="running"),
        pytest.param(14, None, False, "14 trials: 10 completed, 2 pruned, 1 failed and 1 diverged.", id="finished"),
    ],
)
def test_the_status_line_says_how_far_it_is(
    trials: int, statuses: list[str] | None, unfinished: bool, said: str, tmp_path: Path
) -> None:
    results = load(make_study(tmp_path / "s", trials=trials, statuses=statuses, unfinished=unfinished))
    assert said in status_line(results)


def test_an_interrupted_study_says_what_is_missing(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=4)
    text = (study / "study.yaml").read_text().replace("trials: 4", "trials: 9")
    (study / "study.yaml").write_text(text)
    assert "4 of 9 trials asked for have ended" in status_line(load(study))


def test_failed_trials_only_is_said_with_the_reason(tmp_path: Path) -> None:
    (sentence,) = findings(load(make_study(tmp_path / "s", trials=3, statuses=["failed"])))
    assert "None of 3 trials has been completed" in sentence
    assert "out of memory" in sentence
