"""Tasks of every kind, and what the tests of operators share."""

import torch

from flowsearch.operators import LinearOperator

ANY_SIZE = [
    "denoise-0.1",
    "inpaint-5",
    "inpaint-8",
    "inpaint(square=5,seed=3)",
    "inpaint(random=0.5)",
    "deblur-1",
    "deblur-4",
    "deblur(sigma=1.5,padding=zero)",
    "deblur(sigma=4,padding=zero)",
    "deblur(sigma=1.5,padding=reflect)",
    "deblur(sigma=4,padding=reflect)",
    "motion-7",
    "motion(length=6,angle=35)",
    "motion(length=16,angle=90,padding=zero)",
    "motion(length=9,angle=120,padding=reflect)",
    "compress-0.25",
    "compress(ratio=1)",
    "compress(ratio=0.3,by=gaussian,seed=2)",
    "mri-4",
    "mri(acceleration=2.5,centre=0.2,seed=1)",
    "mri(acceleration=6,mask=radial)",
]
EVEN = ["superres-2", "superres-4", "superres(scale=4,blur=2)", "superres(scale=2,blur=0.7)"]
POWER = ["compress(ratio=0.25,by=hadamard)"]
ODD = ["superres-3", "superres(scale=7,blur=3)"]

CASES = [(task, 16) for task in [*ANY_SIZE, *EVEN, *POWER]] + [(task, 21) for task in [*ANY_SIZE, *ODD]]
"""Every task at an even size and at an odd one, where the size allows it."""


def images(size: int, seed: int, channels: int = 3, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Two images of normal noise."""
    return noise(torch.Size([2, channels, size, size]), seed, dtype)


def noise(shape: torch.Size, seed: int, dtype: torch.dtype) -> torch.Tensor:
    """Normal noise, real or complex."""
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def inner(a: torch.Tensor, b: torch.Tensor) -> float:
    """Re<a, b>, in double precision."""
    return float((a * b.conj()).real.double().sum())


def dense(operator: LinearOperator, size: int) -> torch.Tensor:
    """The operator on images of one channel as a real matrix, column by column; a complex number is two rows."""
    pixels = torch.eye(size * size, dtype=torch.float64).reshape(-1, 1, size, size)
    columns = operator(pixels).flatten(1)
    return (torch.view_as_real(columns).flatten(1) if columns.is_complex() else columns).T
