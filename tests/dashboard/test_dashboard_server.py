"""Who may look, what a page may load, and how the command begins and ends."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from unittest import mock

import pytest
from typer.testing import CliRunner

from flowsearch.analysis.dashboard import prepare
from flowsearch.analysis.dashboard.library import Library
from flowsearch.analysis.dashboard.security import is_loopback
from flowsearch.analysis.dashboard.server import wsgi
from flowsearch.cli import app

TOKEN = "a-long-enough-token"


def client(study: Path, **options: str):
    return wsgi(Library(study), **options).test_client()


def test_a_page_may_load_nothing_from_elsewhere_and_evaluate_nothing(study: Path) -> None:
    answer = client(study).get("/", base_url="http://localhost:8050")
    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    script = re.search(r"script-src ([^;]*)", policy)
    assert script is not None
    assert re.fullmatch(r"'self'( 'sha256-[A-Za-z0-9+/=]+')*", script[1])
    assert "http" not in policy
    sources = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert len(sources) > 5
    assert all(source.startswith("/") and not source.startswith("//") for source in sources)


def test_the_table_s_script_comes_later_where_dash_s_tag_of_it_is_found(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag, link = re.compile(r"<script [^>]*dash_ag_grid/"), re.compile(r'<link id="grid-script" rel="prefetch"')
    text = client(study).get("/").text
    assert (tag.search(text), link.search(text) is not None) == (None, True)
    monkeypatch.setattr("flowsearch.analysis.dashboard.app._GRID", re.compile("(?!)"))
    answer = client(study).get("/")
    assert answer.status_code == 200
    assert (tag.search(answer.text) is not None, link.search(answer.text)) == (True, None)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:8050", 200),
        ("[::1]:8050", 200),
        ("evil.example", 403),
        ("127.0.0.1.example", 403),
    ],
)
def test_another_name_for_this_machine_is_refused(study: Path, host: str, status: int) -> None:
    assert client(study).get("/", headers={"Host": host}).status_code == status


def test_with_a_token_nothing_is_shown_without_it(study: Path) -> None:
    browser = client(study, host="0.0.0.0", token=TOKEN)
    for path in ("/", "/_dash-layout", "/poll?study=", "/assets/base.js", "/picture/-/0000/1/test/0/truth.png"):
        assert browser.get(path).status_code == 401, path
    assert browser.post("/_dash-update-component", json={}).status_code == 401
    assert browser.get("/?token=wrong").status_code == 401
    answer = browser.get(f"/trials?sort=folds:asc&token={TOKEN}")
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/trials?sort=folds%3Aasc"
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert browser.get("/trials").status_code == 200


def test_beyond_this_machine_a_token_is_needed(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="needs a token"):
        wsgi(Library(study), host="0.0.0.0")
    listening = mock.Mock(effective_port=8050)
    create = mock.Mock(return_value=listening)
    monkeypatch.setattr("waitress.create_server", create)  # a test listens to nobody beyond this machine
    served = prepare(study, host="0.0.0.0", port=0)
    assert create.call_args.kwargs["host"] == "0.0.0.0"
    assert re.fullmatch(r"http://0\.0\.0\.0:8050/\?token=\S{30,}", served.url)


def test_a_short_token_is_refused(study: Path) -> None:
    with pytest.raises(ValueError, match="8 characters"):
        prepare(study, port=0, token="1234")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("node-1", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_nothing_is_written_by_anyone(study: Path) -> None:
    browser = client(study)
    for method in ("PUT", "DELETE", "PATCH"):
        assert browser.open("/", method=method, base_url="http://localhost").status_code == 405


def test_a_poll_is_answered_only_where_something_has_changed(study: Path) -> None:
    browser = client(study)
    first = browser.get("/poll?study=", base_url="http://localhost").json
    assert first["status"] == "finished"
    again = browser.get(f"/poll?study=&known={first['version']}", base_url="http://localhost")
    assert again.status_code in (200, 204)  # a folder that was written just now may still be changing
    assert browser.get("/poll?study=other&known=1", base_url="http://localhost").json["version"] == ""
    assert browser.get("/poll?study=other", base_url="http://localhost").status_code == 204


@pytest.mark.parametrize("path", ["/picture/-/0000/1/test/99/truth.png", "/picture/x/0000/1/test/0/truth.png"])
def test_a_picture_that_is_not_there(study: Path, path: str) -> None:
    assert client(study).get(path, base_url="http://localhost").status_code == 404


def test_the_command_refuses_what_is_no_folder(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["dashboard", str(tmp_path / "nowhere"), "--no-open"])
    assert done.exit_code == 2
    assert "there is no folder" in done.stderr


def test_ctrl_c_ends_it_cleanly(study: Path) -> None:
    command = [sys.executable, "-u", "-m", "flowsearch", "dashboard", str(study), "--port", "0", "--no-open"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.removeprefix("dashboard: ").strip()
        assert urllib.request.urlopen(url, timeout=30).status == 200
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert said == ""
