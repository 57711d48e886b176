"""Every task has one text, whatever form it came in, and what is none is refused with the rule."""

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsearch.operators.names import TASKS, check_task, parse_task

SEED = st.integers(0, 2**63 - 1)
NOISE = st.floats(0, 1)
PADDING = st.sampled_from(["circular", "zero", "reflect"])
SIGMA = st.one_of(st.integers(1, 200), st.floats(1e-6, 250))
SHARE = st.floats(1e-6, 1, exclude_max=True)


TEXT = st.text('ab1 .,:=-/_()[]"\\\n\u00e9\U0001d11e', max_size=12)


def some(required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


PARAMETERS = {
    "denoise": some({"noise": st.floats(0, 1, exclude_min=True)}),
    "inpaint": st.one_of(
        some({"centre": st.integers(1, 1023)}, noise=NOISE),
        some({"square": st.integers(1, 1023)}, noise=NOISE, seed=SEED),
        some({"random": SHARE}, noise=NOISE, seed=SEED),
    ),
    "deblur": some({"sigma": SIGMA}, padding=PADDING, noise=NOISE),
    "motion": some(
        {"length": st.integers(2, 1024)}, angle=st.floats(0, 180, exclude_max=True), padding=PADDING, noise=NOISE
    ),
    "superres": some({"scale": st.integers(2, 16)}, blur=SIGMA, noise=NOISE),
    "compress": some({"ratio": SHARE}, by=st.sampled_from(["dct", "hadamard", "gaussian"]), noise=NOISE, seed=SEED),
    "mri": st.one_of(
        some({"acceleration": st.floats(1.01, 1024)}, centre=st.floats(0, 1), noise=NOISE, seed=SEED),
        some({"acceleration": st.floats(1.01, 1024), "mask": st.just("radial")}, noise=NOISE),
    ),
}
TASK = st.one_of(*(values.map(lambda given, kind=kind: {kind: given}) for kind, values in PARAMETERS.items()))
SCALAR = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXT)
OWN = st.fixed_dictionaries(
    {
        "mylab.ops:Radon": st.dictionaries(
            st.sampled_from(["angles", "noise_level", "kind", "x"]), st.one_of(SCALAR, st.lists(SCALAR, max_size=3))
        )
    }
)


def test_the_strategies_cover_every_task() -> None:
    assert set(PARAMETERS) == set(TASKS)


@given(st.one_of(TASK, OWN))
def test_the_text_says_the_same_task(task: dict[str, dict[str, Any]]) -> None:
    spec = parse_task(task)
    assert parse_task(str(spec)) == spec
    assert str(parse_task(str(spec))) == str(spec)
    ((_, given_values),) = task.items()
    assert all(spec.parameters[name] == value for name, value in given_values.items())


@given(TASK, st.data())
def test_equal_tasks_have_equal_texts_and_others_do_not(task: dict[str, dict[str, Any]], data: st.DataObject) -> None:
    ((kind, values),) = task.items()
    other = data.draw(PARAMETERS[kind])
    same = parse_task(task).parameters == parse_task({kind: other}).parameters
    assert (str(parse_task(task)) == str(parse_task({kind: other}))) == same
    order = data.draw(st.permutations(list(values)))
    assert str(parse_task({kind: {name: values[name] for name in order}})) == str(parse_task(task))


@pytest.mark.parametrize(
    ("task", "canonical"),
    [
        ("denoise-0.1", "denoise-0.1"),
        ("denoise-0.10", "denoise-0.1"),
        ({"denoise": {"noise": 1e-05}}, "denoise-1e-05"),
        ({"inpaint": {"centre": 19}}, "inpaint-19"),
        ({"inpaint": {"random": 0.5}}, "inpaint(random=0.5)"),
        ("deblur-5", "deblur-5"),
        ("deblur-5.0", "deblur-5"),
        ({"deblur": {"sigma": 3.0, "padding": "circular", "noise": 0}}, "deblur-3"),
        ({"deblur": {"noise": 0.01, "padding": "reflect", "sigma": 3}}, "deblur(sigma=3,padding=reflect,noise=0.01)"),
        (" deblur ( padding = reflect , sigma = 3 ) ", "deblur(sigma=3,padding=reflect)"),
        ("motion(length=9,angle=45)", "motion(length=9,angle=45)"),
        ("superres(scale=2)", "superres-2"),
        ("superres(scale=2,blur=null)", "superres-2"),
        ("compress-0.25", "compress-0.25"),
        ("mri(acceleration=4,mask=radial)", "mri(acceleration=4,mask=radial)"),
        ("mylab.ops:Radon", "mylab.ops:Radon"),
        ({"mylab.ops:Radon": None}, "mylab.ops:Radon"),
        (
            {"mylab.ops:Radon": {"noise": 0.01, "kind": "fan beam", "angles": [0, 1.5], "full": True}},
            'mylab.ops:Radon(angles=[0,1.5],full=true,kind="fan beam",noise=0.01)',
        ),
    ],
    ids=str,
)
def test_canonical_texts(task: object, canonical: str) -> None:
    assert str(parse_task(task)) == canonical


@pytest.mark.parametrize(
    ("task", "size", "rule"),
    [
        ("denose-0.1", 64, "did you mean denoise"),
        ({"denose": {"noise": 0.1}}, 64, "did you mean denoise"),
        ("denoise", 64, "needs noise, as in denoise-0.1"),
        ("denoise-0", 64, "noise is above 0"),
        ("denoise-2", 64, "between 0 and 1, not 2"),
        ("inpaint-64", 64, "between 1 and 63, not 64"),
        ("inpaint-3.5", 64, "centre is a whole number, not 3.5"),
        ("inpaint(centre=3,random=0.5)", 64, "given centre and random"),
        ("inpaint", 64, "none is given"),
        ("inpaint(centre=3,seed=1)", 64, "seed means nothing"),
        ("inpaint(random=0.0001)", 16, "which hides 0"),
        ("inpaint(random=1)", 16, "below 1"),
        ("deblur-40", 64, "a quarter of the image, 16 pixels, not 40"),
        ("deblur(sigmo=3)", 64, "did you mean sigma"),
        ("deblur(sigma=3,padding=zeros)", 64, "did you mean zero"),
        ("deblur(sigma=x)", 64, "sigma is a number, not 'x'"),
        ("deblur(sigma=1e999)", 64, "finite"),
        ({"deblur": {"sigma": True}}, 64, "sigma is a number, not True"),
        ({"deblur": 3}, 64, "takes a mapping"),
        ("deblur(3)", 64, "NAME=VALUE"),
        ("deblur(sigma=3,sigma=4)", 64, "sigma stands twice"),
        ("deblur(sigma=3 padding=zero)", 64, "a comma stands between"),
        ("deblur(sigma=)", 64, "sigma is a number"),
        ("deblur(sigma=NaN)", 64, "sigma is a number"),
        ("motion-40", 32, "at most the image's 32 pixels, not 40"),
        ("motion-1", 32, "between 2 and 1024, not 1"),
        ("motion(length=9,angle=180)", 32, "below 180"),
        ("superres-4", 18, r"divides the image's 18 pixels \(2, 3, 6, 9\), not 4"),
        ("superres(scale=2,blur=9)", 32, "a quarter of the image"),
        ("compress-0", 32, "ratio is above 0"),
        ("compress(ratio=0.5,by=hadamard)", 24, "power of 2, not 24; take by: dct"),
        ("compress(ratio=0.5,by=gaussian)", 256, "at most 4 GiB, not 8.0 GiB"),
        ("mri-1", 32, "acceleration is above 1"),
        ("mri-40", 32, "at most 32"),
        ("mri(acceleration=4,mask=radial,seed=1)", 32, "seed means nothing to a radial mask"),
        ("mylab.ops:Radon-3", 32, "by name"),
        ({"mylab.ops:Radon": {"a": float("nan")}}, 32, "a finite number"),
        ({"mylab.ops:Radon": {"a": {"b": 1}}}, 32, "or a list of such"),
        ({"mylab.ops:Radon": {"a b": 1}}, 32, "a parameter's name is a word"),
        ({"mylab.ops:Radon": {"noise": -1}}, 32, "noise is between 0"),
        ("mylab.ops:", 32, "task is one of"),
        ("../ops:Radon", 32, "task is one of"),
        ({"deblur": {"sigma": 1}, "mri": {"acceleration": 2}}, 32, "a mapping of one name"),
        (3, 32, "task is a name such as"),
        (None, 32, "task is a name such as"),
        ({3: {}}, 32, "task is one of"),
    ],
    ids=str,
)
def test_impossible_tasks_are_refused(task: object, size: int, rule: str) -> None:
    with pytest.raises(ValueError, match=rule) as caught:
        check_task(task, size)
    assert str(caught.value).startswith("task")


@given(TEXT)
def test_any_text_is_a_task_or_a_value_error(text: str) -> None:
    for task in (text, f"deblur({text})", f"a:b({text})"):
        try:
            spec = check_task(task, 64)
        except ValueError:
            continue
        assert check_task(str(spec), 64) == spec


def test_tasks_are_parsed_without_torch() -> None:
    code = (
        "import sys; from flowsearch.operators import check_task; import flowsearch.parts;"
        "check_task('mylab.ops:Radon(a=1)', 64); check_task('mri-4', 64); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
