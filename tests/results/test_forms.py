"""How numbers are written: one form for each column, the same wherever the column is shown."""

import math

import numpy as np
import pandas as pd
import pytest

from flowsearch.results import schema
from flowsearch.results.forms import FORMS, hovered, interval_ends, missing, p_value, written


@pytest.mark.parametrize("empty", [None, math.nan, np.float64("nan"), pd.NA, pd.NaT])
def test_an_empty_cell_is_a_dash_whatever_it_holds(empty: object) -> None:
    assert missing(empty)
    assert [written(name, empty) for name in ("test_psnr", "parameters", "seconds", "prox")] == ["–"] * 4
    assert written("test_psnr", empty, unit=True, empty="unknown") == "unknown"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("test_psnr", 29.0649, "29.06"),
        ("test_psnr", math.inf, "inf"),
        ("test_ssim", 0.81249, "0.812"),
        ("parameters", 25_771_456, "25,771,456"),
        ("parameters", 25_771_456.5, "25,771,456"),
        ("epochs_run", np.int32(1200), "1,200"),
        ("seed", 12345, "12345"),
        ("val_loss", 0.00321449, "0.003214"),
        ("lr", 2.81e-4, "0.000281"),
        ("pretrain", np.True_, "yes"),
        ("prox", "glow", "glow"),
        ("peak_memory_bytes", 332_512_000, "332.5 MB"),
        ("peak_memory_bytes", 2_060_000_000, "2.06 GB"),
        ("seconds", 0.04, "0.0 s"),
        ("seconds", 1.24, "1.2 s"),
        ("seconds", 9.96, "10 s"),
        ("seconds", 59.6, "1 min 00 s"),
        ("seconds", 200, "3 min 20 s"),
        ("seconds", 18_720, "5 h 12 min"),
        ("seconds", math.inf, "–"),
        ("seconds_per_image", 0.00042, "0.42 ms"),
        ("seconds_per_image", 0.0121, "12 ms"),
        ("seconds_per_image", 0.0996, "100 ms"),
        ("seconds_per_image", 0.2551, "255 ms"),
        ("seconds_per_image", 1.31, "1.3 s"),
        ("seconds_per_image", 152.0, "2 min 32 s"),
        ("seconds_per_image", math.inf, "–"),
        ("started", pd.Timestamp("2026-01-15T09:00:10Z"), "2026-01-15 09:00"),
        ("of no table", 0.12345, "0.123"),
    ],
)
def test_a_value_is_written_as_its_column_says(name: str, value: object, text: str) -> None:
    assert written(name, value) == text


def test_only_a_psnr_needs_its_unit_said() -> None:
    assert written("test_psnr", 29.06, unit=True) == "29.06 dB"
    assert written("seconds", 200, unit=True) == "3 min 20 s"


@pytest.mark.parametrize(
    ("name", "text"),
    [("val_psnr", "%{y:.2f} dB"), ("parameters", "%{y:,.0f}"), ("val_loss", "%{y:,.4g}"), ("of no table", "%{y:,.4g}")],
)
def test_a_hover_text_has_the_columns_form(name: str, text: str) -> None:
    assert hovered(name, "y") == text


def test_every_column_has_a_form_that_there_is() -> None:
    assert {one.form for columns in schema.TABLES.values() for one in columns} <= set(FORMS)


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((0.123, 0.456), "+0.12 to +0.46"),
        ((0.004, 0.456), "+0.004 to +0.456"),
        ((-0.5, -0.0004), "−0.5000 to −0.0004"),
        ((0.0, 1e-17), "+0.00 to +0.00"),
    ],
    ids=["far", "near", "below", "zero"],
)
def test_an_interval_that_leaves_zero_out_is_not_shown_as_one_that_ends_there(
    ends: tuple[float, float], text: str
) -> None:
    assert interval_ends(*ends) == text


@pytest.mark.parametrize(("p", "text"), [(0.0004, "p < 0.001"), (0.0121, "p = 0.012"), (0.431, "p = 0.43")])
def test_a_p_value_has_the_digits_that_matter(p: float, text: str) -> None:
    assert p_value(p) == text
