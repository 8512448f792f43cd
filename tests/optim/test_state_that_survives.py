import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ravine.core.errors import RunError, SettingError
from ravine.optim import (
    AdaGrad,
    Adam,
    Momentum,
    Nadam,
    RMSProp,
    from_torch,
    load_named_state,
    load_state,
    load_torch_state,
    named_state,
    save_state,
)

every = pytest.mark.parametrize("make", [Momentum, AdaGrad, RMSProp, Adam, Nadam])
TORCH: dict[str, tuple[type, Callable[..., torch.optim.Optimizer]]] = {
    "sgd": (Momentum, lambda p: torch.optim.SGD(p, 0.03, 0.8, weight_decay=0.02)),
    "sgd-plain": (Momentum, lambda p: torch.optim.SGD(p, 0.03)),
    "sgd-nesterov": (
        Momentum,
        lambda p: torch.optim.SGD(p, 0.03, 0.8, nesterov=True, weight_decay=0.02),
    ),
    "adagrad": (
        AdaGrad,
        lambda p: torch.optim.Adagrad(
            p, 0.05, eps=1e-4, weight_decay=0.02, initial_accumulator_value=0.3
        ),
    ),
    "rmsprop": (
        RMSProp,
        lambda p: torch.optim.RMSprop(p, 0.01, alpha=0.9, eps=1e-4, weight_decay=0.02),
    ),
    "adam": (Adam, lambda p: torch.optim.Adam(p, 0.01, (0.8, 0.95), 1e-5, weight_decay=0.02)),
    "adamw": (Adam, lambda p: torch.optim.AdamW(p, 0.01, (0.8, 0.95), 1e-5, weight_decay=0.02)),
    **{
        f"nadam-{decay:g}": (
            Nadam,
            lambda p, decay=decay: torch.optim.NAdam(
                p, 0.01, (0.8, 0.95), 1e-5, momentum_decay=decay, weight_decay=0.02
            ),
        )
        for decay in (0.004, 1.0, 1e9)
    },
    "nadam-decoupled": (
        Nadam,
        lambda p: torch.optim.NAdam(p, 0.01, weight_decay=0.02, decoupled_weight_decay=True),
    ),
}


def _model(*, dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(64, 3)).to(dtype)


def _train(model: nn.Module, optimizer: torch.optim.Optimizer, *, start: int, steps: int) -> None:
    for step in range(start, start + steps):
        chance = torch.Generator().manual_seed(step)
        x = torch.randn(4, 2, 6, 6, generator=chance).to(next(model.parameters()).dtype)
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("before", [0, 1, 7])
@pytest.mark.parametrize("name", sorted(TORCH))
def test_a_converted_optimizer_goes_on_as_torch_would(name: str, before: int) -> None:
    kind, make = TORCH[name]
    # Torch keeps the product of Nadam's momenta in float32.
    near = {"rtol": 1e-4, "atol": 1e-7} if kind is Nadam else {"rtol": 1e-9, "atol": 1e-12}
    theirs = _model(dtype=torch.float64)
    groups = [
        {"params": theirs[0].parameters(), "lr": 0.02},
        {"params": theirs[2].parameters(), "weight_decay": 0.0},
    ]
    torchs = make(groups)
    _train(theirs, torchs, start=0, steps=before)
    ours, kept = copy.deepcopy((theirs, torchs))
    converted = from_torch(kept)
    assert type(converted) is kind
    _train(theirs, torchs, start=before, steps=9)
    _train(ours, converted, start=before, steps=9)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, **near)

    loaded = _model(dtype=torch.float64)
    loaded.load_state_dict(theirs.state_dict())
    other = kind([{"params": loaded[0].parameters()}, {"params": loaded[2].parameters()}])
    load_torch_state(other, torchs.state_dict(), type(torchs))
    _train(theirs, torchs, start=50, steps=5)
    _train(loaded, other, start=50, steps=5)
    for p, q in zip(loaded.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, **near)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: torch.optim.SGD(p, 0.1, 0.9, dampening=0.9), r"SGD\(dampening=0.9\)"),
        (lambda p: torch.optim.SGD(p, 0.1, 0.9, maximize=True), r"SGD\(maximize=True\)"),
        (lambda p: torch.optim.Adam(p, amsgrad=True), r"Adam\(amsgrad=True\)"),
        (lambda p: torch.optim.RMSprop(p, centered=True), r"RMSprop\(centered=True\)"),
        (lambda p: torch.optim.RMSprop(p, momentum=0.5), r"RMSprop\(momentum=0.5\)"),
        (lambda p: torch.optim.Adagrad(p, lr_decay=0.1), r"Adagrad\(lr_decay=0.1\)"),
        (
            lambda p: torch.optim.NAdam(p, momentum_decay=0.1),
            r"momentum_decay=0.1.*0.004 \(dozat\)",
        ),
        (lambda p: torch.optim.Rprop(p), r"Rprop of torch has no equivalent.*AdamW"),
    ],
)
def test_what_has_no_equivalent_is_refused_by_name(make, says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SettingError, match=says):
        from_torch(make([nn.Parameter(torch.ones(2))]))


def test_a_torch_state_is_matched_by_name_where_there_are_names() -> None:
    model = _model()
    torchs = torch.optim.AdamW(model.named_parameters(), 0.01)
    _train(model, torchs, start=0, steps=2)
    turned = Adam(list(reversed(list(model.named_parameters()))))
    load_torch_state(turned, torchs.state_dict(), torch.optim.AdamW)
    for p in model.parameters():
        assert torch.equal(turned.state[p]["v"], torchs.state[p]["exp_avg"])
    assert turned.param_groups[0]["lr"] == 0.01


def test_a_torch_state_of_another_network_is_refused_and_nothing_is_changed() -> None:
    model = _model()
    torchs = torch.optim.AdamW(model.parameters(), 0.01)
    _train(model, torchs, start=0, steps=1)
    turned = Adam(list(reversed(list(model.parameters()))), lr=0.5)
    with pytest.raises(SettingError, match=r"exp_avg of parameter number 0 has the shape"):
        load_torch_state(turned, torchs.state_dict(), torch.optim.AdamW)
    assert turned.param_groups[0]["lr"] == 0.5
    assert not turned.state
    with pytest.raises(SettingError, match="does not go into Momentum"):
        load_torch_state(Momentum(model.parameters()), torchs.state_dict(), torch.optim.AdamW)
    with pytest.raises(SettingError, match="of 4 parameters, the optimizer holds 1"):
        load_torch_state(Adam([model[0].weight]), torchs.state_dict(), torch.optim.AdamW)


@every
def test_a_saved_state_finds_its_parameters_in_any_order_bitwise(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    model = _model().to(memory_format=torch.channels_last)
    optimizer = make(model.parameters(), lr=0.01)
    _train(model, optimizer, start=0, steps=4)
    save_state(tmp_path / "state.safetensors", optimizer, model)
    twin = copy.deepcopy(model)
    turned = list(reversed(list(twin.parameters())))
    other = make([{"params": turned[:1]}, {"params": turned[1:]}], lr=0.5)
    load_state(tmp_path / "state.safetensors", other, twin)
    assert other.param_groups[0]["lr"] == 0.5
    load_state(tmp_path / "state.safetensors", other, twin, hyperparameters=True)
    assert [group["lr"] for group in other.param_groups] == [0.01, 0.01]
    _train(model, optimizer, start=4, steps=5)
    _train(twin, other, start=4, steps=5)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(p, q)


def test_the_state_keeps_its_precision_whatever_the_weights_have() -> None:
    model = _model(dtype=torch.bfloat16)
    optimizer = Adam(model.parameters(), eps=1e-6)
    _train(model, optimizer, start=0, steps=1)
    for p in model.parameters():
        optimizer.state[p]["G"] = optimizer.state[p]["G"].double()
    saved = named_state(optimizer, model)
    other = Adam(model.parameters(), eps=1e-6)
    load_named_state(other, model, saved)
    assert {other.state[p]["G"].dtype for p in model.parameters()} == {torch.float64}
    assert {other.state[p]["v"].dtype for p in model.parameters()} == {torch.bfloat16}


class _Wrong:
    """Ways in which a saved state does not fit, and what is said of it."""

    @staticmethod
    def of_another_shape(saved: dict[str, Any]) -> str:
        saved["0.weight/v"] = torch.zeros(3)
        return r"saved v of 0\.weight has the shape \(3,\) where \(4, 2, 3, 3\) is needed"

    @staticmethod
    def of_another_name(saved: dict[str, Any]) -> str:
        saved["features.weight/v"] = saved["features.weight/step"] = torch.zeros(())
        return r"no parameter to go to for features\.weight"

    @staticmethod
    def of_another_rule(saved: dict[str, Any]) -> str:
        del saved["2.bias/G"]
        return r"state of 2\.bias has step, v where Adam keeps G, step, v"


@pytest.mark.parametrize(
    "how", [_Wrong.of_another_shape, _Wrong.of_another_name, _Wrong.of_another_rule]
)
def test_a_state_that_does_not_fit_names_the_parameter_and_changes_nothing(how) -> None:  # type: ignore[no-untyped-def]
    model = _model()
    optimizer = Adam(model.parameters())
    _train(model, optimizer, start=0, steps=1)
    before = {name: value.clone() for name, value in named_state(optimizer, model).items()}
    saved = {name: value + 1 for name, value in before.items()}
    with pytest.raises(SettingError, match=how(saved)):
        load_named_state(optimizer, model, saved)
    after = named_state(optimizer, model)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_files_that_are_torn_or_of_another_optimizer_are_refused(tmp_path: Path) -> None:
    model = _model()
    path = tmp_path / "state.safetensors"
    save_state(path, Momentum(model.parameters()), model)
    with pytest.raises(SettingError, match="is the state of Momentum, not of Adam"):
        load_state(path, Adam(model.parameters()), model)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(RunError, match="torn"):
        load_state(path, Momentum(model.parameters()), model)
    with pytest.raises(SettingError, match="parameters that the model does not"):
        save_state(path, Momentum(model.parameters()), model[0])


def test_tied_parameters_are_saved_once() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    optimizer = Momentum(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    names = {name.rpartition("/")[0] for name in named_state(optimizer, model)}
    assert names == {"0.weight", "0.bias", "1.bias"}


def test_a_schedule_of_torch_goes_on_after_the_conversion() -> None:
    theirs = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(theirs, 3, 0.5)
    for _ in range(6):
        theirs.step()
        schedule.step()

    mine = from_torch(theirs)
    again = torch.optim.lr_scheduler.StepLR(mine, 3, 0.5, last_epoch=6)

    assert again.base_lrs == pytest.approx([1.0])  # torch's 0.1, in units of a moving mean


@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.parametrize("name", sorted(TORCH))
def test_a_state_dict_of_torch_is_refused_at_the_load(name: str, steps: int) -> None:
    kind, make = TORCH[name]
    model = _model()
    torchs = make(model.parameters())
    _train(model, torchs, start=0, steps=steps)
    ours = kind(model.parameters(), 0.5)
    _train(model, ours, start=0, steps=1)
    before = str(ours.state_dict())

    says = rf"load_torch_state\(optimizer, saved, torch.optim.{type(torchs).__name__}\)"
    with pytest.raises(SettingError, match=says):
        ours.load_state_dict(torchs.state_dict())

    assert str(ours.state_dict()) == before
    ours.step()
    load_torch_state(ours, torchs.state_dict(), type(torchs))
    ours.step()


def test_a_state_dict_of_another_rule_is_refused_at_the_load() -> None:
    model = _model()
    ours = Adam(model.parameters())
    for other, says in (
        (torch.optim.SGD(model.parameters(), 0.1), "torch's SGD, which goes into .*Momentum"),
        (torch.optim.Rprop(model.parameters()), "torch without equivalent"),
        (Momentum(model.parameters()), "its groups have no betas, eps, eps_in_root"),
        (Nadam(model.parameters()), "its groups have form"),
    ):
        with pytest.raises(SettingError, match=says):
            ours.load_state_dict(other.state_dict())
    with pytest.raises(SettingError, match="its groups have alpha"):
        AdaGrad(model.parameters()).load_state_dict(RMSProp(model.parameters()).state_dict())
    saved = ours.state_dict()
    saved["state"][0] = {"step": torch.zeros(()), "G": torch.zeros(4, 2, 3, 3)}
    with pytest.raises(SettingError, match="has G, step where Adam keeps G, step, v"):
        ours.load_state_dict(saved)


def test_a_converted_state_must_be_of_the_class_that_is_named() -> None:
    model = _model()
    ours, sgd = Momentum(model.parameters()), torch.optim.SGD(model.parameters(), 0.1)
    adam = torch.optim.Adam(model.parameters())
    with pytest.raises(SettingError, match="of torch's Adam, not of SGD"):
        load_torch_state(ours, adam.state_dict(), torch.optim.SGD)
    with pytest.raises(SettingError, match=r"optimizer.load_state_dict\(saved\)"):
        load_torch_state(ours, ours.state_dict(), torch.optim.SGD)
    with pytest.raises(SettingError, match="no `state` and `param_groups`"):
        load_torch_state(ours, {}, torch.optim.SGD)
    load_torch_state(ours, sgd.state_dict(), torch.optim.SGD)
