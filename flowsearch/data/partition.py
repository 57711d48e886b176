"""A published partition: which image belongs to which part, such as CelebA's `list_eval_partition.txt`."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from flowsearch.lazy import lazy

PARTS = ("train", "val", "test")
"""In the order of their numbers: 0, 1, 2."""


@dataclass(frozen=True)
class Partition:
    """Parts (places in `PARTS`) by the names of images or of folders, as the file writes them but for an extension."""

    name: str
    part_of: dict[str, int]
    digest: str

    def part(self, member: str) -> int | None:
        """The part of a source's member, or None where the partition does not name it, or names it two ways.

        It is named by its path or an end of it (`000001`, `patient07/000001`), else by those of a folder that it lies
        in, the innermost first (`patient07`). The file's paths may have further folders before (`all/patient07`), as
        long as these leave no doubt. An accented letter is one however it is written: archives made on macOS have a
        letter and its accent apart, what is typed has them in one.
        """
        member = normalize("NFC", member)
        for path in (_key(member), *map(str, PurePosixPath(member).parents[:-1])):
            for end in _ends(path):
                if end in self.part_of:
                    return self.part_of[end]
            longer = self._longer.get(path, set())
            if longer:
                return next(iter(longer)) if len(longer) == 1 else None
        return None

    @lazy
    def _longer(self) -> dict[str, set[int]]:
        """By each end of the paths of the file: the parts of what ends so."""
        found: dict[str, set[int]] = {}
        for key, part in self.part_of.items():
            for end in _ends(key)[1:]:
                found.setdefault(end, set()).add(part)
        return found


def read_partition(path: Path) -> Partition:
    """Read a file of lines `NAME PART`, PART being 0 (train), 1 (val) or 2 (test); a comma may stand between them.

    Extensions do not matter (CelebA is published as .jpg and as .png, with one list). A first line of headings is
    passed over.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line of another form, or an image that is put in two parts; names file and line.
    """
    content = path.read_bytes()
    part_of: dict[str, int] = {}
    try:
        lines = normalize("NFC", content.decode("utf-8-sig")).splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text; a partition is lines of NAME PART, such as 000001.jpg 0") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        found = re.fullmatch(r"\s*(\S.*?)(?:\s*,\s*|\s+)([012])\s*", line)
        if found is None:
            if number == 1:
                continue
            rule = "a line is NAME PART, with PART 0 (train), 1 (val) or 2 (test)"
            raise ValueError(f"{path}:{number}: {rule}, not {line!r}")
        key, part = _key(found[1]), int(found[2])
        if part_of.setdefault(key, part) != part:
            raise ValueError(f"{path}:{number}: {key} is in two parts, {PARTS[part_of[key]]} and {PARTS[part]}")
    if not part_of:
        raise ValueError(f"{path} names no image; a partition is lines of NAME PART, such as 000001.jpg 0")
    return Partition(path.name, part_of, hashlib.sha256(content).hexdigest())


def _key(name: str) -> str:
    """A name without an extension; numbers after a dot are none."""
    return re.sub(r"(?<=[^/])\.[A-Za-z]\w*$", "", name.strip("/"))


def _ends(path: str) -> list[str]:
    """A path, and it without its outer folders: `a/b/c`, `b/c`, `c`."""
    names = path.split("/")
    return ["/".join(names[place:]) for place in range(len(names))]
