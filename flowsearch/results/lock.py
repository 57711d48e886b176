"""The lock by which a process holds a study in a folder while it runs it."""

import fcntl
from pathlib import Path

LOCK = ".lock"
"""The file in a study's folder that the process which runs it has locked."""


def is_locked(folder: Path) -> bool | None:
    """Whether a process runs the study in `folder`; None where that cannot be known: no lock file, as in a copied
    folder, or no locks."""
    try:
        with (folder / LOCK).open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:
        return None
