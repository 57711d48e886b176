"""Which of a table's rows count: each once, of a trial's attempts the last, and what that went on from."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowsearch.results import schema

ROW_OF: dict[str, list[str]] = {
    schema.TRIALS: ["trial_id"],
    schema.EPOCHS: ["trial_id", "phase", "epoch"],
    schema.FOLDS: ["trial_id", "epoch", "fold"],
    schema.IMAGES: ["trial_id", "split", "image"],
    schema.PANELS: ["trial_id", "split", "image", "kind", "fold"],
}
"""What tells two rows of a table apart, the attempt aside."""

Numbers = NDArray[np.int64]


def settled(arrow: pa.Table, table: str) -> pa.Table:
    """The rows that count, in the order of what tells them apart; of two of the same attempt, the later one.

    Settled rows stay as they are, and may be settled again with newer ones: the outcome is that of all together.
    """
    if not arrow.num_rows:
        return arrow
    codes = {name: _codes(arrow.column(name)) for name in ROW_OF[table]}
    keep = _current(codes, _codes(arrow.column("attempt")), table)
    if not keep.all():
        arrow = arrow.filter(pa.array(keep))
        codes = {name: values[keep] for name, values in codes.items()}
    key = _combined(list(codes.values()))
    if (np.diff(key) > 0).all():
        return arrow
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    return arrow.take(pa.array(order[np.append(ordered[1:] != ordered[:-1], True)]))


def _current(codes: dict[str, Numbers], attempts: Numbers, table: str) -> NDArray[np.bool_]:
    """Which rows no later attempt has taken the place of.

    An attempt takes the place of all rows of earlier ones; of epochs, of those from its own first one on: it went on
    from the ones before.
    """
    if attempts.min() == attempts.max():
        return np.ones(len(attempts), dtype=bool)
    groups = [codes[name] for name in ("trial_id", "phase") if name in codes]
    by_epoch = "epoch" in codes
    epochs = codes["epoch"] if by_epoch else np.zeros_like(attempts)
    pairs, which = np.unique(_combined([*groups, attempts]), return_inverse=True)
    firsts = np.full(len(pairs), np.iinfo(np.int64).max)
    np.minimum.at(firsts, which, epochs)
    group = pairs // (attempts.max() + 1)
    bounds = np.full(len(pairs), np.iinfo(np.int64).max)
    for pair in range(len(pairs) - 2, -1, -1):  # the attempts of a group follow each other
        if group[pair] == group[pair + 1]:
            bounds[pair] = min(bounds[pair + 1], firsts[pair + 1])
    return epochs < bounds[which]


def _combined(columns: list[Numbers]) -> Numbers:
    """A number for each row, ordered as the rows are by these columns."""
    key = columns[0]
    for column in columns[1:]:
        key = key * (column.max() + 1) + column
    return key


def _codes(column: pa.ChunkedArray) -> Numbers:
    """Numbers from 0 for the values of a column, ordered as they are; nulls first."""
    values: Any = column.combine_chunks()  # of which pyarrow's type stubs know too little
    if pa.types.is_integer(column.type):
        least = pc.min(values).as_py() or 0
        numbers: Numbers = pc.fill_null(values.cast(pa.int64()), least - 1).to_numpy(zero_copy_only=False)
        return numbers - (least - 1)
    encoded = values.dictionary_encode()
    ranks = np.zeros(len(encoded.dictionary) + 1, dtype=np.int64)
    ranks[np.asarray(pc.array_sort_indices(encoded.dictionary))] = np.arange(1, len(encoded.dictionary) + 1)
    codes: Numbers = ranks[np.asarray(pc.fill_null(encoded.indices, len(encoded.dictionary)))]
    return codes
