"""Muon against the formula: an oracle of float64 loops and a singular value decomposition."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ravine.core.errors import SettingError
from ravine.models import build
from ravine.optim import Adam, Muon, parameter_groups
from ravine.optim.orthogonal import orthogonal
from ravine.optim.settings import OptimizerSettings
from ravine.test_functions.candidates import parse_candidates


def by_singular_values(u: Tensor) -> Tensor:
    """U f⁵(Σ) Vᵀ of u/(‖u‖ + 1e-7), f(s) = as + bs³ + cs⁵."""
    a, b, c = 3.4445, -4.7750, 2.0315
    norm = math.sqrt(sum(x * x for x in u.flatten().tolist())) + 1e-7
    U, s, Vt = torch.linalg.svd(u.double() / norm, full_matrices=False)
    for _ in range(5):
        s = a * s + b * s**3 + c * s**5
    return U @ torch.diag(s) @ Vt


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(-20, 20), st.integers(0, 2**31))
def test_newton_schulz_is_the_polynomial_of_the_singular_values(
    rows: int, columns: int, exponent: int, seed: int
) -> None:
    chance = torch.Generator().manual_seed(seed)
    u = torch.randn(rows, columns, generator=chance, dtype=torch.float64) * 10.0**exponent

    torch.testing.assert_close(orthogonal(u), by_singular_values(u), rtol=1e-8, atol=1e-9)
    single = orthogonal(u.float()).double()
    torch.testing.assert_close(single, by_singular_values(u.float()), rtol=1e-3, atol=1e-3)


def test_singular_values_above_a_hundredth_become_nearly_one() -> None:
    chance = torch.Generator().manual_seed(3)
    U, _ = torch.linalg.qr(torch.randn(64, 16, generator=chance, dtype=torch.float64))
    s = torch.logspace(0, math.log10(0.05), 16, dtype=torch.float64)

    found = torch.linalg.svdvals(orthogonal(U * s))

    assert 0.68 <= float(found.min()) <= float(found.max()) <= 1.14


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", ["coupled", "decoupled"])
@pytest.mark.parametrize("shape", [(6, 3), (3, 6), (4, 2, 3, 3), (20, 2, 3, 3)], ids=str)
def test_steps_agree_with_the_formula_in_float64(
    shape: tuple[int, ...], decay: str, nesterov: bool
) -> None:
    η, μ, λ = 0.03, 0.9, 0.05
    chance = torch.Generator().manual_seed(1)
    w = torch.randn(shape, generator=chance, dtype=torch.float64)
    ours = nn.Parameter(w.clone())
    made = Muon([ours], η, μ, nesterov=nesterov, weight_decay=λ, decay=decay)  # type: ignore[arg-type]
    v = torch.zeros_like(w)
    for _ in range(6):
        g = torch.randn(shape, generator=chance, dtype=torch.float64)
        ours.grad = g.clone()
        made.step()
        g = g + λ * w if decay == "coupled" else g
        w = w if decay == "coupled" else w - η * λ * w
        v = μ * v + g
        u = (g + μ * v if nesterov else v).reshape(shape[0], -1)
        step = math.sqrt(max(1, u.shape[0] / u.shape[1])) * by_singular_values(u)
        w = w - η * step.reshape(shape)

    torch.testing.assert_close(ours.detach(), w, rtol=1e-8, atol=1e-9)


def test_filters_of_one_shape_step_as_each_alone() -> None:
    chance = torch.Generator().manual_seed(2)
    start = [torch.randn(8, 4, 3, 3, generator=chance) for _ in range(3)]
    together, alone = ([nn.Parameter(one.clone()) for one in start] for _ in range(2))
    optimizers = [Muon(together), *(Muon([one]) for one in alone)]
    for one, other in zip(together, alone, strict=True):
        one.grad = torch.randn(one.shape, generator=chance)
        other.grad = one.grad.clone()
    for optimizer in optimizers:
        optimizer.step()

    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_a_matrix_agrees_with_torchs_muon() -> None:
    chance = torch.Generator().manual_seed(4)
    ours, theirs = (nn.Parameter(torch.ones(5, 9)) for _ in range(2))
    one = Muon([ours], 0.02, 0.95, weight_decay=0.1)
    # Its momentum is a mean, (1 − μ) times the sum, which the division by the norm takes out.
    two = torch.optim.Muon([theirs], 0.02, 0.1, 0.95)
    for _ in range(10):
        g = torch.randn(5, 9, generator=chance)
        ours.grad, theirs.grad = g, g.clone()
        one.step()
        two.step()

    torch.testing.assert_close(ours, theirs, rtol=0, atol=0.02 * 10 * 0.02)  # theirs in bfloat16


def test_biases_norms_first_layer_and_head_take_adams_steps() -> None:
    model = build("resnet-cifar-8", classes=4, channels=1)
    twin = build("resnet-cifar-8", classes=4, channels=1)
    twin.load_state_dict(model.state_dict())
    ours = OptimizerSettings(optimizer="muon", weight_decay=0.0).build_optimizer(model)
    reference = Adam(twin.parameters(), 0.003)
    chance = torch.Generator().manual_seed(5)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        p.grad = torch.randn(p.shape, generator=chance)
        q.grad = p.grad.clone()
    ours.step()
    reference.step()
    matrices = [name for name, p in model.named_parameters() if p.dim() > 1]
    alike = {
        name
        for (name, p), q in zip(model.named_parameters(), twin.parameters(), strict=True)
        if torch.allclose(p, q, rtol=1e-5, atol=1e-7)
    }

    assert alike == {name for name, _ in model.named_parameters()} - set(matrices[1:-1])


def test_groups_keep_their_own_learning_rate_and_names() -> None:
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(4)))
    groups = parameter_groups(
        model, weight_decay=0.1, lr=0.04, lr_multipliers={"1.*": 0.5}, named=True
    )
    made = Muon(Muon.arranged(model, groups))

    assert {
        tuple(group["param_names"]): (pytest.approx(group["lr"]), group["orthogonal"])
        for group in made.param_groups
    } == {
        ("1.weight",): (0.02, True),
        ("1.bias",): (0.02 * 0.15, False),
        ("2.weight",): (0.04, True),
        ("0.weight", "3.weight"): (0.04 * 0.15, False),
        ("0.bias", "2.bias", "3.bias"): (0.04 * 0.15, False),
    }


def test_a_saved_state_continues_bitwise() -> None:
    def steps(optimizer: Muon, pair: list[nn.Parameter], first: int) -> None:
        for step in range(first, first + 3):
            for p in pair:
                p.grad = torch.sin(p.detach() + step)
            optimizer.step()

    pair = [nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(4))]
    made = Muon(pair)
    steps(made, pair, 0)
    twins = [nn.Parameter(p.detach().clone()) for p in pair]
    other = Muon(twins)
    other.load_state_dict(made.state_dict())
    steps(made, pair, 3)
    steps(other, twins, 3)

    assert all(map(torch.equal, pair, twins))


def test_momentum_is_that_of_the_paper_unless_given() -> None:
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(3)))

    def momenta(**given: float) -> set[float]:
        made = OptimizerSettings.of({"optimizer": "muon", **given}).build_optimizer(model)
        return {group["momentum"] for group in made.param_groups}

    assert momenta() == {0.95}
    assert momenta(momentum=0.8) == {0.8}


def test_mistakes_are_one_line() -> None:
    with pytest.raises(SettingError, match=r"adam_share must be in \(0"):
        Muon([nn.Parameter(torch.ones(2, 2))], adam_share=0.0)
    with pytest.raises(SettingError, match="race it on images"):
        parse_candidates("adam,muon")
