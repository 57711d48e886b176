"""A store whose user is killed at a chosen change of it."""

from collections.abc import Iterable

from flowsearch.storage import Folder


class Killed(BaseException):
    """Not an Exception, as a kill is none."""


class Killing(Folder):
    """A folder whose user is killed when it would change it once more than `steps` times, all such folders together."""

    steps = 0

    def put(self, name: str, content: bytes, *, safe: bool = True) -> None:
        self._step()
        super().put(name, content, safe=safe)

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            self._step()
            super().remove([name])

    def at(self, name: str) -> "Killing":
        return Killing(self.root / name)

    def _step(self) -> None:
        Killing.steps -= 1
        if Killing.steps < 0:
            raise Killed
