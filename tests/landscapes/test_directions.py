"""Directions: filters of each kind of module, their lengths, and orthogonality."""

import pytest
import torch
from torch import nn

from ravine.core.errors import SettingError
from ravine.landscapes import filter_ratios, moved_parameters, random_direction
from ravine.landscapes.directions import filter_layouts


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.out = nn.Linear(6, 11, bias=True)
        self.out.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.embed(x).mean(1))


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        "convolution": nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(5, 4)),
        "grouped": nn.Sequential(nn.Conv2d(8, 8, 3, groups=4), nn.GroupNorm(2, 8)),
        "transposed": nn.Sequential(nn.ConvTranspose2d(6, 4, 3, groups=2), nn.LayerNorm([4, 2])),
        "tied": Tied(),
        "attention": nn.MultiheadAttention(8, 2),
    }


every_network = pytest.mark.parametrize("name", list(networks()))


def pair(model: nn.Module) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    first = random_direction(model, generator)
    return first, random_direction(model, generator, orthogonal_to=first)


@every_network
def test_each_filter_of_a_direction_is_as_long_as_the_filter_that_it_moves(name: str) -> None:
    model = networks()[name]

    for direction in pair(model):
        ratios = torch.cat(filter_ratios(model, direction))
        assert len(ratios) > 0
        assert (ratios - 1).abs().max() < 1e-6


@every_network
def test_two_directions_are_orthogonal_filter_by_filter(name: str) -> None:
    model = networks()[name]
    first, second = pair(model)

    for a, b, layout in zip(first, second, filter_layouts(model), strict=True):
        if layout is not None:
            a, b = (t.double().reshape(layout[0]) for t in (a, b))
            scale = (a.norm() * b.norm()).item()
            assert (a * b).sum(layout[1]).abs().max() < 1e-6 * scale


def test_biases_and_normalisation_stay() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.LayerNorm([3, 4]))
    moved = dict(zip(moved_parameters(model), pair(model)[0], strict=True))

    assert moved["0.weight"].abs().min() > 0
    assert all(moved[name].abs().max() == 0 for name in moved if name != "0.weight")


def test_a_transposed_convolutions_filter_is_its_output_channel() -> None:
    model = nn.ConvTranspose2d(2, 3, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.arange(24.0).reshape(2, 3, 2, 2))
    direction = random_direction(model, torch.Generator().manual_seed(0))[0]

    for channel in range(3):
        assert direction[:, channel].norm() == pytest.approx(model.weight[:, channel].norm().item())


def test_directions_are_centred() -> None:
    model = nn.Linear(400, 400, bias=False)
    direction = random_direction(model, torch.Generator().manual_seed(0))[0]

    # 160,000 values of one spread: the mean of centred ones lies within 4 standard errors of 0.
    assert abs(direction.mean()) < 4 * direction.std() / 400


def test_shared_weights_are_moved_once() -> None:
    assert list(moved_parameters(Tied())) == ["embed.weight", "out.bias"]


def test_a_model_without_parameters_is_refused() -> None:
    with pytest.raises(SettingError, match="has no parameters"):
        moved_parameters(nn.ReLU())
