"""The sign of a loss is judged by a clear slope only."""

import math

import pytest
import torch
from torch import nn

import ravine


@pytest.mark.parametrize(("sign", "named"), [(1.0, False), (-1.0, True)])
def test_a_network_that_is_surer_than_its_smoothed_labels_has_no_wrong_loss(
    sign: float, named: bool
) -> None:
    smoothed = nn.CrossEntropyLoss(label_smoothing=0.2)
    labels = torch.arange(40) % 10
    model = nn.Linear(10, 10, bias=False)
    with torch.no_grad():  # p = 0.83 of the right class, where the labels ask for 0.82
        model.weight.copy_(torch.eye(10) * math.log(0.83 * 9 / 0.17))
    if named:
        nn.init.normal_(model.weight, 0.0, 0.1)

    found = ravine.check(
        model,
        lambda out, target: sign * smoothed(out, target),
        [(nn.functional.one_hot(labels, 10).float(), labels)],
        learn=False,
    )

    assert ("loss-of-wrong-sign" in found.codes) is named
