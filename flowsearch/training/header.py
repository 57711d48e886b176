"""What a checkpoint is about, read off its header as the safetensors format defines it, without torch."""

import json
import os
import struct
from pathlib import Path
from typing import Any

LAST, BEST = "last.safetensors", "best.safetensors"
"""What training leaves in a trial's folder: its state after an epoch, and the weights of the best one."""
CHOSEN = "chosen.safetensors"
"""What a trial tuned on its validation images: a file without tensors, all of it in its header."""

_LONGEST = 2**26


def remove_unfinished(folder: Path) -> None:
    """Remove what a process that was killed while it wrote a checkpoint left aside; for whoever alone writes there."""
    for path in folder.glob(".*.safetensors.*"):
        path.unlink(missing_ok=True)


def about(path: Path) -> dict[str, Any]:
    """What `checkpoint.write` was told of the tensors.

    Raises OSError where the file cannot be read, ValueError where it is no checkpoint or not of its header's length.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, _LONGEST)))
        subject = json.loads(header.pop("__metadata__")["about"])
        whole = 8 + length + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    except (struct.error, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} has no header of a checkpoint: it is damaged, or another kind of file") from error
    if not isinstance(subject, dict):
        raise ValueError(f"{path} has no header of a checkpoint: it is damaged, or another kind of file")
    if size != whole:
        raise ValueError(f"{path} is damaged: a checkpoint of {whole:,} bytes by its header, it has {size:,}")
    return subject
