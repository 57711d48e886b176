"""An S3 server on loopback, and a proxy before it that fails now and then, as a real one does on a bad day."""

import http.client
import logging
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from moto.server import ThreadedMotoServer

_SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>"

_OWN = ("transfer-encoding", "connection", "content-length", "expect")
"""Headers that belong to a connection, not to what it carries."""


@dataclass(frozen=True)
class Endpoint:
    """Where an S3 server listens."""

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
    """A proxy before an S3 server that lets a share of the requests fail."""
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
