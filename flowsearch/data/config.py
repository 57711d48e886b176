"""Which images a trial sees."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from flowsearch.built_in import BUILT_IN
from flowsearch.checks import check_int, check_known


def is_own(source: str) -> bool:
    """Whether a source is a researcher's own, `module:name`: no prepared set's name has a colon."""
    return ":" in source


def way_back(source: str) -> str:
    """What brings back the images that a source had before, for what can go on with these alone."""
    return "put its module and what it reads back" if is_own(source) else "prepare the same images again"


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The image sets of a study: one source split into three parts, and a second source to test on outside it."""

    source: str = "faces"
    """Built-in `faces` or `anime`, the name of a data set made by `flowsearch data prepare`, or `module:name`: a
    callable of your own that gives images (see docs/data.md)."""
    size: int = 64
    """Height and width in pixels."""
    train: int = 992
    """Number of training images (the paper's section VI-A: 992, 200 and 200)."""
    val: int = 200
    """Number of validation images: early stopping and the study's objective."""
    test: int = 200
    """Number of test images."""
    ood: str | None = "anime"
    """Source of the out-of-distribution test set, or null for none: as many images as `test`, or all it has."""
    prior: str | None = None
    """Source of further images, on which priors are pre-trained beside the training images; or null for none."""
    prior_images: int | None = None
    """Number of them. Null: all that a prepared set has; other sources make as many as are asked for."""
    seed: int = 0
    """Seed of the split, and of the images where the source draws them."""

    def __post_init__(self) -> None:
        for name in ("source", "ood", "prior"):
            value = getattr(self, name)
            if value is None and name != "source":
                continue
            if not (isinstance(value, str) and value) or value.lower() == "none":
                null = "" if name == "source" else ", or null for none"
                raise ValueError(f"{name} is the name of a data set{null}, not {value!r}")
        check_int("size", self.size, 16, 1024)
        for name in ("train", "val", "test"):
            check_int(name, getattr(self, name), 1)
        if self.prior_images is not None:
            check_int("prior_images", self.prior_images, 1)
            if self.prior is None:
                raise ValueError("prior_images counts the images of prior, which is null; name their source as prior")
        elif self.prior is not None and (self.prior in BUILT_IN or is_own(self.prior)):
            raise ValueError(f"prior {self.prior} makes as many images as are asked for: say how many by prior_images")
        check_int("seed", self.seed, 0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` takes them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DataConfig":
        """The configuration that `to_dict` wrote; unknown names are refused."""
        check_known("data", values, {field.name for field in fields(cls)})
        return cls(**values)
