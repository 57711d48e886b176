"""Ways in which a trial can go wrong that are not mistakes in the code."""


class NonFiniteError(ArithmeticError):
    """A loss or gradient was NaN or infinite; no optimizer step was taken with it."""


class DataError(ValueError):
    """The images of a trial cannot be had: missing, damaged, or not as the configuration says."""
