"""What a driver's process holds while it runs a study: the study's lock, the signals, and an eye on its Ray."""

import fcntl
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

from flowsearch.results.lock import LOCK
from flowsearch.study.lease import Lease
from flowsearch.study.local import broken
from flowsearch.study.place import Place

Why = Literal["", "signal", "budget", "failures", "disk", "ray", "taken"]
"""What stopped a study before its last trial."""

_LAST_SECONDS = 15
"""What a study has to write down its end after Ray died."""
_LOOK_SECONDS = 1.0
"""How often to look whether the study's folder is still there."""


class Hold:
    """A study held by a lock on the file at `path`, which says who has it, in the words `who`.

    What is written to a folder that was moved away would make it anew, apart from all that is known of the study.
    """

    def __init__(self, path: Path, who: str) -> None:
        self._path, self._who = path.absolute(), who
        self._looked, self._lost = time.monotonic(), False

    @property
    def lost(self) -> bool:
        """Whether the folder was moved or removed, or somebody else took it with a lock file of its own; looked at
        once a second at most."""
        now = time.monotonic()
        if not self._lost and now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            try:
                self._lost = self._path.read_text() != self._who
            except FileNotFoundError:
                self._lost = True
            except (OSError, ValueError):
                pass  # nothing is known of it: a disk that does not answer now
        return self._lost


@contextmanager
def held(place: Place) -> Iterator[Hold | Lease]:
    """Hold the study for this process, by a lock on its folder, and by a lease where it is in an object store.

    A process that dies lets go of a lock at once, of a lease within seconds. `lost` of what is given says whether
    another process has taken the study over.
    """
    place.local.mkdir(parents=True, exist_ok=True)
    with (place.local / LOCK).open("a+") as file:
        who = _lock(file, place.where)
        if not place.remote:
            yield Hold(place.local / LOCK, who)
            return
        with Lease(place.store) as lease:
            yield lease


def _lock(file: TextIO, root: str) -> str:
    """Take the lock, write into its file who has it, and give what was written.

    The lock is the kernel's, so that it goes with the process. On NFS (version 4, or 3 with its lock service) it holds
    between machines too; a file system without locks is refused.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        who = " ".join(file.read(200).split())
        raise ValueError(
            f"another process is running the study in {root}{f' ({who})' if who else ''}; wait for it, or end it first"
        ) from None
    except OSError as error:
        raise ValueError(f"{root} cannot be locked against a second driver ({error}); use another disk") from None
    file.truncate(0)
    who = f"process {os.getpid()} on {platform.node()} since {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n"
    file.write(who)
    file.flush()
    return who


@contextmanager
def watched() -> Iterator[None]:
    """End this process where its Ray died during the body and the body does not come to its end soon after.

    A call to a raylet that is gone may wait for ever. Nothing is lost so: the ledger is written event by event.
    """
    over = threading.Event()

    def watch() -> None:
        seconds = 0
        while not over.wait(1):
            seconds = seconds + 1 if broken() is not None else 0
            if seconds >= _LAST_SECONDS:
                print("Ray died, and this process can only be ended; resume the study", file=sys.stderr, flush=True)
                os._exit(1)

    threading.Thread(target=watch, daemon=True, name="watch Ray").start()
    try:
        yield
    finally:
        over.set()


_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AT_ONCE = b"\nended at once; `flowsearch study resume` goes on from the last checkpoints\n"


class Signal:
    """Whether the study was asked to stop, and by what.

    SIGINT, SIGTERM and SIGHUP (its terminal was closed) ask it to; the second one ends the process on the spot, and
    Ray's processes die with it. Where `nohup` has SIGHUP ignored it stays so.
    """

    def __init__(self) -> None:
        self.asked = False
        self.why: Why = ""
        self.reason = ""

    def install(self) -> None:
        """Take the signals. Called again once Ray runs, whose core has put a handler of its own before Python's."""
        if threading.current_thread() is threading.main_thread():
            for number in _STOPPING:
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, self._handle)

    def _handle(self, number: int, frame: Any) -> None:
        if self.why == "signal":
            try:
                os.write(2, _AT_ONCE)  # print could be in the middle of a line
            finally:
                os._exit(128 + number)
        self.ask("signal")

    def ask(self, why: Why, reason: str = "") -> None:
        self.asked, self.why, self.reason = True, self.why or why, self.reason or reason


@contextmanager
def signals() -> Iterator[Signal]:
    """The signals taken for the body, and given back after it."""
    stop = Signal()
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in _STOPPING} if main else {}
    stop.install()
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
