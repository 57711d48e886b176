"""A worker's ear for the notice that its machine will be taken away: by Ray's drain, the cloud, SIGTERM."""

import logging
import signal
import threading
import time
from typing import Any

from flowsearch.study import clouds
from flowsearch.training import notice

_log = logging.getLogger(__name__)

_POLL_SECONDS = 2.0
_MOST_FAILURES = 150
"""Questions in a row that may fail: five minutes of them."""
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
    """Ask every few seconds whether this node is drained, and the cloud whether it takes the machine back.

    A question that fails is asked again: a control service that is busy or restarting answers later.
    """
    from ray._private.state import state

    cloud = clouds.taken_back()
    failures = 0
    while not notice.given():
        try:
            if node in state.get_draining_nodes():
                notice.give()
            elif cloud is not None and (seconds := cloud()) is not None:
                notice.give()
                _drain(node, seconds)
            failures = 0
        except Exception as error:
            failures += 1
            if failures == _MOST_FAILURES:
                _log.error("no longer asking whether this machine is to leave: %s failures in a row", failures)
                return
            if failures == 1:
                _log.warning("could not ask whether this machine is to leave, and will again: %s", error)
        time.sleep(_POLL_SECONDS)


def _drain(node: str, seconds: float) -> None:
    """Let the head send nothing more to this node, which has so many seconds left."""
    import ray
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.core.generated import autoscaler_pb2

    reasons: Any = autoscaler_pb2
    reason = reasons.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    address = ray.get_runtime_context().gcs_address
    GcsClient(address=address).drain_node(node, reason, "the cloud takes it back", int((time.time() + seconds) * 1000))
