"""Submitting a study, without a cluster: what travels, what is run there, and what is refused."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_study import TEXT
from typer.testing import CliRunner

from flowsearch.cli import app
from flowsearch.cluster import submit as jobs

OWN = TEXT.replace("fixed: {epochs: 4}", "fixed: {epochs: 4, task: {mine:Half: {}}}")


class Server:
    """What Ray's job client would do, noted."""

    def __init__(self) -> None:
        self.jobs: list[Any] = []
        self.files: dict[str, str] = {}

    def list_jobs(self) -> list[Any]:
        return self.jobs

    def submit_job(self, **job: Any) -> None:
        folder = Path(job["runtime_env"]["working_dir"])
        self.files = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
        self.jobs.append(SimpleNamespace(status="RUNNING", **job))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(jobs, "_client", lambda address: server)
    return server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(OWN)
    (tmp_path / "mine.py").write_text("import helper\n\ndef Half(channels, size): ...\n")
    (tmp_path / "helper.py").write_text("")
    (tmp_path / "unused.py").write_text("")
    (tmp_path / "large.bin").write_text("not needed")
    return path


@pytest.mark.parametrize("installed", [True, False], ids=["installed", "beside"])
def test_parts_that_do_not_travel_are_named(
    installed: bool, server: Server, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if installed:
        (tmp_path / "site").mkdir()
        (tmp_path / "mine.py").rename(tmp_path / "site" / "mine.py")
        monkeypatch.syspath_prepend(tmp_path / "site")
        monkeypatch.delitem(sys.modules, "mine", raising=False)
    result = CliRunner().invoke(app, ["cluster", "submit", str(file), "--results", "s3://bucket/results"])
    sys.modules.pop("mine", None)
    assert result.exit_code == 0, result.output
    assert ("mine.py" in server.files) != installed
    assert ("not sent, as it does not lie beside the study file: mine;" in result.stderr) == installed


def test_the_file_and_the_modules_of_its_parts_travel_and_nothing_else(server: Server, file: Path) -> None:
    sent = jobs.submit(file, "s3://bucket/results/", "http://127.0.0.1:8265", sets=["search.trials=9"])
    assert set(server.files) == {"small.yaml", "mine.py", "helper.py"}
    assert server.files["small.yaml"] == OWN
    (job,) = server.jobs
    assert sent.job == job.submission_id
    assert sent.job.startswith("small-")
    assert sent.results == "s3://bucket/results/small"
    assert job.entrypoint == (
        "exec python -m flowsearch study run small.yaml --results s3://bucket/results/ --address auto --plain "
        "--set search.trials=9"
    )
    assert job.metadata == {"flowsearch_study": "small", "flowsearch_results": "s3://bucket/results/small"}


def test_a_profile_of_the_file_travels_by_its_name(server: Server, file: Path) -> None:
    file.write_text(OWN + "profiles: {large: {search: {trials: 30}}}\n")
    sent = jobs.submit(file, "/shared/results", "http://127.0.0.1:8265", profile="large")
    assert sent.results == "/shared/results/small-large"
    (job,) = server.jobs
    assert job.entrypoint.endswith("--address auto --plain --profile large")
    with pytest.raises(ValueError, match="did you mean large"):
        jobs.submit(file, "/shared/results", "http://127.0.0.1:8265", profile="larg")


def test_a_study_that_runs_there_is_refused_and_one_that_has_ended_is_not(server: Server, file: Path) -> None:
    jobs.submit(file, "/shared/results", "http://127.0.0.1:8265")
    with pytest.raises(ValueError, match="small runs there already, as small-"):
        jobs.submit(file, "/shared/results", "http://127.0.0.1:8265")
    jobs.submit(file, "/shared/results", "http://127.0.0.1:8265", sets=["name=other"])
    server.jobs[0].status = "STOPPED"
    jobs.submit(file, "/shared/results", "http://127.0.0.1:8265")
    assert len(server.jobs) == 3


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["--results", "results"], "--results is the whole path of a folder"),
        (["--results", "/r", "--set", "space.dept=[1]"], "did you mean space.depth?"),
        (["--results", "/r", "--env", "A B=1"], "--env is NAME=VALUE"),
        (["--results", "/r", "--address", "127.0.0.1:6379"], "--address is that of the cluster's job server"),
        (["--results", "/r", "--address", "http://127.0.0.1:9"], "nothing answers at http://127.0.0.1:9"),
    ],
    ids=["a folder of the laptop", "a mistake in the file", "no variable", "another door", "nobody there"],
)
def test_what_is_wrong_is_said_in_one_line(file: Path, arguments: list[str], rule: str) -> None:
    result = CliRunner().invoke(app, ["cluster", "submit", str(file), *arguments])
    assert result.exit_code == 2
    assert rule in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_it_says_how_to_look_at_it(server: Server, file: Path) -> None:
    result = CliRunner().invoke(app, ["cluster", "submit", str(file), "--results", "s3://b/r", "--env", "A=1"])
    assert result.exit_code == 0, result.output
    assert server.jobs[0].runtime_env["env_vars"] == {"A": "1"}
    job = server.jobs[0].submission_id
    for line in (
        "flowsearch study show s3://b/r/small",
        "flowsearch dashboard s3://b/r/small",
        f"ray job logs --address http://127.0.0.1:8265 --follow {job}",
        f"ray job stop --address http://127.0.0.1:8265 {job}",
    ):
        assert line in result.stdout


def test_an_address_with_a_question_is_quoted_for_the_shell(server: Server, file: Path) -> None:
    result = CliRunner().invoke(app, ["cluster", "submit", str(file), "--results", "s3://b/r?region=x&scheme=http"])
    assert result.exit_code == 0, result.output
    for command in ("study show", "dashboard"):
        assert f"flowsearch {command} 's3://b/r/small?region=x&scheme=http'\n" in result.stdout
