"""The study files that come with flowsearch are ones that can be run, at full size and with each of their profiles."""

from pathlib import Path

import pytest
import yaml

from flowsearch.study import load
from flowsearch.study.layout import Layout
from flowsearch.study.plan import make_plan

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))
FORMS = [
    (path, profile)
    for path in STUDIES
    for profile in (None, *yaml.safe_load(path.read_text(encoding="utf-8")).get("profiles", {}))
]


@pytest.mark.parametrize(
    ("path", "profile"), FORMS, ids=[f"{path.stem}-{profile or 'full'}" for path, profile in FORMS]
)
def test_it_can_be_planned(path: Path, profile: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(path.parent))  # own_parts.yaml's module lies beside it
    study = load(path, profile=profile)
    made = make_plan(study)
    assert made.trials == Layout.of(study).total > 1
    assert study.name == (path.stem if profile is None else f"{path.stem}-{profile}")


def test_the_papers_tables_have_its_network_and_data() -> None:
    """Sections VI-A and VI-B."""
    for name in ("table1", "table3", "fair"):
        study = load(STUDIES[0].parent / f"{name}.yaml")
        config = study.config({"task": "deblur-5", "prox": "glow", "pretrain": True, "lr": 1e-5})
        assert (config.folds, config.depth, config.levels, config.hidden, config.last_depth) == (5, 18, 4, 512, 1)
        assert (config.weights, config.start, config.scalar_lr) == ("untied", "mode", 1e-2)
        assert (config.data.train, config.data.val, config.data.test, config.data.size) == (992, 200, 200, 64)
        assert study.tasks == ["denoise-0.1", "denoise-0.2", "inpaint-19", "deblur-5"]
