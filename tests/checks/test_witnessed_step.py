"""What a step gives torch's losses, and other networks that it asks, seen in one more call."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine

_Batch = tuple[Tensor, Tensor]
_Form = Callable[[Tensor], Tensor]


def _batches() -> list[_Batch]:
    chance = torch.Generator().manual_seed(0)
    return [
        (torch.randn(32, 16, generator=chance), torch.randint(5, (32,), generator=chance))
        for _ in range(16)
    ]


def _teacher(*, norm: bool = False, dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(1)
    layers = [nn.Linear(16, 32), *([nn.BatchNorm1d(32)] if norm else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(32, 5))


def _found(
    teacher: nn.Module, form: _Form, *, follows: float | None = None, learns: bool = False
) -> tuple[str, ...]:
    """Returns what is found of a distillation beside a cross-entropy.

    Args:
        teacher: (N, 16) to logits (N, 5), in the mode that it is to run in.
        form: of the student's logits, for kl_div.
        follows: share of the teacher's weights that stays in each step; None where all does.
        learns: whether an optimizer of its own holds the teacher's weights.
    """
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    own = torch.optim.SGD(teacher.parameters(), lr=0.1)

    def step(batch: _Batch) -> None:
        x, y = batch
        optimizer.zero_grad()
        own.zero_grad()
        out = model(x)
        with torch.no_grad():
            soft = teacher(x).softmax(1)
        loss = 0.5 * F.cross_entropy(out, y) + F.kl_div(form(out), soft, reduction="batchmean")
        loss.backward()
        optimizer.step()
        if learns:
            F.cross_entropy(teacher(x), y).backward()
            own.step()
        if follows is not None:
            with torch.no_grad():
                for p in teacher.parameters():
                    p.mul_(follows)

    return ravine.check(model, F.cross_entropy, _batches(), optimizer, step=step, learn=False).codes


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_a_divergence_of_probabilities_inside_a_step_is_named(temperature: float) -> None:
    teacher = _teacher().eval()

    wrong = _found(teacher, lambda out: (out / temperature).softmax(1))
    right = _found(teacher, lambda out: (out / temperature).log_softmax(1))

    assert "loss-expects-log-probabilities" in wrong
    assert "loss-expects-log-probabilities" not in right


@pytest.mark.parametrize("temperature", [1.0, 2.0, 7.0])
def test_a_declared_divergence_of_probabilities_is_named_at_any_temperature(
    temperature: float,
) -> None:
    torch.manual_seed(0)
    model = nn.Linear(16, 5)
    shares = [(x, torch.randn(32, 5).softmax(1)) for x, _ in _batches()]

    def codes(form: Callable[..., Tensor]) -> tuple[str, ...]:
        def loss(out: Tensor, y: Tensor) -> Tensor:
            return F.kl_div(form(out / temperature, 1), y, reduction="batchmean")

        return ravine.check(model, loss, shares, learn=False).codes

    def by_hand(out: Tensor, y: Tensor) -> Tensor:
        return -(y * (out / temperature).softmax(1)).sum(1).mean()

    if temperature < 7:  # one of those that are tried
        named = ravine.check(model, by_hand, shares, learn=False).codes
        assert "loss-expects-log-probabilities" in named
    assert "loss-expects-log-probabilities" in codes(F.softmax)
    assert "loss-expects-log-probabilities" not in codes(F.log_softmax)


@pytest.mark.parametrize("kind", ["norm", "dropout"])
def test_a_teacher_in_training_mode_is_named(kind: str) -> None:
    teacher = _teacher(norm=kind == "norm", dropout=0.5 if kind == "dropout" else 0.0)

    assert "teacher-trained" in _found(teacher.train(), lambda out: out.log_softmax(1))
    assert teacher.training
    assert "teacher-trained" not in _found(teacher.eval(), lambda out: out.log_softmax(1))


@pytest.mark.parametrize("given", [{"follows": 0.99}, {"learns": True}])
def test_a_network_that_follows_or_learns_has_a_mode_of_its_own(given: dict[str, float]) -> None:
    found = _found(_teacher(dropout=0.5).train(), lambda out: out.log_softmax(1), **given)  # type: ignore[arg-type]

    assert "teacher-trained" not in found


def test_a_teacher_in_training_mode_without_noise_is_left_alone() -> None:
    assert "teacher-trained" not in _found(_teacher().train(), lambda out: out.log_softmax(1))
