"""`flowsearch study plan`."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from calling import flowsearch

from flowsearch.data import Counted
from flowsearch.study import load
from flowsearch.study.plan import make_plan
from flowsearch.training.build import build_model
from flowsearch.training.need import flow_parameters


def test_a_plan_knows_the_smallest_and_the_largest(file: Path) -> None:
    code, printed, said = flowsearch("study", "plan", file, "--set", "resources.gpu=auto", "--gpu-memory", 1, "--json")
    assert code == 0, said
    plan = json.loads(printed)
    assert (plan["trials"], plan["priors"], plan["priors_at_most"]) == (4, 4, True)
    small, _, large = plan["corners"]
    assert small["values"] == {"prox": "resnet", "folds": 1} or small["values"]["depth"] == 1
    assert (large["values"]["prox"], large["values"]["folds"], large["values"]["depth"]) == ("glow", 3, 4)
    assert small["bytes"] < large["bytes"]
    assert 0.6 < small["gpu_share"] <= large["gpu_share"] <= 1
    assert plan["hours"] is None


@pytest.mark.parametrize(
    ("sets", "priors"),
    [
        (["space.levels=[2]", "space.depth={int: [1, 2]}"], 2),
        (["fixed.pretrain=false"], 0),
        (["search.trials=3"], 3),
        (["search.trials=3", "repeats=5"], 3),
        (["space={folds: [1, 2], depth: {choice: [1], when: {folds: 1}}}", "fixed.levels=1"], 2),
    ],
    ids=["two depths", "none pre-trained", "no more than trials", "repeats share one", "the default is one more"],
)
def test_a_plan_counts_priors(file: Path, sets: list[str], priors: int) -> None:
    assert make_plan(load(file, sets)).priors == priors


def test_a_measured_step_gives_time_and_cost(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "flowsearch.bench.steps.measure_step",
        lambda config, channels, threads: {"seconds": 9.0 * config.folds, "bytes": 1e6},
    )
    monkeypatch.setattr("flowsearch.bench.steps.measure_prior", lambda config, channels, threads: {"seconds": 9.0})
    study = load(
        file,
        [
            "space={folds: [1, 2, 3]}",
            "fixed={prox: resnet, epochs: 100, batch_size: 4}",
            "budget={hours: 0.25, usd: 100.0, usd_per_hour: 10.0}",
        ],
    )
    plan = make_plan(study, measure=True, cpus=1, shapes=tmp_path / "shapes.json")
    # 4 trials of 100 epochs of 4 steps of 18 s, one after another
    assert plan.hours == pytest.approx(4 * 100 * 4 * 18 / 3600)
    assert plan.hours_at_most == pytest.approx(1.5 * plan.hours)
    assert plan.usd == pytest.approx(10 * plan.hours)
    assert plan.cuts == [
        "0.25 hours: enough for about 0 of 4 trials",
        "100 USD: enough for all, about 80 are needed",
    ]
    again = make_plan(study, cpus=2, shapes=tmp_path / "shapes.json")
    assert again.hours == pytest.approx(plan.hours / 2)


def test_what_a_study_of_the_largest_costs_is_by_the_largest_share_of_a_gpu(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "flowsearch.bench.steps.measure_step",
        lambda config, channels, threads: {"seconds": 9.0 * config.folds, "bytes": 2e9 * config.folds**2},
    )
    sets = [
        "space={folds: [1, 2, 3]}",
        "fixed={prox: resnet, epochs: 100, batch_size: 4}",
        "resources={gpu: auto}",
        "budget={usd: 100.0, usd_per_gpu_hour: 10.0}",
    ]
    plan = make_plan(load(file, sets), measure=True, cpus=16, gpu_bytes=int(40e9), shapes=tmp_path / "shapes.json")
    middle, largest = plan.corners[1:]
    assert (math.floor(1 / middle.gpu_share), math.floor(1 / largest.gpu_share)) == (3, 1)
    hours = 4 * 100 * 4 * 18 / 3600
    assert (plan.hours, plan.hours_at_most) == pytest.approx((hours / 3, 1.5 * hours))
    assert (plan.gpu_hours, plan.gpu_hours_at_most) == pytest.approx(
        (hours * middle.gpu_share, 1.5 * hours * largest.gpu_share)
    )
    assert (plan.usd, plan.usd_at_most) == pytest.approx((10 * plan.gpu_hours, 10 * plan.gpu_hours_at_most))


MIXED = ["mode=grid", "search={}", "space={prox: [glow, resnet, unet], folds: [1, 2], depth: [1, 2]}"]


def test_a_grid_s_disk_is_all_its_networks_and_priors(file: Path, tmp_path: Path) -> None:
    study = load(file, [*MIXED, "fixed={epochs: 1, levels: 1, hidden: 8, features: 4, channels: 8}"])
    plan = make_plan(study, cpus=1, shapes=tmp_path / "shapes.json")
    configs = [study.config(point) for point in study.points()]
    networks = [sum(one.numel() for one in build_model(config, 3).parameters()) for config in configs]
    flows = {config.depth: flow_parameters(config, 3) for config in configs if config.pretrain}
    assert (plan.trials, plan.priors) == (len(networks), len(flows)) == (8, 2)
    assert plan.disk_bytes == 4 * (sum(networks) + sum(flows.values()))
    assert plan.disk_bytes_at_most == plan.disk_bytes + 24 * max(networks)


def test_the_disk_of_a_search_is_bounded_by_the_most_parameters(file: Path, tmp_path: Path) -> None:
    sets = ["space={folds: [1], prox: [resnet, unet]}", "fixed={features: 64, channels: 8}"]
    study = load(file, [*sets, "data.size=32"])
    plan = make_plan(study, cpus=1, shapes=tmp_path / "shapes.json")
    resnet, unet = (study.config({"folds": 1, "prox": prox}) for prox in ("resnet", "unet"))
    assert plan.corners[-1].config["prox"] == "resnet", "the largest by memory has fewer parameters"
    most = max(sum(one.numel() for one in build_model(config, 3).parameters()) for config in (resnet, unet))
    assert plan.disk_bytes_at_most == (4 * 4 + 24) * most > plan.disk_bytes


def test_the_time_of_priors_counts_where_only_other_trials_have_them(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowsearch.bench.steps.measure_step", lambda *_: {"seconds": 1.0, "bytes": 1e6})
    monkeypatch.setattr("flowsearch.bench.steps.measure_prior", lambda *_: {"seconds": 100.0})
    fixed = "fixed={epochs: 1, batch_size: 4, levels: 1, depth: 1, hidden: 8, channels: 8}"
    study = load(file, ["mode=grid", "search={}", "space={prox: [glow, unet], folds: [1, 2]}", fixed])
    plan = make_plan(study, measure=True, cpus=1, shapes=tmp_path / "shapes.json")
    assert [corner.config["prox"] for corner in plan.corners] == ["glow", "unet", "unet"]
    assert plan.hours * 3600 == pytest.approx(4 * 4 + 100)  # 4 trials of 4 steps of 1 s, a prior of one step


def test_a_plan_is_for_the_channels_of_the_images(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowsearch.study.survey.counted", lambda config: Counted(channels=1, pretraining=config.train))
    sets = ["space={folds: [1]}", "fixed={prox: glow, depth: 1, levels: 1, hidden: 4, epochs: 1, pretrain: false}"]
    study = load(file, sets)
    (corner,) = make_plan(study, measure=True, shapes=tmp_path / "shapes.json").corners
    network = build_model(study.config({"folds": 1}), 1)
    assert corner.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert all(" images=1" in shape for shape in json.loads((tmp_path / "shapes.json").read_text())["CPU"])


def test_a_step_is_measured_for_real(file: Path, tmp_path: Path) -> None:
    study = load(file, ["space={folds: [1]}", "fixed={prox: glow, depth: 1, levels: 1, hidden: 4, epochs: 1}"])
    plan = make_plan(study, measure=True, shapes=tmp_path / "shapes.json")
    (corner,) = plan.corners
    assert corner.measured
    assert corner.step_seconds > 0
    assert corner.prior_seconds > 0
    assert plan.hours > 0


def test_the_paper_s_ablation_is_planned_within_five_seconds() -> None:
    file = Path(__file__).parents[2] / "studies" / "ablation.yaml"
    command = [sys.executable, "-m", "flowsearch", "study", "plan", str(file), "--gpu-memory", "80"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "54 trials, 6 priors to pre-train" in done.stdout


@pytest.mark.parametrize("name", ["quickstart", "baselines", "own_parts"])
def test_every_example_has_a_plan(name: str) -> None:
    code, printed, said = flowsearch("study", "plan", Path(__file__).parents[2] / "studies" / f"{name}.yaml")
    assert code == 0, said
    assert "largest" in printed
    assert "--gpu-memory" not in printed, "only gpu: auto asks for a GPU's memory"


def test_a_plan_says_that_the_images_are_too_few_here(file: Path) -> None:
    code, printed, said = flowsearch("study", "plan", file, "--set", "data.source=elsewhere", "--json")
    assert (code, json.loads(printed)["trials"]) == (0, 4)
    assert "warning: here the study would not run: there is no data set 'elsewhere'" in said


def test_a_plan_calls_a_source_of_ones_own_that_fails_once(file: Path) -> None:
    body = "def load(size, *, seed, count):\n    print('called')\n    raise OSError('no answer')\n    yield\n"
    (file.parent / "silent_source.py").write_text(body)
    code, printed, said = flowsearch("study", "plan", file, "--set", "data.source=silent_source:load")
    assert (code, printed.count("called")) == (2, 1)
    assert "error: image 0 of silent_source:load failed: OSError: no answer (silent_source.py, line 3)" in said
