"""PSNR differences drawn from a known distribution, to hold intervals to."""

import numpy as np
import numpy.typing as npt

MEAN = 0.3


def crossed(
    rng: np.random.Generator,
    seeds: int,
    images: int,
    *,
    of_seed: float = 0.15,
    of_image: float = 0.5,
    rest: float = 0.3,
    skewed: bool = False,
) -> npt.NDArray[np.float64]:
    """Differences (seeds, images) in dB of mean `MEAN`: what the seed adds, what the image adds, and what is left, as
    standard deviations; one seed adds nothing. `skewed`: what the images add is exponential."""
    images_I = rng.exponential(of_image, images) - of_image if skewed else rng.normal(0, of_image, images)
    return MEAN + rng.normal(0, of_seed, (seeds, 1)) * (seeds > 1) + images_I + rng.normal(0, rest, (seeds, images))
