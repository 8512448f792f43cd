"""Parameter groups: complete, disjoint, and with the rates that can be counted by hand."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import ravine.models
from ravine.core.errors import SettingError
from ravine.optim import Adam, Momentum, parameter_groups


class Tied(nn.Module):
    """A table, a body with a norm before and after, and a head that is the table again."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.LayerNorm(4)
        self.table = nn.Embedding(5, 4)
        self.body = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.GELU(), nn.Linear(4, 4))
        self.head = nn.Linear(4, 5)
        self.head.weight = self.table.weight


def by_name(model: nn.Module, groups: list[dict[str, Any]], key: str) -> dict[str, float]:
    """Returns what each parameter's group has, by the parameter's first name."""
    names = {p: name for name, p in model.named_parameters()}
    return {names[p]: group[key] for group in groups for p in group["params"]}


def test_the_rate_falls_layer_by_layer_from_the_output() -> None:
    model = Tied()
    groups = parameter_groups(model, weight_decay=0.1, lr=1.0, layer_decay=0.5)

    assert by_name(model, groups, "lr") == {
        "before.weight": 0.125,
        "before.bias": 0.125,
        "table.weight": 0.125,
        "body.0.weight": 0.25,
        "body.0.bias": 0.25,
        "body.1.weight": 0.25,
        "body.1.bias": 0.25,
        "body.3.weight": 0.5,
        "body.3.bias": 0.5,
        "head.bias": 1.0,
    }


def test_a_network_of_ours_has_a_layer_for_each_convolution() -> None:
    model = ravine.models.build("wrn-10-1", classes=10, channels=3, image_size=32)
    weights = [name for name, p in model.named_parameters() if p.dim() > 1]
    rates = by_name(model, parameter_groups(model, weight_decay=0.1, lr=2.0, layer_decay=0.9), "lr")

    expected = [2.0 * 0.9**k for k in reversed(range(len(weights)))]
    assert [rates[name] for name in weights] == pytest.approx(expected)


def test_the_first_pattern_that_fits_multiplies_the_rate() -> None:
    model = Tied()
    groups = parameter_groups(
        model,
        weight_decay=0.1,
        lr=1.0,
        layer_decay=0.5,
        lr_multipliers={"body.0.*": 0.1, "body.*": 0.01, "head.weight": 0.0},
    )
    rates = by_name(model, groups, "lr")

    assert rates["body.0.weight"] == pytest.approx(0.025)
    assert rates["body.3.bias"] == pytest.approx(0.005)
    assert rates["table.weight"] == 0.0  # by its other name
    assert rates["head.bias"] == 1.0
    assert rates["before.bias"] == 0.125


@given(
    layer_decay=st.none() | st.just(1.0) | st.floats(0.1, 0.95),
    rates=st.dictionaries(
        st.sampled_from(["body.*", "*.bias", "b*", "*"]), st.just(0.0) | st.floats(1e-6, 3)
    ),
    frozen=st.sets(st.integers(0, 9)),
    named=st.booleans(),
)
def test_every_parameter_that_learns_stands_in_one_group(
    layer_decay: float | None, rates: dict[str, float], frozen: set[int], named: bool
) -> None:
    model = Tied()
    for index, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(index not in frozen)
    groups = parameter_groups(
        model, weight_decay=0.1, lr=0.3, layer_decay=layer_decay, lr_multipliers=rates, named=named
    )

    held: list[Tensor] = [p for group in groups for p in group["params"]]
    assert len(held) == len(set(held))
    assert set(held) == {p for p in model.parameters() if p.requires_grad}
    assert all(group["params"] for group in groups)
    for group in groups:
        assert {p.dim() > 1 for p in group["params"]} == {group["weight_decay"] > 0}
    pairs = [(group["lr"], group["weight_decay"]) for group in groups]
    assert len(pairs) == len(set(pairs))


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW, Adam, Momentum])
def test_names_go_with_the_groups_into_a_saved_state_and_back(make) -> None:  # type: ignore[no-untyped-def]
    model = Tied()
    groups = parameter_groups(model, weight_decay=0.1, lr=0.1, layer_decay=0.5, named=True)
    optimizer = make(groups, lr=1.0)
    saved = copy.deepcopy(optimizer.state_dict())
    optimizer.load_state_dict(saved)
    model.body(torch.ones(2, 4)).sum().backward()
    optimizer.step()

    names = [name for group in saved["param_groups"] for name in group["param_names"]]
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert dict(zip(names, held, strict=True)) == dict(model.named_parameters())
    assert [g["lr"] for g in optimizer.param_groups] == [g["lr"] for g in saved["param_groups"]]


def test_without_rates_there_are_two_groups_as_ever() -> None:
    model = Tied()
    decayed, spared = parameter_groups(model, weight_decay=0.1)

    assert set(decayed) == set(spared) == {"params", "weight_decay"}
    assert decayed["params"] == [p for p in model.parameters() if p.dim() > 1]
    assert spared["params"] == [p for p in model.parameters() if p.dim() <= 1]
    assert [g["lr"] for g in parameter_groups(model, weight_decay=0.1, lr=0.2)] == [0.2, 0.2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer_decay": 0.9}, "layer_decay needs lr"),
        ({"lr_multipliers": {"head.*": 0.1}}, "lr_multipliers needs lr"),
        ({"lr": 0.1, "layer_decay": 0.0}, r"layer_decay must be in \(0, 1\], got 0"),
        ({"lr": 0.1, "layer_decay": 1.1}, r"layer_decay must be in \(0, 1\], got 1.1"),
        ({"lr": -0.1}, "lr must be in"),
        ({"lr": 0.1, "lr_multipliers": {"head.*": -1.0}}, r"lr_multipliers\['head.\*'\] must be"),
        (
            {"lr": 0.1, "lr_multipliers": {"haed.*": 0.1}},
            r"unknown pattern of lr_multipliers 'haed.\*'; did you mean 'head.\*'.* Known: "
            r"before.\*, table.\*, head.\*, body.\*",
        ),
    ],
)
def test_what_makes_no_groups_is_told(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        parameter_groups(Tied(), weight_decay=0.1, **arguments)
