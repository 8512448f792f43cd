"""Conversions and initial weights touch nothing that was not handed to them."""

import pytest
import torch
from torch import nn

from ravine.core.errors import SettingError
from ravine.models import build
from ravine.nn import Dropout, convert_dropout, init_


def test_shared_weights_absorb_no_factor() -> None:
    shared = nn.Linear(4, 4)
    for model in (
        nn.Sequential(Dropout(0.5), shared, nn.Tanh(), shared),
        nn.Sequential(Dropout(0.5), shared, nn.Tanh(), Dropout(0.5), shared),
    ):
        before = shared.weight.detach().clone()
        with pytest.raises(SettingError, match="shared with"):
            convert_dropout(model, "classic")
        assert torch.equal(shared.weight, before)
        assert model[0].form == "inverted"


def test_lsuv_draws_from_nothing_but_its_generator_and_keeps_modes() -> None:
    weights = []
    for seed in (1, 2):
        torch.manual_seed(0)
        model = build("wrn-10-1", classes=3, image_size=8, dropout=0.5)
        model[1].eval()
        modes = [m.training for m in model.modules()]
        batch = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(3))
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        init_(model, "lsuv", generator=torch.Generator().manual_seed(4), batch=batch)
        assert torch.equal(torch.get_rng_state(), state)
        assert [m.training for m in model.modules()] == modes
        weights.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_layers_of_any_dimension_get_the_variance_of_the_scheme() -> None:
    layers = [
        (nn.Conv1d(40, 80, 5, groups=2), 2 / (20 * 5)),
        (nn.Conv3d(16, 32, 3), 2 / (16 * 27)),
        (nn.ConvTranspose2d(32, 64, 3), 2 / (32 * 9)),
    ]
    for layer, variance in layers:
        model = nn.Sequential(layer, nn.Linear(2, 2))
        init_(model, "he", generator=torch.Generator().manual_seed(0))
        assert float(layer.weight.detach().var()) == pytest.approx(variance, rel=0.05)
