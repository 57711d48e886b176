"""What many comparisons at once are worth."""

import numpy as np
import numpy.typing as npt

from flowsearch.statistics.interval import Values


def holm(p: Values) -> npt.NDArray[np.float64]:
    """Adjusted p-values (m,) by Holm's step-down method; NaN where there is none, which counts as no comparison.

    In rising order, p~_(i) = max over j <= i of min(1, (m - j + 1) p_(j)). Rejecting where p~ <= a keeps the chance of
    one or more false findings among the m at most a, however the comparisons depend on each other (Holm, Scandinavian
    Journal of Statistics 6, 1979).
    """
    values = np.asarray(p, dtype=np.float64)
    adjusted = np.full(values.shape, np.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    steps = (len(order) - np.arange(len(order))) * values[order]
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
