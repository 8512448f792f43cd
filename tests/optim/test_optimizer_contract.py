import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ravine.core.errors import SettingError
from ravine.optim import AdaGrad, Adam, Momentum, Nadam, RMSProp, decide, parameter_groups
from ravine.optim.clip import by_unit, by_value, norm_scale, norms
from ravine.optim.range_test import range_test
from ravine.optim.settings import OPTIMIZERS, OptimizerSettings

every = pytest.mark.parametrize("make", [Momentum, AdaGrad, RMSProp, Adam, Nadam])


def _pair() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(3)), nn.Parameter(torch.full((2, 2), 2.0))]


@every
def test_a_parameter_without_gradient_is_left_alone(make) -> None:  # type: ignore[no-untyped-def]
    one, two = _pair()
    one.grad = torch.ones(3)
    make([one, two]).step()
    assert torch.equal(two, torch.full((2, 2), 2.0))
    assert not torch.equal(one, torch.ones(3))


@every
def test_groups_have_rates_of_their_own_and_torch_schedulers_work(make) -> None:  # type: ignore[no-untyped-def]
    one, two = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    optimizer = make([{"params": [one], "lr": 0.1}, {"params": [two], "lr": 0.2}])
    for scheduler in (
        torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5),
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10),
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: 1 / (k + 1)),
    ):
        one.grad, two.grad = torch.ones(2), torch.ones(2)
        optimizer.step()
        scheduler.step()
    assert torch.allclose(two, 2 * one, rtol=1e-4)


@every
def test_state_survives_a_round_trip(make) -> None:  # type: ignore[no-untyped-def]
    def run(optimizer: torch.optim.Optimizer, w: nn.Parameter, steps: int) -> None:
        for step in range(steps):
            w.grad = torch.sin(w.detach() + step)
            optimizer.step()

    w = nn.Parameter(torch.arange(4.0))
    optimizer = make([w])
    run(optimizer, w, 5)
    twin = nn.Parameter(w.detach().clone())
    other = make([twin])
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    run(optimizer, w, 3)
    run(other, twin, 3)
    torch.testing.assert_close(w, twin, rtol=1e-6, atol=1e-7)


@every
def test_a_closure_is_evaluated_with_gradients(make) -> None:  # type: ignore[no-untyped-def]
    w = nn.Parameter(torch.ones(1))
    optimizer = make([w])

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (w**2).sum()
        loss.backward()
        return loss

    assert float(optimizer.step(closure).detach()) == 1.0
    assert float(w.detach()) < 1.0


@every
def test_gradients_are_left_as_they_were_unless_cleared(make) -> None:  # type: ignore[no-untyped-def]
    w = nn.Parameter(torch.ones(2))
    w.grad = torch.tensor([3.0, 4.0])
    optimizer = make([w])
    optimizer.step(scale=torch.tensor(0.1))
    assert torch.equal(w.grad, torch.tensor([3.0, 4.0]))
    optimizer.step(clear=True)
    assert w.grad is None


@every
def test_huge_finite_gradients_do_not_poison_the_state(make) -> None:  # type: ignore[no-untyped-def]
    w = nn.Parameter(torch.ones(2))
    optimizer = make([w], lr=1e-30)
    for _ in range(5):
        w.grad = torch.full((2,), 3e38)
        optimizer.step()
    state = [value for value in optimizer.state[w].values() if value.is_floating_point()]
    assert all(value.isfinite().all() for value in state)
    assert w.isfinite().all()


@every
def test_sparse_gradients_are_refused_in_one_line(make) -> None:  # type: ignore[no-untyped-def]
    layer = nn.Embedding(4, 2, sparse=True)
    layer(torch.tensor([1])).sum().backward()
    with pytest.raises(SettingError, match="dense gradients only"):
        make(layer.parameters()).step()


def test_the_norm_of_finite_gradients_is_finite_however_large() -> None:
    w = nn.Parameter(torch.zeros(1000))
    w.grad = torch.full((1000,), 3e38)
    decision = decide([w], torch.tensor(1.0))
    assert bool(decision.ok)
    assert float(decision.norm) == pytest.approx(3e38 * 1000**0.5, rel=1e-5)


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=20), st.floats(1e-3, 1e3))
def test_clipping_by_norm_limits_and_keeps_the_direction(values: list[float], limit: float) -> None:
    gradient = torch.tensor(values)
    clipped = gradient * norm_scale(norms([gradient])[0], limit)
    size = float(gradient.double().norm())
    assert float(clipped.double().norm()) <= max(limit, 0) * (1 + 1e-5) or size <= limit
    if size <= limit:
        assert torch.equal(clipped, gradient)
    else:
        torch.testing.assert_close(
            clipped.double(), gradient.double() * (limit / size), rtol=1e-5, atol=1e-30
        )


@given(st.integers(0, 50), st.floats(1e-3, 2.0))
def test_agc_agrees_with_a_loop_over_rows(seed: int, limit: float) -> None:
    chance = torch.Generator().manual_seed(seed)
    weight = torch.randn(4, 3, 2, 2, generator=chance) * 0.1
    weight[0] = 0
    gradient = torch.randn(4, 3, 2, 2, generator=chance)
    expected = gradient.clone()
    for i in range(4):
        most = limit * max(float(weight[i].norm()), 1e-3)
        size = float(gradient[i].norm())
        if size > most:
            expected[i] = gradient[i] * (most / size)
    torch.testing.assert_close(by_unit(weight, gradient, limit), expected, rtol=1e-5, atol=1e-8)


def test_agc_leaves_the_last_layer_and_biases_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    for p in model.parameters():
        p.grad = torch.full_like(p, 100.0)
    decision = decide(list(model.parameters()), torch.tensor(1.0), clip=0.01, clip_by="agc")
    assert decision.gradients is not None
    assert set(decision.gradients) == {model[0].weight}


def test_clipping_by_value_limits_each_component() -> None:
    assert by_value(torch.tensor([-3.0, 0.5, 9.0]), 1.0).tolist() == [-1.0, 0.5, 1.0]


def test_decay_spares_biases_and_norms() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    decayed, spared = parameter_groups(model, weight_decay=0.1)
    assert decayed["weight_decay"] == 0.1
    assert {id(p) for p in decayed["params"]} == {id(model[0].weight), id(model[3].weight)}
    assert spared["weight_decay"] == 0.0
    assert len(spared["params"]) == 4


def test_the_range_test_leaves_everything_bitwise_and_finds_a_rate_that_learns() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    model.eval()
    optimizer = Momentum(model.parameters(), 0.1)
    model[0].weight.grad = torch.ones_like(model[0].weight)
    optimizer.step()

    class Batch:
        def __init__(self, seed: int) -> None:
            chance = torch.Generator().manual_seed(seed)
            self.images = torch.randn(32, 8, generator=chance)
            self.targets = self.images[:, :3].argmax(1)

    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    state = torch.get_rng_state()
    found = range_test(model, optimizer, nn.functional.cross_entropy, map(Batch, range(100)))
    after = (model.state_dict(), optimizer.state_dict())
    assert str(before) == str(after)
    for name, value in before[0].items():
        assert torch.equal(value, after[0][name])
    assert torch.equal(state, torch.get_rng_state())
    assert not model.training
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
    assert 0.01 < found.suggestion < 30
    model.train()
    losses = []
    for step in range(150):
        for group in optimizer.param_groups:
            group["lr"] = found.suggestion * (1 - step / 150)
        batch = Batch(200 + step)
        loss = nn.functional.cross_entropy(model(batch.images), batch.targets)
        loss.backward()
        optimizer.step(clear=True)
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_named_optimizer_is_built_from_settings_and_takes_a_step(name: str) -> None:
    model = nn.Linear(3, 2)
    optimizer = OptimizerSettings(optimizer=name).build_optimizer(model)
    before = model.weight.detach().clone()
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert not torch.equal(before, model.weight)
    assert optimizer.param_groups[0]["lr"] == OptimizerSettings(optimizer=name).default_lr()


@every
@pytest.mark.parametrize(
    "wrong", [{"lr": -1.0}, {"lr": float("nan")}, {"weight_decay": -1.0}, {"decay": "both"}]
)
def test_a_wrong_hyperparameter_is_refused(make, wrong: dict[str, object]) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SettingError):
        make([nn.Parameter(torch.ones(1))], **wrong)
