"""Muon of filters that keep their norm, against the formula by float64 loops and an SVD."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ravine.core.errors import SettingError
from ravine.optim import Momentum, RescaledMuon, parameter_groups


def _oracle_step(
    w: np.ndarray, g: np.ndarray, v: np.ndarray, η: float, μ: float, nesterov: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The formula of one filter as a float64 matrix, with the singular values of u themselves."""
    v = μ * v + g
    u = g + μ * v if nesterov else v
    left, s, right = np.linalg.svd(u / (np.linalg.norm(u) + 1e-7), full_matrices=False)
    for _ in range(3):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    rows, columns = u.shape
    size = math.sqrt(max(1.0, rows / columns))
    kept = w * math.sqrt(rows) / np.linalg.norm(w)
    return kept - η * size * (left * s) @ right, v


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("shape", [(4, 3, 3, 3), (8, 2, 1, 1), (5, 7)])
def test_steps_are_those_of_the_formula(shape: tuple[int, ...], *, nesterov: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    w = nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))
    optimizer = RescaledMuon([w], lr=0.2, momentum=0.6, nesterov=nesterov, weight_decay=0.1)
    rows = shape[0]
    theirs, v = w.detach().reshape(rows, -1).numpy().copy(), 0.0
    for _ in range(3):
        w.grad = torch.randn(shape, generator=generator, dtype=torch.float64)
        g = w.grad.reshape(rows, -1).numpy()
        optimizer.step()
        theirs, v = _oracle_step(theirs, g, np.asarray(v) + 0 * g, 0.2, 0.6, nesterov)
        np.testing.assert_allclose(w.detach().reshape(rows, -1).numpy(), theirs, rtol=1e-8)


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


def _loss(model: nn.Module) -> Tensor:
    x = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return nn.functional.cross_entropy(model(x), torch.arange(16) % 4)


def test_what_is_no_hidden_filter_takes_nesterov_momentums_steps() -> None:
    ours, theirs = _network(), _network()
    groups = parameter_groups(ours, weight_decay=1e-3, lr=0.1)
    optimizer = RescaledMuon(
        RescaledMuon.arranged(ours, groups), other_share=14.0, other_momentum=0.85
    )
    others = {n: p for n, p in theirs.named_parameters() if n != "3.weight"}
    decays = [p for p in others.values() if p.dim() > 1]
    plain = [p for p in others.values() if p.dim() == 1]
    reference = Momentum(
        [{"params": decays, "weight_decay": 1e-3}, {"params": plain, "weight_decay": 0.0}],
        lr=1.4, momentum=0.85, nesterov=True, decay="coupled",
    )  # fmt: skip
    for _ in range(3):
        for model in (ours, theirs):
            model.zero_grad()
            _loss(model).backward()
        optimizer.step()
        reference.step()
        with torch.no_grad():  # the filter's own steps are the other test's
            theirs[3].weight.copy_(ours[3].weight)
        for name, p in others.items():
            torch.testing.assert_close(ours.get_parameter(name), p, rtol=1e-5, atol=1e-6)


def test_a_filter_is_as_long_as_before_but_for_its_step() -> None:
    model = _network()
    optimizer = RescaledMuon(RescaledMuon.arranged(model, [{"params": [*model.parameters()]}]))
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    with torch.no_grad():
        model[3].weight.mul_(50.0)
    _loss(model).backward()
    optimizer.step()
    assert float(model[3].weight.detach().norm()) == pytest.approx(8**0.5)


@pytest.mark.parametrize("wrong", [{"other_share": 0.0}, {"other_momentum": 1.0}, {"lr": -1.0}])
def test_what_is_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingError):
        RescaledMuon([nn.Parameter(torch.ones(2, 2))], **wrong)
