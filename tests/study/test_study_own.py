"""Studies with parts of one's own: searched parameters, errors with their line, modules beside the study file."""

import json
import re
import shutil
import sys
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path

import pandas as pd
import pytest
from small_study import TEXT

from flowsearch.parts import beside, load_part, modules_in
from flowsearch.study import StudyFileError, load, own_parts, resume, run
from flowsearch.study.plan import make_plan
from flowsearch.study.source import dump
from flowsearch.training.prox_names import PROXES

STUDIES = Path(__file__).parents[2] / "studies"
TINY = ["data.size=16", "data.train=16", "data.val=4", "data.test=4", "data.ood=null", "fixed.epochs=1"]
TINY += [
    "resources.concurrent=1",
    "scheduler=none",
    "space.prox.layers.int=[2, 3]",
    "space.folds=[1]",
    "search.trials=2",
    "search.startup=2",
]

NETS = """
from own_package.helper import conv

def net(channels, size, width=2, layers=1):
    return conv(channels)

def unlike(channels, size):
    return conv(channels, 1, size)

def wrong(channels, size, layers=1):
    return conv(channels, 1 if layers < 3 else 2)

class Half:
    def A(self, x):
        return x / 2
    def A_adjoint(self, y):
        return y
"""
HELPER = """
from pathlib import Path
from torch import nn

def conv(channels, stride=1):
    assert (Path(__file__).parent / "data.txt").read_text() == "kept"
    return nn.Conv2d(channels, channels, 3, stride=stride, padding=1)
"""
OWN = TEXT.replace(
    "[glow, resnet, unet]", "[glow, {own_package.nets:net: {width: 3}}, own_package.nets:wrong]"
).replace("  weights:", "  prox.layers: {int: [1, 4], when: {prox: own_package.nets:net}}\n  weights:")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    package = tmp_path / "beside" / "own_package"
    package.mkdir(parents=True)
    for name, text in (("__init__.py", ""), ("nets.py", NETS), ("helper.py", HELPER), ("data.txt", "kept")):
        (package / name).write_text(text)
    (package.parent / "unused.py").write_text("raise SystemExit")
    (package.parent / "own.yaml").write_text(OWN)
    return package.parent


def test_a_parameter_of_a_map_is_searched_for_it_alone(folder: Path) -> None:
    study = load(folder / "own.yaml")
    space = study.parsed_space()
    for prox in space.parameters["prox"].choices:
        point = space.fill(lambda one, prox=prox: prox if one.name == "prox" else one.corners[-1])
        assert ("prox.layers" in point) == prox.startswith("own_package.nets:net")
        assert ("depth" in point) == (prox == "glow")
        config = study.config(point)
        assert config.prox == prox.partition("(")[0]
        expected = None if prox in (*PROXES, "own_package.nets:wrong") else "layers=4,width=3"
        assert config.prox_parameters == expected


def test_without_a_condition_it_is_searched_for_all_own_maps(folder: Path) -> None:
    study = load(folder / "own.yaml", ["space.prox.layers={int: [1, 4]}"])
    names = {point["prox"].partition("(")[0] for _, point in study.parsed_space().corners() if "prox.layers" in point}
    assert names == {"own_package.nets:net", "own_package.nets:wrong"}


def test_a_parameter_of_a_map_that_the_file_does_not_search_is_searched_by_set(folder: Path) -> None:
    (folder / "own.yaml").write_text(re.sub(r"  prox\.layers:.*\n", "", OWN))
    study = load(folder / "own.yaml", ["space.prox.layers=[1, 2]"])
    assert study.space["prox.layers"] == [1, 2]


@pytest.mark.parametrize(
    ("old", "new", "line", "rule"),
    [
        ("fixed: {epochs: 4}", "fixed: {epochs: 4, prox.width: 3}", 3, "prox: {mylab.nets:DnCNN: {width: 3}}"),
        ("{width: 3}", "{layers: 3}", 5, "layers is given with the map, and as prox.layers too"),
        ("when: {prox: own_package.nets:net}", "when: {prox: own_package.nets:nat}", 7, "never proposed"),
        ("{own_package.nets:net: {width: 3}}", "{unet: {width: 3}}", 5, "prox unet takes no parameters of its own"),
        ("own_package.nets:wrong]", "own_package.nets:]", 5, "or a map of your own, module:name"),
        (OWN[OWN.index("  prox:") : OWN.index("  folds")], "  prox: [glow, unet]\n", 7, "never proposed"),
    ],
    ids=["fixed", "twice", "condition", "built in", "no name", "nobody's"],
)
def test_what_cannot_be_is_refused_with_its_line(folder: Path, old: str, new: str, line: int, rule: str) -> None:
    (folder / "own.yaml").write_text(OWN.replace(old, new))
    with pytest.raises(StudyFileError) as caught:
        load(folder / "own.yaml")
    assert rule in str(caught.value)
    assert f"own.yaml, line {line}: " in str(caught.value)


@pytest.mark.parametrize(
    ("sets", "line", "rule"),
    [
        ([], 5, "prox own_package.nets:wrong, for images of shape (3, 32, 32), in evaluation gives images of the"),
        (["space={prox: [own_package.nets:nat], folds: {int: [1, 8]}}"], None, "holds no nat; did you mean net?"),
        (["fixed.prox=own_package.nuts:net", "space={folds: {int: [1, 8]}}"], None, "no module own_package.nuts"),
        (
            ["fixed.prox=own_package.nets:unlike", "space={folds: {int: [1, 8]}}"],
            None,
            "3 were given (nets.py, line 8)",
        ),
        (["fixed.task={own_package.nets:Half: {}}", "space={folds: {int: [1, 8]}}"], None, "fixed.task"),
    ],
    ids=["shape", "name", "module", "fails", "operator"],
)
def test_parts_are_tried_before_anything_runs(
    folder: Path, tmp_path: Path, sets: list[str], line: int | None, rule: str
) -> None:
    text = OWN if sets else OWN.replace("when: {prox: own_package.nets:net}", "when: {prox: own_package.nets:wrong}")
    (folder / "own.yaml").write_text(text)
    study = load(folder / "own.yaml", ["data={source: faces, size: 32, train: 4, val: 2, test: 2, ood: null}", *sets])
    with pytest.raises(StudyFileError) as caught:
        run(study, tmp_path / "results", cpus=2)
    assert rule in str(caught.value)
    assert ("--set" if line is None else f"own.yaml, line {line}: ") in str(caught.value)
    with own_parts.importable(study, {}), pytest.raises(StudyFileError, match=re.escape(str(caught.value))):
        make_plan(study, shapes=tmp_path / "shapes.json")
    assert not (tmp_path / "results").exists()
    assert not any(name.startswith("own_package") for name in sys.modules)


def test_a_part_of_a_notebook_is_refused(folder: Path, tmp_path: Path) -> None:
    study = load(folder / "own.yaml", ["fixed.prox=__main__:Net", "space={folds: {int: [1, 8]}}"])
    with pytest.raises(ValueError, match=r"__main__:Net is of this notebook or script, .* move it into a module"):
        run(study, tmp_path / "results", cpus=2)
    assert not (tmp_path / "results").exists()


def test_other_images_of_an_own_source_are_said_to_be_its_modules(folder: Path, tmp_path: Path) -> None:
    (folder / "own_pictures.py").write_text("def load(size):\n    return []\n")
    study = load(folder / "own.yaml", ["data.source=own_pictures:load"])
    root = tmp_path / "results" / "own"
    root.mkdir(parents=True)
    (root / "study.yaml").write_text(dump(study.to_dict()))
    (root / "provenance.json").write_text(json.dumps({"study_folder": str(folder), "data_fingerprint": "a"}))
    with pytest.raises(ValueError, match=r"\(fingerprint b, then a\); put its module and what it reads back, or begin"):
        resume(root, images=lambda config: "b")


def test_only_what_was_imported_is_carried(folder: Path) -> None:
    study = load(folder / "own.yaml")
    with own_parts.importable(study, {}):
        load_part("own_package.nets:net")
        near, far = (own_parts.carried(study, {}, far) for far in (False, True))
        assert set(modules_in(folder)) == {"own_package", "own_package.nets", "own_package.helper"}
    assert near is not None
    assert far is not None
    assert (near.folder, dict(near.files)) == (str(folder), {})
    assert set(far.files) == {f"own_package/{name}" for name in ("__init__.py", "nets.py", "helper.py", "data.txt")}
    assert own_parts.carried(load(folder / "own.yaml", ["space={prox: [glow, unet]}"]), {}, True) is None


@pytest.mark.parametrize("place", ["beside", "on the path"])
def test_what_has_changed_since_the_study_began_is_said(
    place: str, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    study = load(folder / "own.yaml")
    if place == "on the path":
        (folder / "own.yaml").rename(folder.parent / "own.yaml")
        study = load(folder.parent / "own.yaml")
        monkeypatch.syspath_prepend(folder)
    seen = []
    for changed in (False, False, True):
        if changed:
            (folder / "own_package" / "helper.py").write_text(HELPER + "# mended\n")
        with own_parts.importable(study, seen[0] if seen else {}):
            load_part("own_package.nets:net")
            seen.append(own_parts.provenance(study, seen[0] if seen else {}))
        assert ("changed since the study began" in caplog.text) == changed
        for name in [name for name in sys.modules if name.startswith("own_package")]:
            del sys.modules[name]
    assert str(folder / "own_package" / "helper.py") in caplog.text
    names = {f"own_package/{name}" for name in ("__init__.py", "nets.py", "helper.py")}
    assert set(seen[0]["parts"]) - {"own_package/data.txt"} == names


@pytest.mark.parametrize("where", ["a folder of another name", "one compiled file"])
def test_an_installed_module_is_found_again(where: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = folder.parent / "checkout" / "src"
    home.parent.mkdir()
    (folder / "own_package").rename(home)

    class Editable:
        """Finds it as an editable installation with `package-dir = {own_package = "src"}` does."""

        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
            if name != "own_package":
                return None
            return spec_from_file_location(name, home / "__init__.py", submodule_search_locations=[str(home)])

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Editable])
    part = "own_package.nets:net" if where == "a folder of another name" else "_ctypes:dlopen"
    study = load(folder / "own.yaml", [f"space={{prox: [{part}]}}"])
    with own_parts.importable(study, {}):
        load_part(part)
        known = own_parts.provenance(study, {})
    assert known["parts"]
    with own_parts.importable(study, known):
        load_part(part)
    for name in [name for name in sys.modules if name.startswith("own_package")]:
        del sys.modules[name]


@pytest.mark.parametrize(("calibration", "said"), [("0.5", False), ("0.6", True)], ids=["the same", "another"])
def test_an_operator_that_measures_otherwise_is_said_to(
    calibration: str, said: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "own_calibrated.py").write_text(
        "from pathlib import Path\n"
        "class Scaled:\n"
        "    def __init__(self, channels, size):\n"
        "        self.by = float(Path(__file__).with_name('calibration.txt').read_text())\n"
        "    def A(self, x):\n        return self.by * x\n"
        "    def A_adjoint(self, y):\n        return self.by * y\n"
    )
    (tmp_path / "own.yaml").write_text(TEXT.replace("epochs: 4", "epochs: 4, task: own_calibrated:Scaled(noise=0.1)"))
    study = load(tmp_path / "own.yaml")
    known: dict = {}
    for number in ("0.5", calibration):
        (tmp_path / "calibration.txt").write_text(number)
        with own_parts.importable(study, known):
            made = own_parts.provenance(study, known, own_parts.check(study, 3))
        known = known or json.loads(json.dumps(made))
    assert list(known["operators"]) == ["own_calibrated:Scaled(noise=0.1)"]
    assert ("measures otherwise than when the study began" in caplog.text) == said


def test_the_next_study_finds_its_own_module(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "same_name.py").write_text(f"def which(): return {number}")
        with beside(tmp_path / str(number)):
            assert load_part("same_name:which")() == number
    assert not any(str(tmp_path) in place for place in sys.path)


@pytest.mark.ray
@pytest.mark.usefixtures("local_cluster")
class TestRuns:
    @pytest.mark.parametrize(
        "address", [None, pytest.param("auto", marks=pytest.mark.slow)], ids=["same disk", "carried"]
    )
    def test_the_example_runs_and_is_resumed(self, address: str | None, tmp_path: Path) -> None:
        for name in ("own_parts.yaml", "own_parts.py"):
            (tmp_path / "mine").mkdir(exist_ok=True)
            shutil.copy(STUDIES / name, tmp_path / "mine" / name)
        ending = run(load(tmp_path / "mine" / "own_parts.yaml", TINY), tmp_path, cpus=2, address=address)
        trials = pd.read_parquet(ending.root / "trials")
        assert list(trials["status"]) == ["completed"] * 2, list(trials["reason"])
        own = trials[trials["prox"] == "own_parts:Residual"]
        assert set(own["prox_parameters"]) <= {"layers=2,width=24", "layers=3,width=24"}
        assert len(own)
        assert set(trials["task"]) == {"own_parts:Stripes(period=3,noise=0.05)"}
        known = json.loads((ending.root / "provenance.json").read_text())
        assert known["study_folder"] == str(tmp_path / "mine")
        assert list(known["parts"]) == ["own_parts.py"]
        assert resume(ending.root, cpus=2).progress.complete
        (tmp_path / "mine").rename(tmp_path / "elsewhere")
        with pytest.raises(ValueError, match=r"own_parts\.py is gone, which this study was run with"):
            resume(ending.root, cpus=2)
