"""From images in any order to one file in the order of a seed: decoded by threads, copies found, none held in memory.

Decoded images go to a file aside as they come; when all are there, the ones to keep are copied from it in their order.
So memory is that of a few images, whatever their number, and the disk needs room for the set twice.
"""

import hashlib
import os
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from flowsearch.cores import cores
from flowsearch.data.decode import OutOfRangeError
from flowsearch.data.source import Read, Skipped
from flowsearch.data.store import IMAGES

Job = Callable[[bytes | NDArray], NDArray[np.uint8]]
_ASIDE = "pixels"
_BATCH = 8
"""Images that a thread takes at once: enough that handing over costs little beside decoding."""
_MOST_THREADS = 16


@dataclass(frozen=True)
class _Stored:
    slot: int
    digest: bytes


class Collection:
    """The images of a set that is being made in the folder `aside`.

    `take` decodes images in the order in which they can be read; `keep` then goes through them in the order of the set
    and decides; `write` makes the file. `take` and `keep` may be called again for further images.
    """

    def __init__(self, aside: Path, job: Job, name_of: Callable[[int], str]) -> None:
        self.kept: list[int] = []
        """Places (in the source) of the images of the set, in its order."""
        self.skipped: list[Skipped] = []
        self._job = job
        self._name_of = name_of
        self._path = aside
        self._file = (aside / _ASIDE).open("wb", buffering=1 << 20)
        self._shape: tuple[int, ...] = ()
        self._slots = 0
        self._outcomes: dict[int, _Stored | str] = {}
        self._slot_of: dict[int, int] = {}
        self._first: dict[bytes, int] = {}

    def take(self, reads: Iterable[tuple[int, Read]]) -> Iterator[int]:
        """Decode images and store their pixels aside; yields how many are done after each.

        Raises OutOfRangeError with the image's name where its numbers cannot be pixels.
        """
        with closing(_decoded(reads, self._job)) as decoded:
            for done, (place, outcome) in enumerate(decoded, start=1):
                if isinstance(outcome, OutOfRangeError):
                    raise OutOfRangeError(f"image {self._name_of(place)}: {outcome}")
                if isinstance(outcome, str):
                    self._outcomes[place] = outcome
                else:
                    image, digest = outcome
                    self._shape = self._shape or image.shape
                    assert image.shape == self._shape
                    self._file.write(image.tobytes())
                    self._outcomes[place] = _Stored(self._slots, digest)
                    self._slots += 1
                yield done

    def keep(self, places: Iterable[int], limit: int | None) -> None:
        """Decide on images that were taken, in the order given, until `limit` are kept in all.

        Of images with the same pixels the first is kept: one could otherwise be trained on and its copy tested on.
        """
        for place in places:
            if limit is not None and len(self.kept) >= limit:
                break
            outcome = self._outcomes[place]
            if isinstance(outcome, str):
                self.skipped.append((self._name_of(place), outcome))
                continue
            first = self._first.setdefault(outcome.digest, place)
            if first != place:
                self.skipped.append((self._name_of(place), f"the same pixels as {self._name_of(first)}"))
            else:
                self.kept.append(place)
                self._slot_of[place] = outcome.slot
        self._outcomes.clear()

    def write(self, order: Sequence[int]) -> str:
        """Write `images.npy` with these places of `kept`, remove what lay aside, and return the fingerprint."""
        shape = (len(order), *self._shape)
        length = int(np.prod(self._shape))
        digest = hashlib.sha256()
        self.close()
        # Unbuffered: a buffer would read far more than one image at each place.
        with (self._path / _ASIDE).open("rb", buffering=0) as stored, (self._path / IMAGES).open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for place in order:
                stored.seek(self._slot_of[place] * length)
                pixels = stored.read(length)
                assert len(pixels) == length
                digest.update(pixels)
                file.write(pixels)
            file.flush()
            os.fsync(file.fileno())
        (self._path / _ASIDE).unlink()
        digest.update(repr(shape).encode())
        return digest.hexdigest()

    def close(self) -> None:
        """Close what lies aside."""
        self._file.close()

    def __enter__(self) -> "Collection":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_Outcome = tuple[NDArray[np.uint8], bytes] | str | OutOfRangeError


def _attempt(batch: list[tuple[int, Read]], job: Job) -> list[tuple[int, _Outcome]]:
    """Each image's pixels and their sha256, or the reason why there are none."""
    outcomes: list[tuple[int, _Outcome]] = []
    for place, read in batch:
        try:
            image = job(read())
            outcomes.append((place, (image, hashlib.sha256(image.data).digest())))
        except OutOfRangeError as error:
            outcomes.append((place, error))
        except ValueError as error:
            outcomes.append((place, str(error)))
        except (OSError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            outcomes.append((place, f"cannot be read ({error})"))
    return outcomes


def _decoded(reads: Iterable[tuple[int, Read]], job: Job) -> Generator[tuple[int, _Outcome], None, None]:
    """Each image with its outcome, in the order of `reads`. Pillow decodes and resizes without holding Python's lock,
    so threads serve, and start at once."""
    threads = min(cores(), _MOST_THREADS)
    waiting: deque[Future[list[tuple[int, _Outcome]]]] = deque()
    pool = ThreadPoolExecutor(threads)
    source = iter(reads)
    try:
        while batch := list(islice(source, _BATCH)):
            waiting.append(pool.submit(_attempt, batch, job))
            if len(waiting) > threads + 2:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
