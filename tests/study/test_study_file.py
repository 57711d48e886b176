"""Study files: what is accepted, what is refused and in which words."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML
from small_study import TEXT

from flowsearch.study import Study, StudyFileError, load, run
from flowsearch.study.file import checked, read
from flowsearch.study.source import Source, dump

SHIPPED = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))


def refused(tmp_path: Path, text: str, *sets: str) -> str:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(StudyFileError) as caught:
        load(path, sets)
    return str(caught.value)


def test_aliases_do_not_make_a_file_without_end(tmp_path):
    folded = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 100)}]\n" for n in range(1, 5))
    assert "more than any study file has" in refused(tmp_path, f"{TEXT}a0: &a0 [{', '.join('x' * 100)}]\n{folded}")


def test_defaults_are_filled_in(study_of):
    study = study_of()
    assert study.data["train"] == 992
    assert study.prior["epochs"] == 100
    assert (study.metric, study.direction) == ("val_psnr", "maximize")
    assert study.resources.cpu == 1


def test_the_resolved_study_survives_its_own_file(study_of, tmp_path):
    study = study_of("search.window=6", "budget.hours=2")
    path = tmp_path / "study.yaml"
    path.write_text(dump(study.to_dict()))
    assert load(path) == study


WITH_PROFILES = [
    pytest.param(path, profile, id=path.stem if profile is None else f"{path.stem}-{profile}")
    for path in SHIPPED
    for profile in (None, *YAML(typ="safe", pure=True).load(path).get("profiles", {}))
]


@pytest.mark.parametrize(("path", "profile"), WITH_PROFILES)
def test_shipped_studies_are_valid(path, profile):
    assert isinstance(load(path, profile=profile), Study)


PROFILES = """
profiles:
  small:
    data.size: 64
    space.folds: [1, 2]
    search: {trials: 3, seed: 1}
  named: {name: other, fixed.epochs: 1}
  wrong:
    search: {trials: 3,
             sede: 1}
"""


def with_profiles(tmp_path: Path, profile: str | None, *sets: str) -> Study:
    path = tmp_path / "x.yaml"
    path.write_text(TEXT + PROFILES)
    return load(path, sets, profile)


def test_a_profile_changes_what_it_names_and_the_study_is_called_after_it(tmp_path):
    plain, small = with_profiles(tmp_path, None), with_profiles(tmp_path, "small", "search.seed=7")
    assert (plain.name, small.name) == ("small", "small-small")
    assert (small.data["size"], small.search.trials, small.search.seed) == (64, 3, 7)
    assert set(small.space) == set(plain.space)
    assert with_profiles(tmp_path, "named").name == "other"
    path = tmp_path / "resolved.yaml"
    path.write_text(dump(small.to_dict()))
    assert load(path) == small


def test_a_mistake_in_a_profile_is_named_with_its_line(tmp_path):
    with pytest.raises(StudyFileError, match=r"line 24: search.sede is not a known name; did you mean search.seed"):
        with_profiles(tmp_path, "wrong")
    with pytest.raises(StudyFileError, match=r"x.yaml has small, named, wrong; did you mean small"):
        with_profiles(tmp_path, "smal")
    assert "profiles is a mapping" in refused(tmp_path, TEXT + "profiles: [small]\n")


def test_an_exponent_without_a_dot_is_a_number(study_of):
    assert study_of("fixed.scalar_lr=1e-3").config({"prox": "unet"}).scalar_lr == 1e-3


MISSPELLED = {
    "top": ("objective:", "objektive:", "objektive is not a known name; did you mean objective?"),
    "data": ("size: 32", "siz: 32", "data.siz is not a known name; did you mean data.size?"),
    "fixed": ("epochs: 4", "epoch: 4", "fixed.epoch is not a known name; did you mean fixed.epochs?"),
    "space": ("  depth:", "  dept:", "space.dept is not a known name; did you mean space.depth?"),
    "parameter": ("log: true", "lg: true", "space.lr.lg is not a known name; did you mean log?"),
    "kind": ("folds: {int:", "folds: {itn:", "did you mean int?"),
    "condition": ("{prox: glow}}\n  levels", "{prx: glow}}\n  levels", "space.depth depends on prx"),
    "condition value": ("{prox: glow}}\n  levels", "{prox: glwo}}\n  levels", "did you mean glow?"),
    "choice": ("[glow, resnet, unet]", "[glow, resnett, unet]", "did you mean resnet?"),
    "objective": (
        "val_psnr",
        "val_pnsr",
        "peak_memory_bytes, not 'val_pnsr'; did you mean val_psnr?",
    ),
    "search": ("trials: 8", "trails: 8", "search.trails is not a known name; did you mean search.trials?"),
    "scheduler": ("asha:", "asah:", "scheduler.asah is not a known name; did you mean scheduler.asha?"),
    "asha": ("grace: 1", "grac: 1", "scheduler.asha.grac is not a known name; did you mean scheduler.asha.grace?"),
    "sampler": (
        "sampler: tpe",
        "sampler: tpo",
        "search.sampler is one of tpe, random, gp, cmaes, nsga2, not 'tpo'; did",
    ),
}


@pytest.mark.parametrize(("old", "new", "words"), MISSPELLED.values(), ids=MISSPELLED)
def test_a_misspelled_name_is_refused_with_its_line_and_the_nearest(tmp_path, old, new, words):
    text = TEXT.replace(old, new, 1)
    assert text != TEXT
    line = next(number for number, one in enumerate(text.splitlines(), 1) if one not in TEXT.splitlines())
    message = refused(tmp_path, text)
    assert f"x.yaml, line {line}: " in message
    assert words in message


WRONG = {
    "trials": ("search.trials=many", "search.trials is a whole number, not 'many'"),
    "trials 0": ("search.trials=0", "search.trials is at least 1, not 0"),
    "size": ("data.size=big", "size is a whole number"),
    "section": ("search=3", "search is a mapping"),
    "data section": ("data=faces", "data is a mapping"),
    "gpu": (
        "resources.gpu=all",
        "resources.gpu is auto, a share of a GPU below 1, or a whole number of GPUs, not 'all'",
    ),
    "gpu without end": ("resources.gpu=.inf", "or a whole number of GPUs, not inf"),
    "reproducible": ("search.reproducible=maybe", "search.reproducible is true or false"),
    "name": ("name=a/b", "name is at most 100 letters (a to z, A to Z)"),
    "numeric name": ("name=7", "name is text, not 7"),
    "prior": ("prior.lr=fast", "prior.lr is a number"),
    "mode": ("mode=gird", "mode is one of search, grid, ablate, not 'gird'; did you mean grid?"),
    "objective direction": ("objective={val_psnr: minimize}", "write val_psnr: maximize"),
    "direction misspelled": ("objective={val_psnr: max}", "objective.val_psnr is one of maximize, minimize, not 'max'"),
    "no objective": ("objective={}", "at least one metric"),
    "scheduler by its name": ("scheduler=asha", "scheduler is none, or a mapping of one of asha, hyperband, median"),
    "no scheduler's name": ("scheduler={}", "scheduler is none, or a mapping of one of asha, hyperband, median"),
    "objective of the test images": ("objective={test_psnr: maximize}", "test images judge what was chosen without"),
    "asha by ssim": ("objective={val_ssim: maximize}", "asha judges by what is known after each epoch"),
    "levels 7 at size 32": ("space.levels=[2, 7]", "size 32 allows at most 5 levels, not 7"),
    "folds 0": ("fixed={folds: 0}", "folds"),
    "task": ("fixed.task=denose-0.1", "did you mean denoise?"),
    "task's parameter": ("fixed.task={deblur: {sigmo: 3}}", "task deblur has no parameter sigmo; did you mean sigma?"),
    "task too large": ("fixed.task={deblur: {sigma: 9}}", "at most a quarter of the image, 8 pixels, not 9"),
    "task as a choice": ("space.task=[denoise-0.1, {deblr: {sigma: 3}}]", "did you mean deblur?"),
    "task too large as a choice": ("space.task=[denoise-0.1, {deblur: {sigma: 9}}]", "8 pixels, not 9"),
    "task twice": ("space.task=[deblur-3, {deblur: {sigma: 3.0}}]", "space.task lists deblur-3 twice"),
    "task without a list": ("space.task={deblur: {sigma: 3}}", "a single task belongs in fixed"),
    "range upside down": ("space.folds={int: [4, 1]}", "runs from low to high"),
    "log from 0": ("space.lr={float: [0, 1], log: true}", "above 0 on a log scale"),
    "float for int": ("space.folds={float: [1, 4]}", "folds is a whole number"),
    "no choices": ("space.weights=[]", "at least one choice"),
    "choice twice": ("space.weights=[tied, tied]", "lists tied twice"),
    "single value": ("space.weights=tied", "a single value belongs in fixed"),
    "nested choice": ("space.weights=[[tied]]", "single values as choices"),
    "unknown key": ("repeat=2", "repeat is not a known name; did you mean repeats?"),
    "unknown nested key": ("data.sorce=celeba", "did you mean data.source?"),
    "nothing to take out": ("space.dept=null", "space has no dept to take out; did you mean depth?"),
    "no value": ("data.source", "expected NAME=VALUE"),
    "below a value": ("name.x=1", "there is nothing named x in it; set it as a whole, name={x: ...}"),
    "a range below a list": ("space.weights.int=[1, 2]", "set it as a whole, space.weights={int: ...}"),
    "nobody's parameter": ("space.prox.layers=[1, 2]", "space.prox.layers is never searched"),
    "a place of a list": ("space.lr.float.0=1", "set it as a whole, space.lr.float=[...]"),
    "unknown section": ("serach.trials=3", "serach is not a known name; did you mean search?"),
    "min": ("space.lr={min: 1, max: 2}", "each with an optional when, not {'min': 1, 'max': 2}"),
    "no scheduler's values": ("scheduler={asha: null}", "or {asha: {}} with its defaults"),
    "profiles": ("profiles=3", "a profile is chosen by --profile NAME"),
    "null": ("fixed.task=null", "not null"),
    "true": ("fixed.epochs=true", "epochs is a whole number, not true"),
}


@pytest.mark.parametrize(("override", "words"), WRONG.values(), ids=WRONG)
def test_an_impossible_override_is_refused_by_its_own_name(tmp_path, override, words):
    sets = ["space={prox: [glow, unet]}", override] if override.startswith("fixed={folds") else [override]
    message = refused(tmp_path, TEXT, *sets)
    assert message.startswith(f"--set {override}: ")
    assert words in message


def test_an_override_takes_a_name_from_fixed_to_space_and_back(study_of):
    study = study_of("space.epochs=[2, 4]", "fixed.folds=3")
    assert study.space["epochs"] == [2, 4]
    assert "epochs" not in study.fixed
    assert study.fixed["folds"] == 3
    assert "folds" not in study.space
    study = study_of("space={prox: [glow, unet], epochs: [2, 4]}")
    assert "epochs" not in study.fixed
    study = study_of("fixed={folds: 3, epochs: 4}")
    assert "folds" not in study.space
    assert "folds" not in study_of("space.folds=[1, 2]", "fixed.folds=3").space
    assert "folds" not in study_of("space.folds=null").space


def test_a_file_that_fixes_and_searches_a_name_is_refused(tmp_path):
    message = refused(tmp_path, TEXT.replace("  folds: {int", "  epochs: [2, 4]\n  folds: {int"))
    assert "epochs is in both fixed and space; a name is either fixed or searched" in message


def test_overrides_are_yaml_scalars(study_of):
    study = study_of("data.source=celeba", "search.trials=3", "scheduler=none", "data.ood=null", "budget.hours=0.5")
    assert (study.data["source"], study.data["ood"]) == ("celeba", None)
    assert (study.search.trials, study.scheduler, study.budget.hours) == (3, None, 0.5)


@pytest.mark.parametrize(
    "task", ["deblur(sigma=3,padding=reflect)", "{deblur: {padding: reflect, sigma: 3.0}}"], ids=["text", "mapping"]
)
def test_a_fixed_task_is_its_text_in_whatever_form(study_of, task):
    study = study_of(f"fixed.task={task}")
    assert study.fixed["task"] == "deblur(sigma=3,padding=reflect)"
    assert study.config({"prox": "resnet"}).task == "deblur(sigma=3,padding=reflect)"


def test_searched_tasks_are_texts_and_conditions_know_them(study_of, tmp_path):
    study = study_of(
        "space.task=[denoise-0.1, {inpaint: {random: 0.5}}, {mylab.ops:Radon: {angles: 30, noise: 0.01}}]",
        "space.folds={int: [1, 2], when: {task: [{inpaint: {random: 0.50}}]}}",
    )
    space = study.parsed_space()
    texts = ("denoise-0.1", "inpaint(random=0.5)", "mylab.ops:Radon(angles=30,noise=0.01)")
    assert space.parameters["task"].choices == texts
    for text in texts:
        point = space.fill(lambda one, text=text: text if one.name == "task" else one.corners[0])
        assert ("folds" in point) == (text == "inpaint(random=0.5)")
        assert study.config(point).task == text
    (tmp_path / "resolved.yaml").write_text(dump(study.to_dict()))
    assert load(tmp_path / "resolved.yaml") == study


def test_a_task_refused_is_named_with_its_line(tmp_path):
    text = TEXT.replace("fixed: {epochs: 4}", "fixed:\n  epochs: 4\n  task:\n    deblur:\n      sigmo: 3")
    message = refused(tmp_path, text)
    assert "line 6: task deblur has no parameter sigmo" in message


def test_a_duplicate_name_is_refused(tmp_path):
    message = refused(tmp_path, TEXT + "name: again\n")
    assert "line 15" in message
    assert "name" in message
    assert "duplicate" in message


@pytest.mark.parametrize("text", ["", "# nothing\n"], ids=["empty", "comment"])
def test_an_empty_file_is_refused(tmp_path, text):
    assert "is empty" in refused(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    ["name: [", "name: x\n  data: 3\n", "- a\n- b\n", "just text", "a: &a [*a]", "name: !!python/object:os.system x"],
)
def test_what_is_no_study_file_is_refused(tmp_path, text):
    assert "x.yaml" in refused(tmp_path, text)


def test_a_missing_section_is_named(tmp_path):
    assert "space is missing" in refused(tmp_path, "name: x\n")


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.yaml")


def test_a_folder_and_binary_are_refused(tmp_path):
    with pytest.raises(StudyFileError, match="is a folder"):
        load(tmp_path)
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(StudyFileError, match="not text"):
        load(path)


LIST = "  prox: [glow, unet]\n"
MISTAKES = {
    "two documents": ("name: x\n---\nspace:\n" + LIST, 2, "a file is one YAML document, and --- begins another; take"),
    "tab": ("name: x\ndata:\n\tsize: 32\n", 3, "a tab begins here; lines are indented with spaces"),
    "indented too far": ("name: x\nspace:\n" + LIST + "   folds: [1]\n", 4, "indented unlike the names beside it"),
    "indented too little": ("name: x\nspace:\n" + LIST + " folds: [1]\n", 4, "indented unlike the names beside it"),
    "not indented": ("name: x\nspace:\nprox: [glow]\n", 3, "prox is not a known name; it belongs to fixed or space"),
    "section in a section": ("name: x\ndata:\n  size: 32\n  space:\n  " + LIST, 4, "space stands inside data; indent"),
    "other section": (
        "name: x\nfixed: {size: 32}\nspace:\n" + LIST,
        2,
        "fixed.size is not a known name; it belongs to data",
    ),
    "another scheduler's": (
        "name: x\nscheduler: {asha: {startup: 5}}\nspace:\n" + LIST,
        2,
        "scheduler.asha.startup is not a known name; it belongs to scheduler.median or search",
    ),
    "objective by its name": (
        "name: x\nobjective: val_psnr\nspace:\n" + LIST,
        2,
        "objective is a mapping of names to values, such as {val_psnr: maximize}, not 'val_psnr'",
    ),
    "data by their name": ("name: x\ndata: faces\nspace:\n" + LIST, 2, "such as {source: faces, size: 64}, not 'f"),
    "several values fixed": (
        "name: x\nfixed: {epochs: [1, 2]}\nspace:\n" + LIST,
        2,
        "epochs is a whole number, not [1, 2] (at prox: glow); what is to be tried stands under space, as epochs: [",
    ),
    "no space behind a colon in brackets": (
        "name: x\nspace:\n" + LIST + "  folds: {int:[1, 3]}\n",
        4,
        "but got '['; see that each bracket is closed, and that each colon has a space behind it",
    ),
    "a character with a meaning": ("name: @x\nspace:\n" + LIST, 1, "no value begins with @, % or `; text that does"),
    "no space behind a colon": ("name:x\nspace:\n" + LIST, 2, "see that each name's has a space behind it"),
    "waits for itself": (
        "name: x\nspace:\n" + LIST + "  folds: {int: [1, 2], when: {folds: 1}}\n",
        4,
        "space.folds waits for itself; take",
    ),
    "no out-of-distribution set": (
        "name: x\ndata: {ood: none}\nspace:\n" + LIST,
        2,
        "ood is the name of a data set, or null for none, not 'none'",
    ),
    "no images for priors": (
        "name: x\ndata: {prior: None}\nspace:\n" + LIST,
        2,
        "prior is the name of a data set, or null for none, not 'None'",
    ),
}


@pytest.mark.parametrize(("text", "line", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_beginners_mistake_is_named_in_words_that_help(tmp_path, text, line, words):
    message = refused(tmp_path, text)
    assert f"x.yaml, line {line}: " in message
    assert words in message


def test_a_profile_with_an_unknown_section_is_named_with_its_line(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(TEXT + "profiles:\n  small:\n    search.trials: 3\n    dat.size: 32\n")
    with pytest.raises(StudyFileError, match=r"x.yaml, line 18: dat is not a known name; did you mean data\?"):
        load(path, profile="small")


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("name: small", "name: 2026-11-27", 1, "not 2026-11-27; text that reads as a date stands in quotes"),
        ("[tied, untied]", "[tied, untied", None, "that begins in line"),
    ],
    ids=["date", "bracket"],
)
def test_yaml_that_reads_otherwise_than_it_was_meant(tmp_path, old, new, line, words):
    assert old in TEXT
    message = refused(tmp_path, TEXT.replace(old, new))
    assert words in message
    assert line is None or f"line {line}: " in message


def test_a_study_made_in_python_is_checked_before_it_runs(tmp_path):
    study = Study(name="mine", space={"fold": [1, 2]}, search={"trials": 1})
    with pytest.raises(StudyFileError, match=r"space.fold is not a known name; did you mean space.folds"):
        run(study, tmp_path, cpus=1)
    assert not list(tmp_path.iterdir())


def test_a_study_made_in_python_is_the_one_of_a_file():
    study = checked(Study(**YAML(typ="safe").load(TEXT)))
    assert study.to_dict() == read(Source("small.yaml", TEXT)).to_dict()
