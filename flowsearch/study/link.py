"""Whether the cluster that this process has joined still answers, which Ray does not say for a minute, or ever."""

import socket
import sys
import time
from typing import Any

SILENCE_SECONDS = 10.0
"""So long may a cluster's head not answer, before it counts as dead."""


class Link:
    """Whether a joined cluster's head, and the raylet of this machine, still answer."""

    def __init__(self) -> None:
        self._places: dict[str, str] = {}
        self._asked, self._since = 0.0, 0.0
        self._silent: str | None = None

    def watch(self) -> None:
        """Watch the cluster that was joined just now."""
        node: Any = sys.modules["ray._private.worker"]._global_node
        self._places = {"head": node.gcs_address, "raylet": node.raylet_socket_name}
        self._silent = None

    def let_go(self) -> None:
        """Watch nothing."""
        self._places = {}

    def dead(self) -> str | None:
        """What has not answered for a while; asked once a second at most, as this is called far more often."""
        now = time.monotonic()
        if self._places and now - self._asked >= 1:
            self._asked = now
            silent = next((what for what, place in self._places.items() if not answers(place)), None)
            if silent is not None and self._silent is None:
                self._since = now
            self._silent = silent
        return self._silent if self._places and self._silent and now - self._since >= SILENCE_SECONDS else None


def answers(place: str) -> bool:
    """Whether somebody listens at an address (`host:port`) or a Unix socket."""
    host, _, port = place.rpartition(":")
    tcp = port.isdigit()
    family = socket.AF_INET6 if tcp and ":" in host else socket.AF_INET if tcp else socket.AF_UNIX
    with socket.socket(family, socket.SOCK_STREAM) as asked:
        asked.settimeout(1)
        try:
            asked.connect((host.strip("[]"), int(port)) if tcp else place)
        except OSError:
            return False
    return True
