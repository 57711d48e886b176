"""Fourier measurements and compressed sensing against numpy and scipy."""

import numpy as np
import pytest
import torch
from all_tasks import dense, images
from scipy import fft, linalg

from flowsearch.operators import Task
from flowsearch.operators.fourier import cartesian_pattern, radial_pattern
from flowsearch.operators.sensing import dct, hadamard, inverse_dct


@pytest.mark.parametrize("size", [16, 21])
@pytest.mark.parametrize("mask", ["cartesian", "radial"])
def test_measurements_are_numpys_coefficients_in_order(size: int, mask: str) -> None:
    pattern = cartesian_pattern(size, 3, 0.08, 0) if mask == "cartesian" else radial_pattern(size, 3)
    x = images(size, 0)
    y = Task.named({"mri": {"acceleration": 3, "mask": mask}}, size).operator(x)
    expected = np.fft.fft2(x.numpy(), norm="ortho")[..., np.fft.ifftshift(pattern.numpy())]
    torch.testing.assert_close(y, torch.from_numpy(expected))


@pytest.mark.parametrize("size", [32, 33, 64])
@pytest.mark.parametrize("acceleration", [2, 4, 7.5])
def test_a_cartesian_pattern_keeps_whole_rows(size: int, acceleration: float) -> None:
    pattern = cartesian_pattern(size, acceleration, 0.1, 0)
    rows = pattern[:, 0]
    assert torch.equal(pattern, rows[:, None].expand(size, size))
    assert int(rows.sum()) == round(size / acceleration)
    inner = min(round(0.1 * size), round(size / acceleration))
    middle = range(size // 2 - inner // 2, size // 2 - inner // 2 + inner)
    assert all(rows[row] for row in middle)
    assert size // 2 in middle


@pytest.mark.parametrize("size", [32, 33])
@pytest.mark.parametrize("acceleration", [1.05, 4, 16])
def test_a_radial_pattern_is_dense_in_the_middle_and_as_large_as_asked(size: int, acceleration: float) -> None:
    pattern = radial_pattern(size, acceleration)
    asked = size**2 / acceleration
    assert asked <= int(pattern.sum()) <= asked + 2 * size
    middle = pattern[size // 2 - 1 : size // 2 + 2, size // 2 - 1 : size // 2 + 2].double().mean()
    assert middle >= pattern.double().mean()


@pytest.mark.parametrize("n", [1, 2, 9, 16, 441])
def test_the_cosine_transform_is_scipys(n: int) -> None:
    x = torch.randn(3, n, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(dct(x), torch.from_numpy(fft.dct(x.numpy(), norm="ortho")))
    torch.testing.assert_close(inverse_dct(dct(x)), x)


@pytest.mark.parametrize("n", [1, 2, 16, 64])
def test_the_hadamard_transform_is_scipys(n: int) -> None:
    eye = torch.eye(n, dtype=torch.float64)
    torch.testing.assert_close(hadamard(eye), torch.from_numpy(linalg.hadamard(n) / np.sqrt(n)))


@pytest.mark.parametrize(("by", "size"), [("dct", 16), ("dct", 21), ("hadamard", 16)])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0])
def test_rows_of_a_subsampled_transform_are_orthonormal(by: str, size: int, ratio: float) -> None:
    matrix = dense(Task.named({"compress": {"ratio": ratio, "by": by}}, size).operator, size)
    assert len(matrix) == round(ratio * size**2)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(matrix), dtype=torch.float64))


def test_no_dense_matrix_is_kept_but_for_the_gaussian() -> None:
    numbers = {
        by: sum(held.numel() for held in Task.named({"compress": {"ratio": 0.25, "by": by}}, 64).operator.buffers())
        for by in ("dct", "hadamard", "gaussian")
    }
    assert numbers == {"dct": 4096 + 1024, "hadamard": 4096 + 1024, "gaussian": 4096 * 1024}


def test_gaussian_entries_have_variance_one_over_n() -> None:
    matrix = dense(Task.named("compress(ratio=0.5,by=gaussian)", 16).operator, 16)
    assert float(matrix.var()) == pytest.approx(1 / 256, rel=0.03)
    assert float(matrix.mean()) == pytest.approx(0, abs=0.002)
