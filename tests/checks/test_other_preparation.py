"""Trained layers that are given images prepared otherwise, by what their first norm keeps."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.findings.finding import Findings

_MEAN, _STD = (
    torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
)


def _photos(count: int, *, seed: int) -> Tensor:
    """Returns smooth pictures (N, 3, 12, 12) from 0 to 1, more red than blue."""
    chance = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=chance)
    tint = torch.tensor([1.0, 0.7, 0.4])[:, None, None]
    return F.interpolate(coarse * tint, (12, 12), mode="bilinear")


def _usual(x: Tensor) -> Tensor:
    return (x - _MEAN) / _STD


def _found(trained: Callable[[Tensor], Tensor], given: Callable[[Tensor], Tensor]) -> Findings:
    """Returns what is found of a frozen body that was trained on one form and is given another."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten())
    with torch.no_grad():
        for step in range(120):
            body(trained(_photos(32, seed=step)))
    body.requires_grad_(False)
    model = nn.Sequential(body, nn.Linear(1600, 4))
    nn.init.normal_(model[1].weight, std=0.01)  # type: ignore[arg-type]
    y = torch.arange(64) % 4
    batches = [(given(_photos(64, seed=1000 + k)), y) for k in range(4)]
    return ravine.check(model, F.cross_entropy, batches, learn=False)


@pytest.mark.parametrize(
    ("trained", "given", "said"),
    [
        (_usual, lambda x: x, "ImageNet"),
        (lambda x: x, _usual, "from 0 to 1"),
        (lambda x: 255 * x, lambda x: x, "from 0 to 255"),
        (_usual, lambda x: _usual(x).flip(1), "other order"),
        (_usual, lambda x: 2 * x - 1, "ImageNet"),
    ],
)
def test_another_form_of_the_images_is_named(
    trained: Callable[[Tensor], Tensor], given: Callable[[Tensor], Tensor], said: str
) -> None:
    found = [one for one in _found(trained, given) if "first norm" in one.seen]

    assert [one.code for one in found] == ["norm-statistics-disagree"]
    assert said in found[0].cure


@pytest.mark.parametrize(
    "given", [_usual, lambda x: _usual(0.3 * x), lambda x: _usual(1 - 0.2 * x), torch.zeros_like]
)
def test_the_same_form_and_other_pictures_in_it_are_not(given: Callable[[Tensor], Tensor]) -> None:
    assert not [one for one in _found(_usual, given) if "first norm" in one.seen]
