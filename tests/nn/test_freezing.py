"""Frozen layers stay bitwise as they are, their statistics too; the rest learns."""

import copy

import pytest
import torch
from torch import nn

from ravine.core.errors import SettingError
from ravine.models import build
from ravine.nn.freezing import freeze_, is_frozen, layers_of, training_mode_
from ravine.nn.head import head_name
from ravine.nn.precise_batch_norm import measure_norm_statistics_


def _small() -> nn.Module:
    torch.manual_seed(0)
    return build("wrn-10-1", classes=3, channels=1, image_size=8)


def _steps(model: nn.Module, count: int = 3) -> None:
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=0.1, weight_decay=0.1)
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        training_mode_(model)
        images = torch.randn(6, 1, 8, 8, generator=generator) * 3 + 2
        loss = nn.functional.cross_entropy(model(images), torch.arange(6) % 3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _changed(model: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    now = model.state_dict()
    return {name for name in now if not torch.equal(now[name], before[name])}


def test_with_a_frozen_backbone_only_the_head_changes_and_no_statistic_does() -> None:
    model = _small()
    before = copy.deepcopy(model.state_dict())

    freeze_(model, "backbone", head=head_name(model))
    _steps(model)

    assert _changed(model, before) == {"6.weight", "6.bias"}


def test_the_first_layers_are_frozen_with_the_norms_that_follow_them() -> None:
    model = _small()
    before = copy.deepcopy(model.state_dict())

    freeze_(model, "2", head=head_name(model))
    _steps(model)

    changed = _changed(model, before)
    assert not {name for name in changed if name.startswith(("0.", "1.first", "1.branch"))}
    assert {"1.last.weight", "2.first.norm.running_mean", "6.weight"} <= changed


def test_measured_statistics_leave_frozen_norms_alone() -> None:
    model = _small()
    freeze_(model, "2", head=head_name(model))
    before = copy.deepcopy(model.state_dict())

    measure_norm_statistics_(model, [torch.randn(8, 1, 8, 8) + 5], call=model)

    changed = _changed(model, before)
    assert "2.first.norm.running_mean" in changed
    assert not {name for name in changed if name.startswith(("1.first", "1.branch"))}


def test_a_copy_is_frozen_too_and_dropout_before_the_head_is_off() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2))
    freeze_(model, "backbone", head="2")

    other = training_mode_(copy.deepcopy(model))

    assert is_frozen(other[0])
    assert not other[1].training
    assert other[2].training


def test_a_part_that_does_not_exist_is_refused_with_what_does() -> None:
    model = _small()
    count = len(layers_of(model, head=head_name(model)))

    with pytest.raises(SettingError, match=f"freeze 99: the network has {count} layers before"):
        freeze_(model, "99", head=head_name(model))


def test_as_many_layers_as_there_are_is_the_backbone() -> None:
    one, two = _small(), _small()
    count = len(layers_of(one, head=head_name(one)))

    assert freeze_(one, str(count), head=head_name(one)) == count
    assert freeze_(two, "backbone", head=head_name(two)) == count
    frozen = [[is_frozen(m) for m in net.modules()] for net in (one, two)]
    assert frozen[0] == frozen[1]
