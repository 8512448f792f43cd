"""Inputs of every nesting that a batch may have, and targets as wide as a picture."""

from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine


class Noised(NamedTuple):
    """Noised vectors (N, D) and their levels (N, 1)."""

    x: Tensor
    level: Tensor


class Denoiser(nn.Module):
    """Predicts noise (N, 16) from what its subclasses are called with."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(17, 128), nn.SiLU(), nn.Linear(128, 16))

    def predict(self, x: Tensor, level: Tensor) -> Tensor:
        return self.body(torch.cat([x, level], 1))


class OfArguments(Denoiser):
    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        return self.predict(x, level)


class OfPair(Denoiser):
    def forward(self, pair: Any) -> Tensor:
        x, level = pair
        return self.predict(x, level)


class OfPairAndFactor(Denoiser):
    def forward(self, pair: Any, factor: float = 1.0) -> Tensor:
        return factor * self.predict(*pair)


class OfDictionary(Denoiser):
    def forward(self, batch: Any) -> Tensor:
        return self.predict(batch["x"], batch["level"])


class OfFields(Denoiser):
    def forward(self, batch: Any) -> Tensor:
        return self.predict(batch.x, batch.level)


class OfPairAndMore(Denoiser):
    def forward(self, pair: Any, level: Tensor) -> Tensor:
        return self.predict(pair[0] + pair[1], level)


def noised(seed: int, *, twice: bool = False) -> tuple[Noised, Tensor]:
    chance = torch.Generator().manual_seed(seed)
    clean, noise = (torch.randn(64, 16, generator=chance) for _ in range(2))
    level = torch.rand(64, 1, generator=chance)
    mixed = (1 - level).sqrt() * clean + level.sqrt() * noise
    return Noised(mixed, level), torch.randn(64, 16, generator=chance) if twice else noise


def as_list(one: Noised) -> list[Tensor]:
    return list(one)


def as_parts(one: Noised) -> Any:
    return (0.5 * one.x, 0.5 * one.x), one.level


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        (OfArguments, tuple),
        (OfArguments, as_list),
        (OfArguments, Noised._asdict),
        (OfPair, tuple),
        (OfPair, as_list),
        (OfPairAndFactor, tuple),
        (OfDictionary, Noised._asdict),
        (OfFields, lambda one: one),
        (OfPairAndMore, as_parts),
    ],
)
def test_inputs_of_every_nesting_reach_the_network(kind: type[Denoiser], form: Any) -> None:
    batches = [(form(x), y) for x, y in map(noised, range(2))]

    assert ravine.check(kind(), F.mse_loss, batches, learn=False).codes == ()


def test_wide_targets_that_were_drawn_a_second_time_are_named() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for twice, right in ((True, ("labels-unrelated",)), (False, ())):
            rows = [noised(seed, twice=twice) for seed in range(16)]
            batches = [(tuple(x), y.repeat(1, 2)) for x, y in rows]
            model = nn.Sequential(OfPair(), nn.Linear(16, 32))
            found = ravine.check(model, F.mse_loss, batches, labels_probe=True, learn=False)

            assert found.codes == right
