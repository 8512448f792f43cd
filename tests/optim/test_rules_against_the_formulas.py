"""The oracles below are written from the formulas alone and import nothing of the package."""

import math
from collections.abc import Callable

import pytest
import torch

from ravine.optim import AdaGrad, Adam, Momentum, Nadam, RMSProp

LR, GAMMA, ALPHA, EPS, DECAY, STEPS = 0.037, 0.83, 0.962, 3e-5, 0.013, 500
Oracle = Callable[[list[float], list[list[float]], bool], list[float]]


def _loop(update: Callable[..., float]) -> Oracle:
    """Walks over components and steps in plain float64; decay is coupled or decoupled."""

    def run(start: list[float], gradients: list[list[float]], coupled: bool) -> list[float]:
        ends = []
        for j, w in enumerate(start):
            state: dict[str, float] = {}
            for k, row in enumerate(gradients, start=1):
                g = row[j] + DECAY * w if coupled else row[j]
                w = (w if coupled else w - LR * DECAY * w) - LR * update(state, g, k)
            ends.append(w)
        return ends

    return run


def _momentum(s: dict[str, float], g: float, k: int) -> float:
    s["v"] = GAMMA * s.get("v", 0) + (1 - GAMMA) * g
    return s["v"]


def _nesterov(s: dict[str, float], g: float, k: int) -> float:
    s["v"] = GAMMA * s.get("v", 0) + (1 - GAMMA) * g
    return GAMMA * s["v"] + (1 - GAMMA) * g


def _adagrad(s: dict[str, float], g: float, k: int) -> float:
    s["G"] = s.get("G", 0) + g * g
    return g / math.sqrt(s["G"] + EPS)


def _rmsprop(s: dict[str, float], g: float, k: int) -> float:
    s["G"] = ALPHA * s.get("G", 0) + (1 - ALPHA) * g * g
    return g / math.sqrt(s["G"] + EPS)


def _adam(s: dict[str, float], g: float, k: int) -> float:
    s["v"] = GAMMA * s.get("v", 0) + (1 - GAMMA) * g
    s["G"] = ALPHA * s.get("G", 0) + (1 - ALPHA) * g * g
    return s["v"] / (1 - GAMMA**k) / (math.sqrt(s["G"] / (1 - ALPHA**k)) + EPS)


def _nadam(form: str) -> Callable[..., float]:
    def update(s: dict[str, float], g: float, k: int) -> float:
        _adam(s, g, k)
        if form in ("lecture", "dozat-constant"):
            ahead = k if form == "lecture" else k + 1
            a, b = GAMMA / (1 - GAMMA**ahead), (1 - GAMMA) / (1 - GAMMA**k)
        else:
            psi = {"dozat": 0.004, "keras": 1.0}[form]
            now, after = (GAMMA * (1 - 0.5 * 0.96 ** (i * psi)) for i in (k, k + 1))
            s["p"] = s.get("p", 1) * now
            a, b = after / (1 - s["p"] * after), (1 - now) / (1 - s["p"])
        return (a * s["v"] + b * g) / (math.sqrt(s["G"] / (1 - ALPHA**k)) + EPS)

    return update


_BETAS = {"betas": (GAMMA, ALPHA), "eps": EPS}
RULES = {
    "momentum": (_momentum, lambda p, **o: Momentum(p, LR, GAMMA, **o)),
    "nesterov": (_nesterov, lambda p, **o: Momentum(p, LR, GAMMA, nesterov=True, **o)),
    "adagrad": (_adagrad, lambda p, **o: AdaGrad(p, LR, eps=EPS, **o)),
    "rmsprop": (_rmsprop, lambda p, **o: RMSProp(p, LR, ALPHA, eps=EPS, **o)),
    "adam": (_adam, lambda p, **o: Adam(p, LR, **_BETAS, **o)),
    **{
        f"nadam-{form}": (
            _nadam(form),
            lambda p, form=form, **o: Nadam(p, LR, form=form, **_BETAS, **o),
        )
        for form in ("lecture", "dozat-constant", "dozat", "keras")
    },
}


# float32: 500 roundings of w and of the state, each at most 2⁻²⁴ of the largest on the way.
_BOUNDS = {torch.float64: (1e-12, 1e-13), torch.float32: (1e-4, 1e-5)}


@pytest.mark.parametrize("dtype", sorted(_BOUNDS, key=str))
@pytest.mark.parametrize("decay", ["coupled", "decoupled"])
@pytest.mark.parametrize("name", sorted(RULES))
def test_500_steps_agree_with_a_float64_loop_of_the_formula(
    name: str, decay: str, dtype: torch.dtype
) -> None:
    update, make = RULES[name]
    chance = torch.Generator().manual_seed(1)
    start = torch.randn(5, generator=chance, dtype=dtype)
    gradients = torch.randn(STEPS, 5, generator=chance, dtype=dtype)
    gradients *= torch.tensor([1e-6, 1e-2, 1.0, 10.0, 1e4])
    w = torch.nn.Parameter(start.clone())
    optimizer = make([w], weight_decay=DECAY, decay=decay)
    for row in gradients:
        w.grad = row.clone()
        optimizer.step()
    expected = _loop(update)(start.tolist(), gradients.tolist(), decay == "coupled")
    rtol, atol = _BOUNDS[dtype]
    torch.testing.assert_close(
        w.detach().double(), torch.tensor(expected, dtype=torch.float64), rtol=rtol, atol=atol
    )


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.02])
def test_momentum_is_torch_sgd_with_the_rate_times_one_minus_gamma(
    nesterov: bool, decay: float
) -> None:
    ours, theirs = (torch.nn.Parameter(torch.arange(4.0).double()) for _ in range(2))
    one = Momentum([ours], 0.5, 0.9, nesterov=nesterov, weight_decay=decay, decay="coupled")
    two = torch.optim.SGD([theirs], 0.05, 0.9, nesterov=nesterov, weight_decay=decay)
    for gradient in torch.randn(200, 4, generator=torch.Generator().manual_seed(0)).double():
        for w, optimizer in ((ours, one), (theirs, two)):
            w.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "reference"),
    [
        (lambda p: Adam(p, 0.01), lambda p: torch.optim.Adam(p, 0.01)),
        (
            lambda p: Adam(p, 0.01, weight_decay=0.1),
            lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
        ),
        (lambda p: Nadam(p, 0.01, form="dozat"), lambda p: torch.optim.NAdam(p, 0.01)),
        (
            lambda p: Nadam(p, 0.01, form="dozat-constant"),
            # momentum_decay 1e9 sends 0.96^(kψ) to 0: the momentum is constant.
            lambda p: torch.optim.NAdam(p, 0.01, momentum_decay=1e9),
        ),
    ],
    ids=["adam", "adamw", "nadam-dozat", "nadam-dozat-constant"],
)
def test_agrees_with_torch_where_torch_has_the_formula(make, reference) -> None:  # type: ignore[no-untyped-def]
    ours, theirs = (torch.nn.Parameter(torch.arange(1.0, 5.0).double()) for _ in range(2))
    one, two = make([ours]), reference([theirs])
    for step in range(300):
        for w, optimizer in ((ours, one), (theirs, two)):
            w.grad = torch.sin(w.detach() + step)
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("form", "first"), [("lecture", 1.90), ("dozat-constant", 1.4737)])
def test_the_first_step_of_nadam_is_that_of_its_form(form: str, first: float) -> None:
    w = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    w.grad = torch.ones(1, dtype=torch.float64)
    Nadam([w], 1.0, form=form).step()  # type: ignore[arg-type]
    assert -w.item() == pytest.approx(first, rel=1e-3)


def test_repr_says_the_formula_and_what_it_is_in_torch() -> None:
    text = repr(Momentum([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9))
    assert "v ← γv + (1−γ)g" in text
    assert "= torch SGD lr 0.1, momentum 0.9" in text


@pytest.mark.parametrize("form", ["lecture", "dozat-constant", "dozat", "keras"])
def test_nadam_without_momentum_is_adam_without_momentum(form: str) -> None:
    ours, theirs = (torch.nn.Parameter(torch.arange(1.0, 6.0)) for _ in range(2))
    one = Nadam([ours], 0.01, (0.0, 0.9), form=form)  # type: ignore[arg-type]
    two = Adam([theirs], 0.01, (0.0, 0.9))
    for step in range(100):
        for w, optimizer in ((ours, one), (theirs, two)):
            w.grad = torch.cos(w.detach() * step)
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("name", ["adagrad", "rmsprop", "adam"])
def test_epsilon_stands_where_it_is_said_to(name: str, inside: bool) -> None:
    """One step from zero, by hand, with an ε that is seen."""
    ε, g = 0.25, 2.0
    make = {"adagrad": AdaGrad, "rmsprop": RMSProp, "adam": Adam}[name]
    w = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    w.grad = torch.full((1,), g, dtype=torch.float64)
    optimizer = make([w], lr=1.0, eps=ε, eps_in_root=inside)
    optimizer.step()
    G = {"adagrad": g * g, "rmsprop": 0.01 * g * g, "adam": g * g}[name]
    root = math.sqrt(G + ε) if inside else math.sqrt(G) + ε
    assert -w.item() == pytest.approx(g / root, rel=1e-9)
    sign = "√(" if inside else "(√"
    assert sign in repr(optimizer)
