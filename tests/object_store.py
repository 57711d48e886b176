"""Servers of S3 and of Google Cloud Storage on loopback, and a proxy before one that fails now and then, as a real one
does on a bad day."""

import http.client
import http.server
import logging
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from gcp_storage_emulator.server import create_server
from gcp_storage_emulator.storage import Storage
from moto.server import ThreadedMotoServer

_SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>"

_OWN = ("transfer-encoding", "connection", "content-length", "expect")
"""Headers that belong to a connection, not to what it carries."""


@dataclass(frozen=True)
class Endpoint:
    """Where a server listens."""

    host: str
    port: int

    @property
    def environment(self) -> dict[str, str]:
        """What tells a client of it."""
        return {
            "AWS_ENDPOINT_URL": f"http://{self.host}:{self.port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextmanager
def s3_server() -> Iterator[Endpoint]:
    """A server without a bucket."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        _request(Endpoint(host, port), "POST", "/moto-api/reset")
        yield Endpoint(host, port)
    finally:
        server.stop()


def bucket(endpoint: Endpoint, name: str = "studies") -> str:
    """Make a bucket, and give its URI."""
    assert _request(endpoint, "PUT", f"/{name}") == 200
    return f"s3://{name}"


@contextmanager
def gs_server() -> Iterator[Endpoint]:
    """A server of Google's kind, with the bucket `studies`: a process of its own, as pyarrow asks for a file's size
    without letting other threads of its process go on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, __file__, str(port)], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 30
        while not _listens(port):
            assert process.poll() is None
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.05)
        yield Endpoint("127.0.0.1", port)
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def _serve_gs(port: int) -> None:
    Storage._apply_list_delimiter = _including_folders
    http.server.HTTPServer = ThreadingHTTPServer  # or one client's open connection shuts out all others
    create_server("127.0.0.1", port, in_memory=True, default_bucket="studies").run()


def gs_uri(endpoint: Endpoint) -> str:
    """The URI of the bucket of such a server."""
    where = f"endpoint_override={endpoint.host}:{endpoint.port}&scheme=http&retry_limit_seconds=5"
    return f"gs://anonymous@studies?{where}"


_apply_delimiter = Storage._apply_list_delimiter


def _including_folders(self: Any, candidates: list[Any], prefix: str, delimiter: str, match_glob: str) -> Any:
    """What `includeTrailingDelimiter` means, which pyarrow sets and the emulator passes over: objects that stand for a
    folder are listed too."""
    objects, folders = _apply_delimiter(self, candidates, prefix, delimiter, match_glob)
    return objects + [one for name, one in candidates if name in folders], folders


def _request(endpoint: Endpoint, method: str, path: str) -> int:
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port)
    connection.request(method, path)
    return connection.getresponse().status


@dataclass
class Faults:
    """What a failing proxy did."""

    share: float
    """Of requests that fail."""
    luck: random.Random = field(default_factory=lambda: random.Random(0))
    counts: dict[str, int] = field(default_factory=dict)

    def draw(self) -> str:
        """What happens to a request: `none`, `refused`, `cut` before it arrives, or `unheard`: its answer is lost."""
        fault = self.luck.choice(("refused", "cut", "unheard")) if self.luck.random() < self.share else "none"
        self.counts[fault] = self.counts.get(fault, 0) + 1
        return fault


@contextmanager
def failing(before: Endpoint, share: float) -> Iterator[tuple[Endpoint, Faults]]:
    """A proxy before a server that lets a share of the requests fail."""
    faults = Faults(share)

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            body = self._body()
            fault = faults.draw()
            if fault == "refused":
                self._answer(503, {"Content-Type": "application/xml"}, _SLOW_DOWN)
                return
            if fault == "cut":
                self.close_connection = True
                return
            upstream = http.client.HTTPConnection(before.host, before.port, timeout=30)
            passed = {name: value for name, value in self.headers.items() if name.lower() not in _OWN}
            upstream.request(self.command, self.path, body, passed)
            response = upstream.getresponse()
            content = response.read()
            upstream.close()
            if fault == "unheard":
                self.close_connection = True
                return
            self._answer(response.status, dict(response.getheaders()), content)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            chunks = []
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                continue
            return b"".join(chunks)

        def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response_only(status)
            known = {name.lower(): value for name, value in headers.items()}
            for name, value in headers.items():
                if name.lower() not in _OWN:
                    self.send_header(name, value)
            head = self.command == "HEAD"
            self.send_header("Content-Length", known.get("content-length", "0") if head else str(len(content)))
            self.end_headers()
            if not head:
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Endpoint("127.0.0.1", server.server_address[1]), faults
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    _serve_gs(int(sys.argv[1]))
