"""One rule for the best: a configuration of a task, by the mean over its repeats, within the constraints."""

from pathlib import Path

import pandas as pd
import pytest

from flowsearch.analysis.standings_table import standings_table
from flowsearch.analysis.wording import described
from flowsearch.results import Results, load
from flowsearch.results.export import to_latex
from flowsearch.study.model_folder import export_model
from tests.known_study import known_study
from tests.made_up import make_study


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """36 completed trials, 12 configurations with three repeats; the best of them, and what is larger, not allowed."""
    study = make_study(tmp_path_factory.mktemp("best") / "s", trials=36, repeats=3, statuses=["completed"], seed=3)
    everything = load(study).configurations
    bound = int(everything.loc[everything["val_psnr"].idxmax(), "parameters"]) - 1
    text = (study / "study.yaml").read_text()
    (study / "study.yaml").write_text(f'{text}constraints: ["parameters <= {bound}"]\n')
    return load(study)


def test_the_luckiest_seed_and_what_breaks_a_limit_would_be_others(repeated: Results) -> None:
    means = repeated.configurations.set_index("configuration")["val_psnr"]
    luckiest = repeated.completed.loc[repeated.completed["val_psnr"].idxmax()]
    best = repeated.ranked().iloc[0]
    assert means.idxmax() != best["configuration"]
    assert luckiest["val_psnr"] > best["val_psnr"]


def test_the_best_is_the_first_repeat_of_the_best_configuration(repeated: Results) -> None:
    means = repeated.completed.groupby("configuration")[["val_psnr", "parameters"]].mean()
    allowed = means[means["parameters"] <= repeated.limits[0].bound]
    best = repeated.best()
    assert (best["configuration"], best["repeat"]) == (allowed["val_psnr"].idxmax(), 0)
    assert repeated.ranked().iloc[0]["val_psnr"] == pytest.approx(allowed["val_psnr"].max())


def test_summary_export_and_report_show_the_same_numbers(repeated: Results) -> None:
    latex, table = to_latex(repeated), standings_table(repeated)
    summary = repeated.by("label")
    assert summary["best_test_psnr"].notna().any()
    for label, row in summary.iterrows():
        if pd.isna(row["best_trial"]):
            assert str(label) not in latex
            continue
        own = repeated.configurations.set_index("trial_id").loc[row["best_trial"]]
        assert row["best_test_psnr"] == own["test_psnr"]
        for text in (latex, table):
            assert f"{own['test_psnr']:.2f}" in text


def test_where_nothing_keeps_to_the_limits_that_is_why_there_is_no_best(repeated: Results) -> None:
    results = load(repeated.path)
    results.study["constraints"] = ["parameters <= 1"]
    with pytest.raises(ValueError, match=r"that keep to parameters <= 1, and s has none \(36 completed\)"):
        results.best()


def test_what_is_not_finite_is_not_the_best(tmp_path: Path) -> None:
    worth = [({"val_psnr": float("inf")}, 29.0), ({"val_psnr": float("nan")}, 28.0), ({}, 27.0)]
    results = known_study(tmp_path / "s", worth)
    assert results.best()["trial_id"] == "0002"
    assert results.by("label")["best_val_psnr"].tolist() == [27.0]


def test_a_mean_of_what_repeats_tuned_to_different_values_is_not_told(tmp_path: Path) -> None:
    results = known_study(tmp_path / "s", [({"used_strength": 0.05}, 29.0), ({"used_strength": 0.1}, 28.0)], repeats=2)
    results.trials["used_strength"] = [0.05, 0.006, 0.1, 0.1]
    told = [described(one) for one in results.configurations.to_dict("records")]
    assert ["strength" in text for text in told] == [False, True]
    assert "strength 0.1" in told[1]


def test_a_group_that_divides_repeats_has_a_best_of_its_own(repeated: Results) -> None:
    assert repeated.by("repeat")["best_val_psnr"].notna().all()


def test_tasks_are_not_compared(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=4, statuses=["completed"], tasks=("denoise-0.1", "inpaint-9"))
    results = load(study)
    assert results.tasks == ["denoise-0.1", "inpaint-9"]
    with pytest.raises(ValueError, match=r"has denoise-0\.1, inpaint-9; ask for the best of one: task='denoise-0\.1'"):
        results.best()
    for task in results.tasks:
        assert results.best(task=task)["task"] == task
    with pytest.raises(ValueError, match=r"s has no task 'denoise-0\.2'; did you mean denoise-0\.1\?"):
        results.best(task="denoise-0.2")
    with pytest.raises(ValueError, match=r"for each task; name one by --trial: .*\(denoise-0\.1, .*\(inpaint-9, "):
        export_model(results, tmp_path / "model")
