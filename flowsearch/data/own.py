"""A researcher's own source of images: `data.source: mylab.faces:load`, called once and kept.

    def load(size, *, seed, grey, count):      # whichever of these it names
        yield ...                              # arrays or Pillow images

An image is a Pillow image, or an array (H, W), (H, W, C) or (C, H, W) with C = 1 or 3, as uint8, uint16 or
floating-point in [0, 1]. It is cropped to the centred square and resized, as a file is.
"""

import hashlib
import inspect
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flowsearch.data.arrays import channels_last, in_words
from flowsearch.data.collect import Collection
from flowsearch.data.decode import OutOfRangeError, decode, fitted
from flowsearch.data.source import Read
from flowsearch.data.store import (
    MANIFEST,
    NAMES,
    OWN,
    Manifest,
    data_home,
    locked,
    made_whole,
    order_key,
    read_manifest,
    write_json,
)
from flowsearch.parts import blamed, load_part

_GIVEN = ("size", "seed", "grey", "count")


def own(name: str, size: int, seed: int, count: int, *, channels: int | None = None) -> tuple[Manifest, Path]:
    """The set that `module:name` gives, made where it is not yet stored: its manifest and folder.

    The key under which it is stored is made of the name, the text of the module's file, `size`, and those of `seed`,
    `grey` and `count` that the callable names: a change of the code makes a new set. What the code reads (files, say)
    is not seen; a callable whose files changed says so by a change of its own, such as a version in its text.

    Where the callable names both `seed` and `count`, the images are kept in the order in which it gives them: a larger
    count then adds images at the end and moves none. Elsewhere they are kept in the order of the seed.

    Args:
        seed: for a callable that takes it; 0 stands for it elsewhere.
        count: how many images are asked for: for a callable that could go on for ever and takes `count`.
        channels: 1 or 3 to convert all images to; None for what the first image has.

    Raises:
        ValueError: no such module or name, not callable with these arguments, something that is no image, images of
            different channels where `channels` is None, or none at all; names the source and the image.
    """
    load = load_part(name)
    given = _arguments(load, name, {"size": size, "seed": seed, "grey": channels == 1, "count": count})
    as_given = {"seed", "count"} <= given.keys()
    decided = {"source": name, "code": _code_of(load), "size": size, "channels": channels, **given}
    decided |= {"order": "as given"} if as_given else {}
    key = hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()
    folder = data_home() / OWN / f"{name.replace(':', '-')}-{key[:16]}"
    if not (folder / MANIFEST).is_file():
        with locked(folder):
            if not (folder / MANIFEST).is_file():
                wanted = Manifest(
                    name=name,
                    size=size,
                    channels=channels or 0,
                    count=0,
                    source=name,
                    source_digest=key,
                    crop=None,
                    seed=given.get("seed", 0),  # not the first caller's: equal sets are to have equal fingerprints
                    limit=None,
                    fingerprint="",
                )
                with made_whole(folder) as aside:
                    _write(aside, _called(load, name, given), wanted, as_given)
    return read_manifest(folder), folder


def _arguments(load: Any, name: str, offered: dict[str, Any]) -> dict[str, Any]:
    """Those of the offered arguments that the callable names; `size` is required of it."""
    rule = f"{name} is to be a callable that takes size, and may take seed, grey and count"
    try:
        parameters = inspect.signature(load).parameters.values()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{rule}; what it takes cannot be told ({error})") from None
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    named = {parameter.name for parameter in parameters if parameter.kind is not parameter.POSITIONAL_ONLY}
    unknown = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        and (parameter.name not in offered or parameter.kind is parameter.POSITIONAL_ONLY)
    ]
    if unknown or ("size" not in named and not takes_all):
        raise ValueError(f"{rule}; it takes {inspect.signature(load)}")
    return {key: offered[key] for key in _GIVEN if takes_all or key in named}


def _code_of(load: Callable[..., Any]) -> str:
    """sha256 over the text of the module that holds the callable; nothing where it has no file."""
    module = sys.modules.get(getattr(load, "__module__", None) or type(load).__module__)
    file = getattr(module, "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file and Path(file).is_file() else ""


def _called(load: Callable[..., Any], name: str, given: dict[str, Any]) -> Iterator[Any]:
    with blamed(f"{name} is called with {', '.join(f'{key} {value}' for key, value in given.items())}, and"):
        images = load(**given)
    if not isinstance(images, Iterable):
        raise ValueError(f"{name} is to return images one after another, not {type(images).__name__}")
    return _each(iter(images), name)


def _each(images: Iterator[Any], name: str) -> Iterator[Any]:
    """The images; what the researcher's code raises on the way to one names it."""
    for place in itertools.count():
        with blamed(f"image {place} of {name}"):
            try:
                image = next(images)
            except StopIteration:
                return
        yield image


def _write(aside: Path, images: Iterator[Any], wanted: Manifest, as_given: bool) -> None:
    name = wanted.name
    first = next(images, None)
    if first is None:
        raise ValueError(f"{name} gave no image")
    channels = wanted.channels or _channels(_image(first, name, 0))
    taken = 0

    def reads() -> Iterator[tuple[int, Read]]:
        nonlocal taken
        for place, given in enumerate(itertools.chain((first,), images)):
            image = _image(given, name, place)
            if not wanted.channels and _channels(image) != channels:
                raise ValueError(
                    f"image {place} of {name} is {in_words(_channels(image))} and image 0 {in_words(channels)}; give "
                    "all the same number of channels"
                )
            taken = place + 1
            yield place, partial(_pixels, image, wanted.size, channels == 1)

    # Sized by the read, so that arrays and Pillow images need not become files first.
    with Collection(aside, lambda pixels: pixels, str) as collection:  # type: ignore[arg-type, return-value]
        try:
            for _ in collection.take(reads()):
                pass
        except OutOfRangeError as error:
            raise ValueError(f"{name}, {error}") from None
        places = range(taken)
        in_order = places if as_given else sorted(places, key=lambda place: order_key(wanted.seed, str(place)))
        collection.keep(in_order, None)
        broken = [skip for skip in collection.skipped if "the same pixels" not in skip[1]]
        if broken:
            raise ValueError(f"image {broken[0][0]} of {name} cannot be used: {broken[0][1]}")
        fingerprint = collection.write(collection.kept)
    manifest = replace(
        wanted,
        channels=channels,
        count=len(collection.kept),
        fingerprint=fingerprint,
        skipped=tuple(sorted(collection.skipped)),
    )
    write_json(aside / NAMES, [str(place) for place in collection.kept])
    write_json(aside / MANIFEST, manifest.to_dict())


def _image(given: Any, name: str, place: int) -> NDArray | Image.Image:
    """A Pillow image as it is, or an array (H, W) or (H, W, C)."""
    if isinstance(given, Image.Image):
        return given
    try:
        return channels_last(np.array(given))  # a copy: the callable may fill the same array again
    except (TypeError, ValueError) as error:
        raise ValueError(f"image {place} of {name} is no image: {error}") from None


def _channels(image: NDArray | Image.Image) -> int:
    if isinstance(image, Image.Image):
        return 1 if image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I") else 3
    return 1 if image.ndim == 2 else image.shape[2]


def _pixels(image: NDArray | Image.Image, size: int, grey: bool) -> NDArray[np.uint8]:
    if isinstance(image, Image.Image):
        return fitted(image, size=size, crop=None, grey=grey)
    return decode(image, size=size, crop=None, grey=grey)
