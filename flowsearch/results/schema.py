"""The one home of what a study's tables are called, what they hold and in which unit.

Readers need none of this: every table is a folder of plain Parquet files (`pd.read_parquet("results/x/trials")`). Each
file's metadata carries the table's name and the schema's version, each column's its meaning and unit.
"""

from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

VERSION: Final = 1
"""Version of the tables. A new column needs none; a column that changes its meaning or type does."""

VERSION_KEY: Final = b"flowsearch.schema_version"
TABLE_KEY: Final = b"flowsearch.table"

TRIALS: Final = "trials"
EPOCHS: Final = "epochs"
FOLDS: Final = "folds"
IMAGES: Final = "images"
PANELS: Final = "panels"

STUDY_FILE: Final = "study.yaml"
PROVENANCE_FILE: Final = "provenance.json"
REPORT_FILE: Final = "report.html"
LEDGER: Final = "ledger"
JOURNAL: Final = "optuna.journal"
CHECKPOINTS: Final = "checkpoints"
ERRORS: Final = "errors"
"""A text file for each trial that failed, with the traceback of its last attempt."""

PLANNED: Final = "planned"
RUNNING: Final = "running"
COMPLETED: Final = "completed"
PRUNED: Final = "pruned"
FAILED: Final = "failed"
DIVERGED: Final = "diverged"
INTERRUPTED: Final = "interrupted"
STATUSES: Final = (PLANNED, RUNNING, COMPLETED, PRUNED, FAILED, DIVERGED, INTERRUPTED)
ENDED: Final = frozenset({COMPLETED, PRUNED, FAILED, DIVERGED, INTERRUPTED})
"""Statuses that have an end time."""

PRIOR_PREFIX: Final = "prior-"
"""What the id of a prior that trials share begins with, where a table has it in a trial's place."""
TRIAL_ID: Final = rf"(?:{PRIOR_PREFIX})?[A-Za-z0-9][A-Za-z0-9_.]*"
"""What a trial's id looks like, and a prior's: it is a part of file names."""

PRIOR_PHASE: Final = "prior"
TRAIN_PHASE: Final = "train"

_TEXT = pa.string()
_INT = pa.int32()
_LONG = pa.int64()
_REAL = pa.float64()
_BOOL = pa.bool_()
_TIME = pa.timestamp("us", tz="UTC")


_FORMS: Final = {"dB": "decibels", "s": "duration", "bytes": "memory", "bits": "fine", "UTC": "moment"}
"""How values of a unit are written."""


@dataclass(frozen=True)
class Column:
    """A column: its name, its Arrow type, its meaning, its unit, and how its values are written: a name of
    `forms.FORMS`, of itself that of its unit. Every column may be null."""

    name: str
    type: pa.DataType
    about: str
    unit: str = ""
    form: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "form", self.form or _FORMS.get(self.unit, "number"))

    @property
    def label(self) -> str:
        """Meaning and unit, as an axis or a table's head shows it."""
        return f"{self.about} ({self.unit})" if self.unit else self.about


_STUDY = Column("study", _TEXT, "study")
_TRIAL = Column("trial_id", _TEXT, "trial")
_ATTEMPT = Column("attempt", _INT, "attempt, from 1")
_EPOCH = Column("epoch", _INT, "epoch")
_SPLIT = Column("split", _TEXT, "test set: test, or ood for the one out of distribution")
_IMAGE = Column("image", _INT, "number of the image in its set")

CONFIG_COLUMNS: Final[tuple[Column, ...]] = (
    Column("source", _TEXT, "data set"),
    Column("size", _INT, "image size", "pixels"),
    Column("task", _TEXT, "task"),
    Column("method", _TEXT, "method"),
    Column("prox", _TEXT, "proximal map"),
    Column("prox_parameters", _TEXT, "parameters of a proximal map of one's own"),
    Column("folds", _INT, "folds K"),
    Column("weights", _TEXT, "weights"),
    Column("start", _TEXT, "start"),
    Column("end", _TEXT, "end"),
    Column("depth", _INT, "flow steps a level"),
    Column("levels", _INT, "flow levels"),
    Column("hidden", _INT, "hidden channels"),
    Column("last_depth", _INT, "flow steps in the last level"),
    Column("pretrain", _BOOL, "pre-trained prior"),
    Column("memory", _TEXT, "what the backward pass keeps"),
    Column("features", _INT, "ResNet features"),
    Column("blocks", _INT, "ResNet blocks"),
    Column("channels", _INT, "U-Net base channels"),
    Column("tv_weight", _REAL, "weight of the total variation"),
    Column("gamma", _REAL, "weight of |z|^2"),
    Column("iterations", _INT, "iterations allowed"),
    Column("denoiser_noise", _REAL, "largest noise that the denoiser is trained on"),
    Column("strength", _REAL, "noise that the denoiser is told to remove"),
    Column("step", _REAL, "gradient step times |A|^2"),
    Column("epochs", _INT, "epochs allowed"),
    Column("batch_size", _INT, "batch size", "images"),
    Column("lr", _REAL, "learning rate"),
    Column("scalar_lr", _REAL, "learning rate of mu and lambda"),
    Column("clip", _REAL, "bound on the gradient's norm"),
    Column("warmup", _INT, "warm-up", "steps"),
    Column("decay", _TEXT, "how the rates go on after the warm-up"),
    Column("patience", _INT, "patience", "epochs"),
    Column("precision", _TEXT, "precision"),
    Column("flip", _BOOL, "mirrored images"),
    Column("seed", _LONG, "seed"),
)
"""A trial's flat configuration, under the study file's own names."""

METRIC_COLUMNS: Final[tuple[Column, ...]] = (
    Column("parameters", _LONG, "parameters", form="whole"),
    Column("epochs_run", _INT, "epochs run", form="whole"),
    Column("best_epoch", _INT, "best epoch", form="whole"),
    Column("seconds", _REAL, "time", "s"),
    Column("prior_seconds", _REAL, "pre-training time", "s"),
    Column("train_seconds", _REAL, "training time", "s"),
    Column("peak_memory_bytes", _LONG, "peak memory", "bytes"),
    Column("val_loss", _REAL, "validation loss", form="fine"),
    Column("val_psnr", _REAL, "validation PSNR", "dB"),
    Column("val_ssim", _REAL, "validation SSIM", form="similarity"),
    Column("test_psnr", _REAL, "test PSNR", "dB"),
    Column("test_ssim", _REAL, "test SSIM", form="similarity"),
    Column("ood_psnr", _REAL, "out-of-distribution PSNR", "dB"),
    Column("ood_ssim", _REAL, "out-of-distribution SSIM", form="similarity"),
    Column("measurement_psnr", _REAL, "measurement PSNR of the test images", "dB"),
    Column("test_residual", _REAL, "residual |A x - y| / |y| on the test images"),
    Column("ood_residual", _REAL, "residual |A x - y| / |y| out of distribution"),
    Column("seconds_per_image", _REAL, "time to reconstruct a test image", "s", form="brief"),
    Column("bits_per_dim", _REAL, "prior's bits per dimension of the validation images", "bits"),
    Column("test_bits_per_dim", _REAL, "prior's bits per dimension of the test images", "bits"),
    Column("ood_bits_per_dim", _REAL, "prior's bits per dimension out of distribution", "bits"),
    Column("used_tv_weight", _REAL, "weight of the total variation, given or tuned"),
    Column("used_gamma", _REAL, "weight of |z|^2, given or tuned"),
    Column("used_strength", _REAL, "noise that the denoiser was told to remove, given or tuned"),
    Column("used_iterations", _INT, "iterations taken, tuned", form="whole"),
)

TABLES: Final[dict[str, tuple[Column, ...]]] = {
    TRIALS: (
        _STUDY,
        _TRIAL,
        Column("index", _INT, "number of the trial in its study"),
        Column("configuration", _INT, "number of the configuration in its study; its repeats share it"),
        Column("repeat", _INT, "repeat of the configuration, from 0"),
        _ATTEMPT,
        Column("status", _TEXT, "status"),
        Column("reason", _TEXT, "reason"),
        Column("warnings", _TEXT, "what the trial warned of, a line each"),
        Column("started", _TIME, "started", "UTC"),
        Column("ended", _TIME, "ended", "UTC"),
        Column("host", _TEXT, "host"),
        Column("device", _TEXT, "GPU or processor that it ran on"),
        Column("micro_batch", _INT, "images whose gradient is computed at once, after memory ran out", "images"),
        Column("prior", _TEXT, "pre-trained prior that the trial starts from, prior-KEY"),
        *CONFIG_COLUMNS,
        *METRIC_COLUMNS,
    ),
    EPOCHS: (
        _STUDY,
        Column("trial_id", _TEXT, "trial, or prior-KEY of a pre-training that trials share"),
        _ATTEMPT,
        Column("phase", _TEXT, "prior: pre-training; train: training"),
        _EPOCH,
        Column("train_loss", _REAL, "training loss", form="fine"),
        Column("val_loss", _REAL, "validation loss", form="fine"),
        Column("val_psnr", _REAL, "validation PSNR", "dB"),
        Column("bits_per_dim", _REAL, "validation bits per dimension", "bits"),
        Column("lr", _REAL, "learning rate"),
        Column("grad_norm", _REAL, "gradient norm before clipping"),
        Column("seconds", _REAL, "time of the epoch", "s"),
    ),
    FOLDS: (
        _STUDY,
        _TRIAL,
        _ATTEMPT,
        _EPOCH,
        Column("fold", _INT, "fold, from 1"),
        Column("mu", _REAL, "step size mu"),
        Column("lambda", _REAL, "shrinkage lambda"),
        Column("psnr", _REAL, "validation PSNR after the fold", "dB"),
    ),
    IMAGES: (
        _STUDY,
        _TRIAL,
        _ATTEMPT,
        _SPLIT,
        _IMAGE,
        Column("psnr", _REAL, "PSNR", "dB"),
        Column("ssim", _REAL, "SSIM", form="similarity"),
        Column("measurement_psnr", _REAL, "measurement PSNR", "dB"),
        Column("residual", _REAL, "residual |A x - y| / |y|"),
        Column("bits_per_dim", _REAL, "prior's bits per dimension of the true image", "bits"),
    ),
    PANELS: (
        _STUDY,
        Column("trial_id", _TEXT, "trial, or prior-KEY of a prior that trials share"),
        _ATTEMPT,
        _SPLIT,
        _IMAGE,
        Column("kind", _TEXT, "measurement, reconstruction, truth, or fold; of a prior mode or sample"),
        Column("fold", _INT, "fold after which the image is, from 1; 0: the image that the first fold starts from"),
        Column("psnr", _REAL, "PSNR", "dB"),
        Column("png", pa.binary(), "the picture, PNG"),
    ),
}

_COLUMNS: Final = {table: {one.name: one for one in columns} for table, columns in TABLES.items()}

MINIMIZED: Final = frozenset(
    {"val_loss", "bits_per_dim", "seconds", "prior_seconds", "train_seconds", "parameters"}
) | {"peak_memory_bytes", "test_residual", "ood_residual", "seconds_per_image", "test_bits_per_dim", "ood_bits_per_dim"}
"""Metrics of which less is better; of all others, more."""


def column(table: str, name: str) -> Column:
    """The column `name` of `table`; `KeyError` where there is none."""
    if name not in _COLUMNS[table]:
        raise KeyError(f"{table} has no column {name}")
    return _COLUMNS[table][name]


def arrow_schema(table: str) -> pa.Schema:
    """Arrow schema of a table, with the table's name and the version as its metadata."""
    fields = [
        pa.field(one.name, one.type, metadata={"about": one.about} | ({"unit": one.unit} if one.unit else {}))
        for one in TABLES[table]
    ]
    return pa.schema(fields, metadata={TABLE_KEY: table.encode(), VERSION_KEY: str(VERSION).encode()})


def version_of(metadata: dict[Any, Any] | None) -> int | None:
    """Schema version in a file's metadata, or None where flowsearch did not write the file."""
    try:
        return int((metadata or {})[VERSION_KEY])
    except (KeyError, ValueError):
        return None
