"""The worker's side: Ray Tune's trainable as a thin shell over the generator of a trial's records."""

import fcntl
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from ray.tune import PlacementGroupFactory, Trainable

from flowsearch.study.leaving import listen
from flowsearch.study.mirror import Mirror
from flowsearch.study.outcome import Failure
from flowsearch.study.provenance import processor
from flowsearch.study.records import Record, keep, read_records
from flowsearch.training import notice
from flowsearch.training.config import TrialConfig
from flowsearch.training.header import remove_unfinished
from flowsearch.training.prior_store import PriorStore

if TYPE_CHECKING:
    # Not loaded by each worker, as the study file and its YAML come with them, which it does not read.
    from flowsearch.study.own_parts import Carried
    from flowsearch.study.place import Place

RunTrial = Callable[..., Iterator[Record]]

_LOCK = ".worker.lock"
_HEARD = ("flowsearch.training", "flowsearch.models")
"""Loggers whose warnings are about a trial. Of its images the driver says once what there is to say."""
KERNELS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256", "LRU_CACHE_CAPACITY": "64"}
"""How many kernels oneDNN, and torch's layer over it, keep for the shapes that they have seen, unless the user says so.

By their own bounds of 1024 a worker that trains networks of many widths takes a gigabyte more
(`tests/benchmarks/worker_memory.py`); a U-Net is slower by half with 64, and not with 256.
"""
_PATIENCE_SECONDS = 120.0
"""How long to wait for a worker that an earlier driver left behind, or that lives on a machine that was cut off.

Such a machine's Ray gives up once it has not reached the head for a minute."""


@dataclass(frozen=True)
class Report:
    """What a worker tells the driver: that it started (with earlier attempts' records), a record, or a failure.

    Or that it is `leaving`, as its machine is about to be taken away, with the trial's state kept.
    """

    kind: Literal["started", "record", "raised", "leaving"]
    records: list[Record] = field(default_factory=list)
    host: str = ""
    failure: Failure | None = None
    device: str = ""
    """With a record: what made it, the GPU as CUDA names it or the processor."""
    warnings: list[str] = field(default_factory=list)
    """What the worker warned of after its last record, which says what came before."""

    @property
    def warned(self) -> list[str]:
        """All warnings in it."""
        return [*(text for record in self.records for text in record.get("warnings", ())), *self.warnings]


class _Warnings(logging.Handler):
    """What has been logged as a warning since it was last taken, each text once and on one line."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._texts: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging."""
        self._texts[" ".join(record.getMessage().split())] = None

    def take(self) -> list[str]:
        """The texts, forgotten with this."""
        texts, self._texts = list(self._texts), {}
        return texts


class TrialActor(Trainable):
    """Runs one trial after another in the same process.

    An order holds `number`, `trial` (the configuration), `run_trial` (an import path such as
    `flowsearch.training:run_trial`), `checkpoint_dir`, `prior_dir`, `device`, `threads`, `gpu`, `micro_batch` (None:
    the whole batch at once) and `anew` (whether what is in `checkpoint_dir` is cleared first). Of a study in an object
    store, `kept` is the URI and the folder there that hold what `checkpoint_dir` does, and `priors` the URI of the
    priors and the key of the one that the trial needs; folders of this machine then stand for both.
    """

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory:
        """What Ray holds for an order: a core for each thread, and its share of a GPU."""
        return PlacementGroupFactory([{"CPU": config["threads"], "GPU": config["gpu"]}])

    def setup(self, config: dict[str, Any], parts: "Carried | None" = None) -> None:
        """Called by Ray once a process, with the first order, and with parts of one's own where the study has any."""
        if parts is not None:
            parts.put()
        listen()
        self._warnings = _Warnings()
        for name in _HEARD:
            logging.getLogger(name).addHandler(self._warnings)
        self._leaving = False
        self._records: Iterator[Record] | None = None
        self._lock: IO[str] | None = None
        self._announced = False
        self._take(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Called by Ray with each further order."""
        self.cleanup()
        self._take(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """The trial's next record. Nothing is raised from here: the driver decides what an exception means."""
        if self._leaving:
            # The driver has heard of it. Without this process its machine gets no other trial meanwhile.
            os._exit(0)
        try:
            if not self._announced:
                self._announced = True
                self._take_folder()
                return {"report": Report("started", read_records(self._folder), platform.node())}
            if notice.given():
                raise notice.LeavingError
            if self._records is None:
                self._records = self._begin()
            record = next(self._records, None)
            if record is None:
                raise RuntimeError("the trial ended without a final record")
            if warned := self._warnings.take():
                record["warnings"] = warned
            final = record["phase"] == "final"
            if final:
                self.cleanup()
            else:
                self._keep(record)
            return {"report": Report("record", [record], device=self._device()), "done": final}
        except notice.LeavingError:
            self.cleanup()
            self._leaving = True
            return {"report": Report("leaving", warnings=self._warnings.take())}
        except (Exception, SystemExit) as error:
            failure = Failure.of(error)
        # Outside of `except`, where the exception no longer holds on to what filled the memory.
        self.cleanup()
        return {"report": Report("raised", failure=failure, warnings=self._warnings.take()), "done": True}

    def cleanup(self) -> None:
        """Called by Ray when the process is given up; lets the generator close what it holds."""
        records, self._records = self._records, None
        close = getattr(records, "close", None)
        if close is not None:
            try:
                close()
            except Exception as error:
                print(f"a trial did not close cleanly: {error}", file=sys.stderr)
        lock, self._lock = self._lock, None
        if lock is not None:
            if self._share() and self._mirror is not None and isinstance(self._order["number"], int):
                self._mirror.empty()  # a disk must not fill with what is elsewhere; priors are for the trials to come
            lock.close()

    def _take(self, order: dict[str, Any]) -> None:
        self._order = order
        kept = order.get("kept")
        self._mirror = None if kept is None else _place(kept[0]).mirror(kept[1])
        self._folder = Path(order["checkpoint_dir"]) if self._mirror is None else self._mirror.local
        self._announced = False
        self._warnings.take()
        threads = str(order["threads"])
        os.environ.update(KERNELS | os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads})

    def _take_folder(self) -> None:
        """Be the only one that writes into the trial's folder, and clear it where the trial begins anew.

        A driver that was killed may leave a worker behind, which ends within moments, but may still write until then.
        Raises TimeoutError where it does not end.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self._folder / _LOCK).open("a")
        until = time.monotonic() + _PATIENCE_SECONDS
        while not _locked(self._lock):
            if time.monotonic() > until:
                raise TimeoutError(f"another process has been writing into {self._folder} for {_PATIENCE_SECONDS:g} s")
            time.sleep(0.05)
        remove_unfinished(self._folder)
        if self._mirror is not None:
            if self._order["anew"]:
                self._mirror.clear()
            self._mirror.fetch()
        elif self._order["anew"]:
            for path in self._folder.iterdir():
                if path.is_file() and path.name != _LOCK:
                    path.unlink()

    def _begin(self) -> Iterator[Record]:
        run_trial = resolve(self._order["run_trial"])
        if "torch" in sys.modules:
            torch = sys.modules["torch"]
            torch.set_num_threads(self._order["threads"])
            if torch.get_num_interop_threads() != 1:  # by default as many as the machine has cores; settable once
                torch.set_num_interop_threads(1)
        config = TrialConfig.from_dict(self._order["trial"])
        where = {"checkpoint_dir": self._folder, "prior_dir": self._priors()}
        micro_batch = self._order["micro_batch"]
        parts = {} if micro_batch is None else {"micro_batch": micro_batch}
        return run_trial(config, **where, device=self._order["device"], **parts)

    def _device(self) -> str:
        """What the trial runs on: a GPU's name, or the processor's."""
        torch = sys.modules.get("torch")
        if self._order["device"] != "cpu" and torch is not None and torch.cuda.is_available():
            return str(torch.cuda.get_device_name())
        return processor()

    def _priors(self) -> Path:
        """The folder of the priors on this machine, with the one that the trial needs in it."""
        found = self._order.get("priors")
        if found is None:
            return Path(self._order["prior_dir"])
        place, key = _place(found[0]), found[1]
        if key and not PriorStore(place.local).finished(key):
            Mirror(place.folder(key), place.store.at(key)).fetch()
        return place.local

    def _keep(self, record: Record) -> None:
        keep(self._folder, record)
        self._share()

    def _share(self) -> bool:
        """Put the checkpoint where another machine finds it; one that is not taken (False) goes with the next."""
        if self._mirror is not None:
            try:
                # A prior may be pre-trained by two at once, each to the same end.
                self._mirror.push(alone=isinstance(self._order["number"], int))
            except OSError as error:
                print(f"the checkpoint could not be put into {self._mirror.store.where}: {error}", file=sys.stderr)
                return False
        return True


def _place(uri: str) -> "Place":
    from flowsearch.study.place import Place

    return Place(uri)


def _locked(file: IO[str]) -> bool:
    """Whether this process now holds the lock; a file system without locks has nothing to wait for."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def resolve(path: str) -> RunTrial:
    """The function that an import path such as `flowsearch.training:run_trial` names."""
    module, _, name = path.partition(":")
    function: RunTrial = getattr(import_module(module), name)
    return function
