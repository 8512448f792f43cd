"""The ends of a spectrum by few products, on convex losses too, and what a surface refuses."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.core.errors import SettingError
from ravine.landscapes.lanczos import ends_of


class Counted:
    """A symmetric matrix that counts its products."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix, self.products = matrix, 0
        self.shape, self.device, self.dtype = matrix.shape, matrix.device, matrix.dtype

    def __matmul__(self, v: Tensor) -> Tensor:
        self.products += 1
        return self.matrix @ v


def symmetric(values: list[float], size: int) -> Counted:
    rotation = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64)).Q
    diagonal = torch.zeros(size, dtype=torch.float64)
    diagonal[: len(values)] = torch.tensor(values, dtype=torch.float64)
    return Counted(rotation @ diagonal.diag() @ rotation.t())


@pytest.mark.parametrize("values", [[5.0, 1.0, 0.3], [5.0, 4.9, -2.0, -0.1], [3.0]])
def test_both_ends_are_those_of_the_whole_matrix(values: list[float]) -> None:
    torch.manual_seed(0)
    operator = symmetric(values, 200)
    found = ends_of(operator, most=96, tolerance=1e-6, seed=0)

    assert found.high == pytest.approx(max(values), rel=1e-4)
    assert found.low == pytest.approx(min(min(values), 0.0), abs=1e-4)
    assert found.products == operator.products <= 96


def test_a_spectrum_without_a_clear_lower_end_ends_within_its_products() -> None:
    torch.manual_seed(0)
    operator = symmetric([1 / (k + 1) for k in range(150)], 400)
    found = ends_of(operator, most=40, tolerance=1e-12, seed=0)

    assert found.products <= 40
    assert found.high == pytest.approx(1.0, abs=1e-3)
    assert abs(found.low) < 0.05


def test_a_product_that_is_not_finite_is_nan() -> None:
    class Broken(Counted):
        def __matmul__(self, v: Tensor) -> Tensor:
            return v * torch.nan

    found = ends_of(Broken(torch.eye(9)), most=5, tolerance=1e-3, seed=0)
    assert np.isnan(found.low)


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(F.dropout(x, 0.5))


def test_a_network_that_is_noisy_in_evaluation_mode_is_refused_in_one_line() -> None:
    given = [(torch.randn(16, 8), torch.randint(0, 3, (16,)))]
    with pytest.raises(SettingError, match="noisy in evaluation mode") as raised:
        ravine.landscape(Noisy(), F.cross_entropy, given, x=(-1, 1, 3), y=(-1, 1, 3))
    assert "\n" not in str(raised.value)
