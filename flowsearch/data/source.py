"""What every source of images is: a listing, and its members read in the order in which they lie."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from numpy.typing import NDArray

Read = Callable[[], bytes | NDArray]
"""Brings the bytes of an image file, or the pixels of one image; called in a thread that decodes."""
Skipped = tuple[str, str]
"""(member, reason)."""
LARGEST = 2**30
"""Bytes that a member has at most, since it is held in memory whole: more than any image that Pillow opens takes."""
TOO_LARGE = f"larger than any image: it has more than {LARGEST / 2**30:g} GiB"


@dataclass(frozen=True)
class Member:
    """One image of a source, perhaps: its name, and what tells whether it changed."""

    name: str
    mark: str


class Source(ABC):
    """Images that lie somewhere. The listing is made when the source is opened; images are read one after another."""

    members: list[Member]
    skipped: list[Skipped]
    """What the listing itself shows to be of no use."""

    @abstractmethod
    def read(self, wanted: Sequence[int]) -> Iterator[tuple[int, Read]]:
        """Each wanted member (places in `members`, ascending) with what reads it.

        Called anew for another stretch. Raises ValueError where the source itself, not one image, is damaged.
        """

    def digest(self, *settings: str | None) -> str:
        """sha256 over the listing and what else decides which images these are: tells whether a source changed."""
        listing = json.dumps(sorted((member.name, member.mark) for member in self.members))
        given = "".join(f"\n{setting}" for setting in settings if setting is not None)
        return hashlib.sha256((listing + given).encode()).hexdigest()

    def close(self) -> None:  # noqa: B027 - a source that holds nothing open has nothing to do
        """Let go of open files."""

    def __enter__(self) -> "Source":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def is_hidden(name: str) -> bool:
    """Whether a member is none that a person put there: `.DS_Store`, `__MACOSX/...` and the like."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def mark_of(path: Path) -> str:
    """What tells whether a file on disk changed: its size and when it was written."""
    state = path.stat()
    return f"{state.st_size}:{state.st_mtime_ns}"
