"""Machines of a cluster, without one: how many trials they take, whether they answer, what a cloud says of them."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from flowsearch.study import clouds, leaving, link, local, machines, own_parts
from flowsearch.study.link import Link
from flowsearch.training import notice


@pytest.mark.parametrize(
    ("sets", "resources", "expected"),
    [
        (["resources={cpu: 2}"], {"CPU": 9}, 4),
        (["resources={cpu: 1, concurrent: 3}"], {"CPU": 9}, 3),
        (["resources={cpu: 1, gpu: 0.5}"], {"CPU": 9, "GPU": 1}, 2),
        (["resources={cpu: 1, gpu: auto}"], {"CPU": 9, "GPU": 1}, 9),
    ],
    ids=["cores", "as asked", "GPUs", "each its own share"],
)
def test_slots(study_of, sets, resources, expected):
    assert machines.slots(study_of(*sets), resources) == expected


def test_no_room_for_a_trial_is_refused_here_and_waited_for_on_a_cluster(study_of, monkeypatch, caplog):
    study = study_of("resources={cpu: 4}")
    with pytest.raises(ValueError, match="a trial uses 4 CPUs"):
        machines.slots(study, {"CPU": 2})
    there = {"CPU": 2.0}
    monkeypatch.setattr("ray.cluster_resources", lambda: there)
    monkeypatch.setattr(machines, "within_reach", dict)
    monkeypatch.setattr(machines, "_LOOK_SECONDS", 0.0)
    cluster = machines.Machines(study)
    assert [cluster.slots(), cluster.slots()] == [1, 1]
    assert caplog.text.count("no machine of the cluster has room for a trial yet") == 1
    there["CPU"] = 13.0
    assert cluster.slots() == 3


def test_an_autoscaler_s_machines_are_within_reach(monkeypatch):
    from ray._private.state import state

    monkeypatch.setattr(state, "get_max_resources_from_cluster_config", lambda: {"CPU": 64, "GPU": 8})
    assert machines.within_reach({"CPU": 4.0, "memory": 5.0}) == {"CPU": 64.0, "GPU": 8.0, "memory": 5.0}
    monkeypatch.setattr(state, "get_max_resources_from_cluster_config", lambda: None)
    assert machines.within_reach({"CPU": 4.0}) == {"CPU": 4.0}


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize(
    ("address", "mend"),
    [("http://127.0.0.1:8265", "flowsearch cluster submit STUDY"), ("ray://10.0.0.1:10001", "ends when this computer")],
)
def test_an_address_of_another_kind_says_what_to_do(monkeypatch, address, mend, running):
    monkeypatch.setattr("ray.is_initialized", lambda: running)
    with pytest.raises(ValueError, match=mend), local.joined_ray(address=address):
        pass


def test_a_head_that_is_silent_for_long_is_dead(monkeypatch, tmp_path):
    now = [100.0]
    monkeypatch.setattr(link.time, "monotonic", lambda: now[0])
    with socket.socket() as head, socket.socket(socket.AF_UNIX) as raylet:
        head.bind(("127.0.0.1", 0))
        head.listen()
        raylet.bind(str(tmp_path / "raylet"))
        raylet.listen()
        node = SimpleNamespace(
            gcs_address=f"127.0.0.1:{head.getsockname()[1]}", raylet_socket_name=str(tmp_path / "raylet")
        )
        monkeypatch.setitem(link.sys.modules, "ray._private.worker", SimpleNamespace(_global_node=node))
        watched = Link()
        watched.watch()
        assert watched.dead() is None
    now[0] += 2
    assert watched.dead() is None
    now[0] += link.SILENCE_SECONDS
    assert watched.dead() == "head"
    watched.let_go()
    assert watched.dead() is None


@pytest.fixture
def asked(monkeypatch):
    """What Ray answers when it is asked for the nodes that are drained, in turn; an error is raised."""
    from ray._private.state import state

    answers: list[Exception | dict[str, int]] = []

    def answer() -> dict[str, int]:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(state, "get_draining_nodes", answer)
    monkeypatch.setattr(clouds, "taken_back", lambda: None)
    monkeypatch.setattr(leaving, "_POLL_SECONDS", 0.0)
    monkeypatch.setattr(notice, "_given", threading.Event())
    return answers


def test_a_drain_is_heard_of_after_a_question_that_failed(asked, caplog):
    asked += [{}, ConnectionError("no answer"), ConnectionError("no answer"), {"another": 0}, {"this": 0}]
    leaving._poll("this")
    assert (notice.given(), asked) == (True, [])
    assert caplog.text.count("could not ask whether this machine is to leave, and will again: no answer") == 1


def test_a_head_that_never_answers_is_asked_no_more(asked, caplog, monkeypatch):
    monkeypatch.setattr(leaving, "_MOST_FAILURES", 3)
    asked += [*[ConnectionError()] * 2, {}, *[ConnectionError()] * 3, {"this": 0}]
    leaving._poll("this")
    assert (notice.given(), asked) == (False, [{"this": 0}])
    assert "no longer asking whether this machine is to leave: 3 failures in a row" in caplog.text


class Metadata(BaseHTTPRequestHandler):
    """A cloud's metadata service; `noticed` says whether it takes the machine back."""

    noticed = False

    def do_PUT(self) -> None:
        self._answer(200, "a-token")

    def do_GET(self) -> None:
        if self.path.endswith("/spot/instance-action"):
            known = self.headers["X-aws-ec2-metadata-token"] == "a-token"
            self._answer(401 if not known else 200 if self.noticed else 404, '{"action": "terminate"}')
        elif self.path.endswith("/instance/preempted") and self.headers["Metadata-Flavor"] == "Google":
            self._answer(200, "TRUE" if self.noticed else "FALSE")
        else:
            self._answer(400, "")

    def _answer(self, code: int, text: str) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def metadata() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("cloud", [clouds.aws, clouds.gcp], ids=["aws", "gcp"])
def test_a_cloud_gives_notice(cloud, metadata, monkeypatch):
    assert cloud(metadata) is None
    monkeypatch.setattr(Metadata, "noticed", True)
    assert cloud(metadata) > 20


def test_a_cloud_that_does_not_answer_gives_no_notice():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert clouds.aws(nobody) is None
        assert clouds.gcp(nobody) is None


@pytest.mark.parametrize(
    ("vendor", "expected"), [("Amazon EC2\n", clouds.aws), ("Google\n", clouds.gcp), ("Some Maker\n", None)]
)
def test_only_a_cloud_s_own_machines_ask_it(vendor, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(clouds, "_VENDOR", tmp_path / "vendor")
    assert clouds.taken_back() is None
    (tmp_path / "vendor").write_text(vendor)
    assert clouds.taken_back() is expected


def test_parts_are_looked_for_beside_the_file_that_came_again(study_of, tmp_path):
    like = study_of()
    gone = {"study_folder": str(tmp_path / "gone"), "other": 1}
    assert own_parts.moved(gone, like) == {"study_folder": str(like.folder), "other": 1}
    assert own_parts.moved(gone, None) == gone
    there = {"study_folder": str(Path(tmp_path))}
    assert own_parts.moved(there, like) == there
