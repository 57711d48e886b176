"""A worker's ear for the notice that its machine will be taken away: Ray drains the node, or sends SIGTERM."""

import signal
import threading
import time
from typing import Any

from flowsearch.training import notice

_POLL_SECONDS = 2.0
_listening = False


def listen() -> None:
    """Give the process's notice when one comes; called once a process, from its main thread."""
    global _listening
    if _listening:
        return
    _listening = True
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _on_signal)
    import ray

    context = ray.get_runtime_context()
    # A study's own Ray, on loopback, has one node, which nobody drains.
    if not context.gcs_address.startswith("127."):
        threading.Thread(target=_poll, args=(context.get_node_id(),), daemon=True, name="notice of leaving").start()


def _on_signal(number: int, frame: Any) -> None:
    notice.give()


def _poll(node: str) -> None:
    """Ask the head every few seconds whether this node is being drained."""
    from ray._private.state import state

    while not notice.given():
        try:
            if node in state.get_draining_nodes():
                notice.give()
        except Exception:
            return  # without its head the process ends soon
        time.sleep(_POLL_SECONDS)
