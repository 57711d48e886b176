"""What a container's image says of itself: Ray's version, Python's, and whether it has CUDA."""

import re
from collections.abc import Sequence

from flowsearch.cluster.located import Document, Keys

OLDEST_PYTHON = (3, 11)
"""The oldest that flowsearch runs on."""

_RAYS = re.compile(r"(?:docker\.io/)?rayproject/(?P<name>ray[\w-]*)(?::(?P<tag>\S+))?")
_TAG = re.compile(r"(?P<ray>\d+\.\d+\.\d+)(?:\.\w+)?(?:-py(?P<python>3\d+))?(?P<rest>.*)")


def is_rays(image: str) -> bool:
    """Whether the image is one that Ray's makers publish."""
    return _RAYS.fullmatch(image) is not None


def check_images(document: Document, images: Sequence[tuple[Keys, str]], ray_version: str) -> None:
    """Find images of another Ray than the one that is here; of images of one's own nothing can be told."""
    for way, image in images:
        published = _RAYS.fullmatch(image)
        if published is None:
            continue
        like = f"rayproject/ray:{ray_version}-py{OLDEST_PYTHON[0]}{OLDEST_PYTHON[1]}-gpu"
        if published["name"] != "ray":
            document.find(way, f"rayproject/{published['name']} is not published for Ray {ray_version}", f"take {like}")
            continue
        tag = _TAG.fullmatch(published["tag"] or "")
        if tag is None:
            document.find(way, f"{image} does not say which Ray it has", f"name the version: {like}")
            continue
        if tag["ray"] != ray_version:
            document.find(
                way, f"has Ray {tag['ray']}, and {ray_version} is here; they do not talk to each other", f"take {like}"
            )
        if tag["python"] is None or (3, int(tag["python"][1:])) < OLDEST_PYTHON:
            oldest = ".".join(map(str, OLDEST_PYTHON))
            document.find(way, f"flowsearch needs Python {oldest} or later, and {image} has another", f"take {like}")


def check_gpu(document: Document, way: Keys, image: str) -> None:
    """Find an image of Ray's without CUDA where machines have GPUs."""
    published = _RAYS.fullmatch(image)
    if published is not None and not re.search(r"-(gpu|cu\d+)", published["tag"] or ""):
        document.find(way, f"{image} has no CUDA, so that GPUs are not used", "take the tag that ends in -gpu")
