"""A process that draws a part of a built-in source; `drawn` starts it."""

import sys
from pathlib import Path

from flowsearch.data.drawn import draw_part

if __name__ == "__main__":
    where, what, *numbers = sys.argv[1:]
    size, seed, grey, start, stop = (int(number) for number in numbers)
    draw_part(Path(where), what, size, seed, bool(grey), start, stop)
