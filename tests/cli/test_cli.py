"""The command line as a whole: quick to start, and clear about what is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from calling import flowsearch

from flowsearch.cli import app
from flowsearch.cli.errors import user_errors
from flowsearch.training.errors import DataError

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "ray", "optuna", "pandas", "pyarrow", "plotly", "numpy", "dash", "flask")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["study", "--help"],
        ["study", "run", "--help"],
        ["data", "--help"],
        ["reconstruct", "--help"],
        ["evaluate", "--help"],
        ["cluster", "--help"],
    ],
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from flowsearch.cli import app; "
        f"assert CliRunner().invoke(app, {arguments}).exit_code == 0; "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr


def test_a_plan_of_flows_does_without_the_compiler() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from flowsearch.cli import app; "
        "done = CliRunner().invoke(app, ['study', 'plan', 'studies/ablation.yaml']); "
        "assert done.exit_code == 0, done.output; assert 'torch' in sys.modules; print('torch._dynamo' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout.strip() == "False", result.stderr


def test_surface() -> None:
    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    groups = {
        group.name: {c.name or c.callback.__name__ for c in group.typer_instance.registered_commands}
        for group in app.registered_groups
    }
    assert names == {"train", "evaluate", "reconstruct", "report", "dashboard", "doctor"}
    assert groups == {
        "study": {"run", "resume", "retry", "plan", "show", "list", "export"},
        "prior": {"train", "list", "sample"},
        "data": {"prepare", "list", "show"},
        "bench": {"model", "peers", "study"},
        "cluster": {"check", "submit"},
    }


@pytest.mark.parametrize("command", [("study", "list"), ("prior", "list", "--results")], ids=" ".join)
def test_a_folder_is_printed_as_it_is_called(command: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "[old]" / ":key:"  # neither markup nor a picture of a key
    folder.mkdir(parents=True)
    code, printed, _ = flowsearch(*command, str(folder))
    assert code == 0
    assert str(folder) in printed.replace("\n", "")


SMALL = ["--set", "data.size=16", "--set", "data.train=16", "--set", "data.val=4", "--set", "data.test=4"]
TRIAL = [*SMALL, "--set", "prox=resnet", "--set", "features=4", "--set", "folds=1", "--set", "task=denoise-0.2"]


def test_train_prints_epochs_and_goes_on(tmp_path) -> None:
    out = ["--out", str(tmp_path / "trial")]
    code, printed, _ = flowsearch("train", *TRIAL, "--set", "epochs=2", *out)
    assert code == 0
    assert printed.count("val PSNR") == 2
    assert "test PSNR" in printed
    code, printed, _ = flowsearch("train", *TRIAL, "--set", "epochs=2", *out)
    assert code == 0
    assert printed.count("val PSNR") == 0
    code, _, said = flowsearch("train", *TRIAL, "--set", "epochs=3", *out)
    assert code == 2
    assert "another configuration" in said


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["train", "{at}"], "Is a directory: {at}"),
        (["prior", "train", "{at}"], "Is a directory: {at}"),
        (["train", *TRIAL, "--out", "{at}/file"], "Not a directory: {at}/file/last.safetensors"),
        (
            ["study", "run", str(ROOT / "studies/quickstart.yaml"), "--results", "{at}/file"],
            "Not a directory: {at}/file/quickstart",
        ),
    ],
    ids=["train a folder", "prior of a folder", "train into a file", "study in a file"],
)
def test_what_the_system_refuses_is_one_clear_line(arguments: list[str], rule: str, tmp_path) -> None:
    (tmp_path / "file").touch()
    code, _, said = flowsearch(*(word.replace("{at}", str(tmp_path)) for word in arguments))
    assert (code, said) == (2, f"error: {rule.format(at=tmp_path)}\n")


@pytest.mark.parametrize(
    ("error", "rule"),
    [
        (PermissionError(13, "Permission denied", "a"), "error: Permission denied: a\n"),
        (OSError(30, "Read-only file system", "a", None, "b"), "error: Read-only file system: a to b\n"),
        (OSError(28, "No space left on device"), "error: No space left on device\n"),
    ],
    ids=["one file", "two files", "no file"],
)
def test_an_error_of_the_system_names_its_files(error: OSError, rule: str, capsys) -> None:
    with pytest.raises(typer.Exit), user_errors():
        raise error
    assert capsys.readouterr().err == rule


@pytest.mark.parametrize("name", ["", ".flowsearch", ".ray"])
def test_a_home_that_cannot_be_written_as_in_some_containers_is_said_to_be_it(name: str, monkeypatch, capsys) -> None:
    monkeypatch.setenv("HOME", "/some/home")
    with pytest.raises(typer.Exit), user_errors():
        raise PermissionError(13, "Permission denied", str(Path("/some/home", name)))
    assert capsys.readouterr().err.endswith(
        "; set HOME to a folder of yours, where flowsearch keeps images and Ray its token\n"
    )


def test_images_that_the_system_refuses_are_told_of_as_it_does(monkeypatch, capsys) -> None:
    monkeypatch.setenv("HOME", "/some/home")
    error = PermissionError(13, "Permission denied", "/some/home/.flowsearch")
    with pytest.raises(typer.Exit), user_errors():
        raise DataError(str(error)) from error
    assert capsys.readouterr().err.startswith("error: Permission denied: /some/home/.flowsearch; set HOME to ")


@pytest.mark.parametrize("error", [OSError("a socket of some library"), BrokenPipeError(32, "Broken pipe")], ids=repr)
def test_what_no_person_can_mend_goes_on_as_it_is(error: OSError) -> None:
    with pytest.raises(type(error)) as found, user_errors():
        raise error
    assert found.value is error


@pytest.mark.parametrize("command", [("list",), ("train",), ("sample", "0a")], ids=lambda words: words[0])
def test_priors_are_not_looked_for_in_an_object_store(command: tuple[str, ...]) -> None:
    code, _, said = flowsearch("prior", *command, "--results", "s3://bucket/results")
    assert code == 2
    assert said.startswith("error: this takes what lies on this machine, not s3://bucket/results; name a folder")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        ("train", "--out"),
        ("report", "results/none", "--out"),
        ("reconstruct", "results/none", "a.png", "--out"),
        ("evaluate", "results/none", "--json"),
        ("data", "show", "faces", "--out"),
        ("prior", "sample", "0", "--out"),
        ("study", "export", "results/none", "--out"),
        ("study", "export", "results/none", "--model"),
    ],
    ids=" ".join,
)
def test_what_is_written_here_is_not_written_into_a_folder_named_like_a_bucket(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, said = flowsearch(*command, "s3://bucket/file")
    assert code == 2
    assert "this takes what lies on this machine" in said
    assert not list(tmp_path.iterdir())


def test_prior_list_names_a_damaged_one_and_prior_train_mends_it(tmp_path) -> None:
    small = [*SMALL, "--set", "levels=2", "--set", "depth=1", "--set", "hidden=4", "--set", "prior.epochs=1"]
    results = ["--results", str(tmp_path)]
    assert flowsearch("prior", "train", *small, *results)[0] == 0
    (prior,) = tmp_path.glob("priors/*/prior.safetensors")
    prior.write_bytes(prior.read_bytes()[:100])
    assert f"{prior} is damaged" in flowsearch("prior", "list", *results)[1]
    code, _, said = flowsearch("prior", "sample", prior.parent.name, *results)
    assert (code, said.split(" has ")[0]) == (2, f"error: {prior}")
    assert flowsearch("prior", "train", *small, *results)[0] == 0
    assert "damaged" not in flowsearch("prior", "list", *results)[1]


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ("proxx=unet", "did you mean prox?"),
        ("folds=0", "folds is at least 1, not 0"),
        ("data.sise=16", "did you mean size?"),
        ("data.source=nosuch", "there is no data set 'nosuch'"),
        ("folds", "expected NAME=VALUE"),
        ("task=denose-0.1", "did you mean denoise?"),
        ("task=no_such_lab:Radon", "there is no module no_such_lab"),
    ],
)
def test_train_refuses_with_one_clear_line(setting: str, rule: str, tmp_path) -> None:
    code, _, said = flowsearch("train", *TRIAL, "--set", setting, "--out", str(tmp_path / "trial"))
    assert code == 2
    assert rule in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "trial").exists()


def plainly(text: str) -> str:
    """What stands in a frame, in a line."""
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize("command", [(), ("study",), ("study", "run"), ("data", "prepare")], ids=" ".join)
def test_h_is_help(command: tuple[str, ...]) -> None:
    assert flowsearch(*command, "-h") == flowsearch(*command, "--help")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("run studies/quickstart.yaml", "No such command 'run'. Did you mean 'study run'?"),
        ("show results", "Did you mean 'study show' or 'data show'?"),
        ("study status results", "No such command 'status'. There are run, resume, retry, plan, show, list, export."),
        (
            "sweep",
            "There are train, evaluate, reconstruct, report, dashboard, doctor, study, prior, data, bench",
        ),
        ("stduy list", "Did you mean 'study'?"),
        ("export results/quickstart", "Did you mean 'study export'?"),
    ],
)
def test_an_unknown_command_is_told_which_there_are(command: str, words: str) -> None:
    code, _, said = flowsearch(*command.split())
    assert code == 2
    assert words in plainly(said)


@pytest.mark.parametrize(
    "command",
    [
        "train --lr 1e-4",
        "train --prox=unet",
        "train prox=unet folds=3",
        "prior train --depth 3",
        "study run studies/quickstart.yaml --pofile small",
        "study run studies/quickstart.yaml --trials 2",
        "study run studies/quickstart.yaml search.trials=2",
        "study resume results/quickstart --trials 2",
        "study plan studies/quickstart.yaml search.trials=2",
        "cluster submit studies/quickstart.yaml --results s3://b --trials 2",
    ],
)
def test_a_name_without_set_is_told_of_it(command: str) -> None:
    code, _, said = flowsearch(*command.split())
    assert code == 2
    assert "names are set by --set NAME=VALUE" in plainly(said)
    assert "options: --help" not in said
    assert ("--pofile" in command) == ("--profile" in said)


@pytest.mark.parametrize("command", ["train", "prior train"])
def test_a_value_in_the_place_of_the_file_is_told_of_set(command: str) -> None:
    code, _, said = flowsearch(*command.split(), "prior.lr=1e-3")
    told = "error: prior.lr=1e-3 does not exist; a name is set by --set:  --set prior.lr=1e-3\n"
    assert (code, said) == (2, told)


def test_a_binary_file_in_the_place_of_names_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "best.safetensors").write_bytes(b"\xff\xfe")
    code, _, said = flowsearch("train", tmp_path / "best.safetensors")
    assert (code, said) == (2, f"error: {tmp_path / 'best.safetensors'} is not text in UTF-8, so it holds no names\n")


@pytest.mark.parametrize("command", ["show", "resume", "retry"])
def test_a_file_in_the_place_of_results_is_told_apart(command: str) -> None:
    code, _, said = flowsearch("study", command, ROOT / "studies/quickstart.yaml")
    told = f"error: {ROOT}/studies/quickstart.yaml is a file; name a study's folder, such as results/quickstart\n"
    assert (code, said) == (2, told)
