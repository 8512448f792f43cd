"""Sharpness against a dense Hessian."""

import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, hessian

from ravine.core.errors import SettingError
from ravine.landscapes import (
    FixedBatches,
    convexity_map,
    landscape,
    random_direction,
    sharpness,
    sharpness_along,
)
from ravine.nn.max_pooling import MaxPool2d
from ravine.nn.norm_act import NormAct
from ravine.nn.response_norm import LocalResponseNorm

pytestmark = pytest.mark.slow  # many seconds


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double()


def batches() -> FixedBatches:
    generator = torch.Generator().manual_seed(0)
    pairs = [
        (
            torch.randn(n, 3, generator=generator).double(),
            torch.randn(n, 2, generator=generator).double(),
        )
        for n in (5, 9)
    ]
    return FixedBatches(pairs, most=None, device=torch.device("cpu"))


def dense(model: nn.Module) -> np.ndarray:
    names = list(dict(model.named_parameters()))
    sizes = [p.numel() for p in model.parameters()]
    x, y = (torch.cat(parts) for parts in zip(*batches().pairs, strict=True))

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split(sizes)
        weights = {
            n: v.view(p.shape) for n, v, p in zip(names, parts, model.parameters(), strict=True)
        }
        return nn.functional.mse_loss(functional_call(model, weights, (x,)), y)

    flat = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    return hessian(loss)(flat).numpy()


def test_eigenvalues_and_trace_are_those_of_the_dense_hessian() -> None:
    model = network()
    found = sharpness(model, nn.functional.mse_loss, batches(), top=3, samples=400)
    values = np.linalg.eigvalsh(dense(model))

    np.testing.assert_allclose(found.eigenvalues, values[::-1][:3], rtol=1e-6)
    assert max(found.residuals) < 1e-3 * values.max()
    assert abs(found.trace - values.sum()) < 4 * found.trace_error
    assert found.trace_error < 0.1 * values.sum()


def test_density_holds_all_eigenvalues() -> None:
    found = sharpness(network(), nn.functional.mse_loss, batches(), density=True)

    assert np.trapezoid(found.density, found.grid) == pytest.approx(1, abs=0.1)
    assert (found.density_error >= 0).all()


def test_sharpness_along_a_direction_is_its_quadratic_form() -> None:
    model = network()
    direction = random_direction(model, torch.Generator().manual_seed(0))
    flat = torch.cat([part.reshape(-1) for part in direction]).numpy()
    (found,) = sharpness_along(model, nn.functional.mse_loss, batches(), [direction])

    assert found == pytest.approx(flat @ dense(model) @ flat / (flat @ flat), rel=1e-9)


def test_convexity_map_has_the_ratio_of_the_ends_at_the_centre() -> None:
    model = network()
    generator = torch.Generator().manual_seed(0)
    first = random_direction(model, generator)
    second = random_direction(model, generator, orthogonal_to=first)
    found = convexity_map(
        model, nn.functional.mse_loss, batches(), [first, second], np.array([0.0, 1]), np.zeros(1)
    )
    values = np.linalg.eigvalsh(dense(model))

    assert found.shape == (1, 2)
    assert found[0, 0] == pytest.approx(abs(values.min()) / values.max(), rel=1e-3)


def test_layers_of_the_c_library_have_the_hessian_of_torchs() -> None:
    """Curvature needs derivatives of derivatives: torch's own operations give them."""
    torch.manual_seed(0)
    layers = (NormAct(nn.BatchNorm2d(4), nn.ReLU()), LocalResponseNorm(3, 0.5), MaxPool2d(2))
    model = nn.Sequential(nn.Conv2d(3, 4, 3), *layers, nn.Flatten(), nn.Linear(16, 2))
    model = model.to(memory_format=torch.channels_last)
    images = torch.randn(8, 3, 6, 6).contiguous(memory_format=torch.channels_last)
    targets, found = torch.randn(8, 2), []
    ran = type(layers[0](model[0](images)).grad_fn).__name__
    assert "NormActivation" in ran
    for dtype in (torch.float32, torch.float64):  # which the C library does not take
        pairs = [(images.to(dtype), targets.to(dtype))]
        batch = FixedBatches(pairs, most=None, device=torch.device("cpu"))
        found.append(sharpness(model.to(dtype), nn.functional.mse_loss, batch, samples=4))
    np.testing.assert_allclose(found[0].eigenvalues, found[1].eigenvalues, rtol=1e-3)


@pytest.mark.parametrize("asked", [{"sharpness": True}, {"convexity": 5}, {"along": "hessian"}])
def test_without_its_library_the_hessian_is_refused_at_once_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]
) -> None:
    monkeypatch.setitem(sys.modules, "curvlinops", None)  # as if it were not installed

    with pytest.raises(SettingError, match=r"needs curvlinops: pip install 'ravine\[landscape\]'"):
        landscape(network(), nn.functional.mse_loss, iter([]), **asked)
    with pytest.raises(SettingError, match=r"ravine\[landscape\]"):
        sharpness(network(), nn.functional.mse_loss, batches())
