"""Stems for other channels and heads for other classes, against what they have to compute."""

import pytest
import torch
from torch import nn

from ravine.weights.adapt import adapt, class_rows, stem_weight
from ravine.weights.trained_weights import TrainedWeights


def test_a_grey_image_meets_a_colour_stem_as_its_copies_in_every_channel_would() -> None:
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    grey = torch.randn(2, 1, 8, 8, dtype=torch.float64)

    copies = nn.functional.conv2d(grey.expand(-1, 3, -1, -1), weight)

    torch.testing.assert_close(nn.functional.conv2d(grey, stem_weight(weight, 1)), copies)


@pytest.mark.parametrize(("trained", "channels"), [(3, 5), (1, 3), (3, 6)])
def test_equal_channels_of_any_number_give_the_scale_that_the_stem_was_trained_with(
    trained: int, channels: int
) -> None:
    filters = torch.randn(4, 1, 3, 3, dtype=torch.float64).expand(-1, trained, -1, -1)
    one = torch.randn(2, 1, 8, 8, dtype=torch.float64)

    as_trained = nn.functional.conv2d(one.expand(-1, trained, -1, -1), filters)
    here = nn.functional.conv2d(one.expand(-1, channels, -1, -1), stem_weight(filters, channels))

    torch.testing.assert_close(here, as_trained)


def test_classes_are_known_by_name_and_a_name_of_two_is_nobodys() -> None:
    assert class_rows(["b", "a", "new"], ["a", "b"]) == {0: 1, 1: 0}
    assert class_rows([" Cat"], ["dog", "cat"]) == {0: 1}
    assert class_rows(["cat"], ["Cat", "CAT"]) == {}


def _net(classes: int, channels: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, classes)
    )


def test_rows_of_the_head_follow_their_class_and_the_others_stay_fresh() -> None:
    trained = _net(3)
    weights = TrainedWeights(
        tensors=trained.state_dict(), source="x", classes=("cat", "dog", "emu")
    )
    here = _net(2)
    fresh = here[3].weight.detach().clone()

    adapted = adapt(here, weights, classes=("owl", "dog"), head="3")

    assert torch.equal(adapted.tensors["3.weight"][1], trained[3].weight[1])
    assert torch.equal(adapted.tensors["3.bias"][1], trained[3].bias[1])
    assert torch.equal(adapted.tensors["3.weight"][0], fresh[0])
    assert torch.equal(adapted.tensors["0.weight"], trained[0].weight)
    assert torch.equal(here[3].weight, fresh)  # the network itself stays
    assert adapted.kept == ("dog",)


def test_a_head_without_class_names_is_made_anew() -> None:
    weights = TrainedWeights(tensors=_net(2).state_dict(), source="x")
    here = _net(2)

    adapted = adapt(here, weights, classes=("a", "b"), head="3")

    assert torch.equal(adapted.tensors["3.weight"], here[3].weight)
    assert adapted.notes[-1] == "head made anew for 2 classes"


def test_a_stem_of_other_channels_is_changed_by_the_rule_and_said() -> None:
    trained = _net(2)
    weights = TrainedWeights(tensors=trained.state_dict(), source="x", classes=("a", "b"))

    adapted = adapt(_net(2, channels=1), weights, classes=("a", "b"), head="3")

    assert torch.equal(adapted.tensors["0.weight"], trained[0].weight.sum(1, keepdim=True))
    assert "trained on 3 channels, here 1: the sum" in adapted.notes[0]
