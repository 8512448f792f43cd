import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ravine.optim import decide
from ravine.optim.clip import by_unit, by_value, norm_scale, norms


def test_the_decision_names_the_broken_gradient_nearest_to_the_output() -> None:
    parameters = [nn.Parameter(torch.ones(2)) for _ in range(5)]
    for p in parameters[:4]:
        p.grad = torch.ones(2)
    fine = decide(parameters, torch.tensor(1.0))
    assert (bool(fine.ok), int(fine.bad)) == (True, -1)
    assert float(fine.norm) == pytest.approx(8**0.5, rel=1e-6)
    for place in (1, 2):
        parameters[place].grad = torch.tensor([float("nan"), 1.0])
    broken = decide(parameters, torch.tensor(1.0))
    assert (bool(broken.ok), int(broken.bad)) == (False, 2)
    assert not bool(decide(parameters[:1], torch.tensor(float("inf"))).ok)


def test_a_decision_without_gradients_allows_the_step() -> None:
    decision = decide([nn.Parameter(torch.ones(2))], torch.tensor(1.0), clip=1.0)
    assert (bool(decision.ok), int(decision.bad), float(decision.norm)) == (True, -1, 0.0)


def test_the_norm_of_finite_gradients_is_finite_however_large() -> None:
    w = nn.Parameter(torch.zeros(1000))
    w.grad = torch.full((1000,), 3e38)
    decision = decide([w], torch.tensor(1.0))
    assert bool(decision.ok)
    assert float(decision.norm) == pytest.approx(3e38 * 1000**0.5, rel=1e-5)


@settings(deadline=None)  # the first call in a process is slow
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


@settings(deadline=None)
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


def test_agc_clips_the_last_but_one_layer_where_the_last_is_frozen() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    model[0].weight.grad = torch.full((4, 4), 100.0)
    decision = decide(list(model.parameters()), torch.tensor(1.0), clip=0.01, clip_by="agc")
    assert decision.gradients is not None
    assert set(decision.gradients) == {model[0].weight}


def test_clipping_by_value_limits_each_component() -> None:
    assert by_value(torch.tensor([-3.0, 0.5, 9.0]), 1.0).tolist() == [-1.0, 0.5, 1.0]
