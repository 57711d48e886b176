"""One number chosen by trying: a search on a log scale."""

import logging
from collections.abc import Callable

_log = logging.getLogger(__name__)


def tune(
    score: Callable[[float], float], low: float, high: float, *, points: int = 5, refinements: int = 3, most: int = 6
) -> tuple[float, float]:
    """The value with the highest score, and the score.

    First `points` values from `low` to `high`, each the same factor above the one before. While the best stands at an
    end, that end moves out by the factor, `most` times at most. Then the two values halfway (on the log scale) to the
    best one's neighbours are tried, `refinements` times; nothing beyond an end is. The same values are tried whatever
    the scores' noise, so the result is as reproducible as `score`. A score that is not a number counts as the lowest.
    A best value at an end is logged, as a better one may lie beyond.
    """
    factor = (high / low) ** (1 / (points - 1))
    scores: dict[float, float] = {}

    def best() -> float:
        return max(scores, key=lambda value: (scores[value], -value))

    def attempt(value: float) -> None:
        if value not in scores:
            found = score(value)
            scores[value] = found if found == found else float("-inf")

    for place in range(points):
        attempt(high if place == points - 1 else low * factor**place)
    for _ in range(most):
        if best() == min(scores):
            attempt(min(scores) / factor)
        elif best() == max(scores):
            attempt(max(scores) * factor)
        else:
            break
    lowest, highest = min(scores), max(scores)
    for _ in range(refinements):
        factor **= 0.5
        centre = best()
        for value in (centre / factor, centre * factor):
            if lowest <= value <= highest:
                attempt(value)
    if best() in (lowest, highest):
        which = "lowest" if best() == lowest else "highest"
        _log.warning("tuned to %.3g, the %s value that is tried; a better one may lie beyond", best(), which)
    return best(), scores[best()]
