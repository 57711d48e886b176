"""What a checkpoint is about, read off its header as the safetensors format defines it, without torch."""

import json
import struct
from pathlib import Path
from typing import Any

LAST, BEST = "last.safetensors", "best.safetensors"
"""What training leaves in a trial's folder: its state after an epoch, and the weights of the best one."""
CHOSEN = "chosen.safetensors"
"""What a trial tuned on its validation images: a file without tensors, all of it in its header."""

_LONGEST = 2**26


def about(path: Path) -> dict[str, Any]:
    """What `checkpoint.write` was told of the tensors. Raises OSError or ValueError where the file is no checkpoint."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            subject = json.loads(json.loads(file.read(min(length, _LONGEST)))["__metadata__"]["about"])
    except (struct.error, KeyError, TypeError) as error:
        raise ValueError(f"{path} has no header of a checkpoint") from error
    if not isinstance(subject, dict):
        raise ValueError(f"{path} has no header of a checkpoint")
    return subject
