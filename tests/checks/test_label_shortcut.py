"""Labels that an end of the range of a picture's values tells."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ravine


@pytest.mark.parametrize("apart", [True, False])
def test_classes_that_were_standardised_apart_are_named(apart: bool) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x, y = torch.rand(256, 1, 12, 12).clamp_min(0.4), torch.randint(0, 5, (256,))
        whole = torch.ones(256, dtype=torch.bool)
        for part in [y == k for k in range(5)] if apart else [whole]:
            x[part] = (x[part] - x[part].mean()) / x[part].std()
        model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(600, 5))
        batches = list(zip(x.split(32), y.split(32), strict=True))
        found = ravine.check(model, F.cross_entropy, batches, learn=False, labels_probe=True)

    assert ("label-in-input" in found.codes) == apart
