"""The names of the image sources that flowsearch draws itself, in which nobody is seen."""

from typing import Final

BUILT_IN: Final = ("faces", "anime")
