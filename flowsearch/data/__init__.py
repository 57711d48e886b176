"""Image sets: built-in drawn sources, preparation of files and archives, own sources, splits with a fingerprint."""

from flowsearch.built_in import BUILT_IN
from flowsearch.data.config import DataConfig, is_own
from flowsearch.data.drawn import draw, drawn
from flowsearch.data.prepare import prepare
from flowsearch.data.sheet import channel_statistics, contact_sheet, grey_levels, spread_over, write_sheet
from flowsearch.data.splits import Counted, Datasets, counted, lacking, load, without_copies
from flowsearch.data.store import (
    Manifest,
    data_home,
    find_dataset,
    fingerprint_images,
    folder_of,
    list_datasets,
    list_own,
    open_images,
)

__all__ = [
    "BUILT_IN",
    "Counted",
    "DataConfig",
    "Datasets",
    "Manifest",
    "channel_statistics",
    "contact_sheet",
    "counted",
    "data_home",
    "draw",
    "drawn",
    "find_dataset",
    "fingerprint_images",
    "folder_of",
    "grey_levels",
    "is_own",
    "lacking",
    "list_datasets",
    "list_own",
    "load",
    "open_images",
    "prepare",
    "spread_over",
    "without_copies",
    "write_sheet",
]
