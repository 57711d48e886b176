"""Image sets: built-in drawn sources, preparation of folders and zips, splits with a fingerprint."""

from flowsearch.data.config import DataConfig
from flowsearch.data.drawn import draw, drawn
from flowsearch.data.prepare import prepare
from flowsearch.data.sheet import contact_sheet
from flowsearch.data.splits import Datasets, load
from flowsearch.data.store import (
    BUILT_IN,
    Manifest,
    data_home,
    find_dataset,
    fingerprint_images,
    folder_of,
    list_datasets,
    open_images,
)

__all__ = [
    "BUILT_IN",
    "DataConfig",
    "Datasets",
    "Manifest",
    "contact_sheet",
    "data_home",
    "draw",
    "drawn",
    "find_dataset",
    "fingerprint_images",
    "folder_of",
    "list_datasets",
    "load",
    "open_images",
    "prepare",
]
