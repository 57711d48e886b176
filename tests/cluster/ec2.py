"""Amazon's EC2 and IAM on loopback (moto), with a diary of what is asked, and a switch that makes machines scarce.

    python tests/cluster/ec2.py PORT FOLDER

Each request is a line of `FOLDER/asked.jsonl`, with the key of who asked. While there is a file `FOLDER/scarce`, there
are no machines of the market that it names (`spot` or `on-demand`).
"""

import io
import json
import logging
import re
import sys
import urllib.parse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

REFUSED = (
    b"<Response><Errors><Error><Code>InsufficientInstanceCapacity</Code><Message>We currently do not have sufficient "
    b"capacity in the Availability Zone you requested.</Message></Error></Errors><RequestID>0</RequestID></Response>"
)


class Diary:
    """What stands before moto."""

    def __init__(self, app: Callable[..., Iterable[bytes]], folder: Path) -> None:
        self.app, self.folder = app, folder

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        asked = dict(urllib.parse.parse_qsl(body.decode()))
        action = asked.get("Action")
        market = asked.get("InstanceMarketOptions.MarketType", "on-demand")
        scarce = self.folder / "scarce"
        refused = action == "RunInstances" and scarce.exists() and scarce.read_text() == market
        if action is not None:
            by = re.search(r"Credential=(\w+)", environ.get("HTTP_AUTHORIZATION", ""))
            with (self.folder / "asked.jsonl").open("a") as file:
                file.write(json.dumps(asked | {"By": by and by[1], "Refused": refused}) + "\n")
        if refused:
            start("500 Internal Server Error", [("Content-Type", "text/xml")])
            return [REFUSED]
        if action == "RunInstances":  # moto starts the least number, EC2 the greatest that it has
            body = body.replace(b"MinCount=1&", f"MinCount={asked['MaxCount']}&".encode())
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        return self.app(environ, start)


def serve(port: int, folder: Path) -> None:
    """Answer until killed."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    make_server("127.0.0.1", port, Diary(DomainDispatcherApplication(create_backend_app), folder), True).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
