"""Validation on another scale, prepared by class, and norms of sorted micro-batches."""

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.findings.finding import Findings
from ravine.findings.held_out_detectors import responds_apart
from ravine.monitor.response_distance import response_shift

_Pair = tuple[Tensor, Tensor]
_NEAR = 0.35  # centres that leave a loss to training, too


def _points(count: int, *, seed: int, apart: float = 0.7) -> _Pair:
    """Returns points (N, 20) around five centres, with their labels."""
    chance = torch.Generator().manual_seed(seed)
    centres = torch.randn(5, 20, generator=torch.Generator().manual_seed(9))
    y = torch.randint(5, (count,), generator=chance)
    return apart * centres[y] + torch.randn(count, 20, generator=chance), y


def _network(*, norm: bool) -> nn.Sequential:
    middle = [nn.BatchNorm1d(48)] if norm else []
    return nn.Sequential(nn.Linear(20, 48), *middle, nn.ReLU(), nn.Linear(48, 5))


def _run(
    train: _Pair,
    held: _Pair,
    *,
    told: Callable[[list[Tensor]], float] = lambda losses: float(torch.stack(losses).mean()),
    reduction: str = "mean",
    recorded: float = 1.0,
    size: int = 64,
    batches: int = 20,
    norm: bool = False,
    parts: Callable[[Tensor], Sequence[Tensor]] = lambda y: [torch.arange(len(y))],
) -> Findings:
    """Returns what a monitor finds in 120 steps with eight validations of five passes each."""
    torch.manual_seed(0)
    model = _network(norm=norm)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    with ravine.Monitor(model, optimizer) as monitor:
        for step in range(120):
            x, y = (t[64 * (step % batches) :][:64] for t in train)
            model.train()
            optimizer.zero_grad()
            total = torch.zeros(())
            for part in parts(y):
                loss = F.cross_entropy(model(x[part]), y[part]) * len(part) / len(y)
                loss.backward()
                total = total + loss.detach()
            optimizer.step()
            monitor.record(loss=recorded * total)
            if step % 15 == 14:
                model.eval()
                with torch.no_grad():
                    out = [model(x) for x in held[0].split(size)]
                    pairs = list(zip(out, held[1].split(size), strict=True))
                    losses = [F.cross_entropy(o, y, reduction=reduction) for o, y in pairs]
                right = float((torch.cat(out).argmax(1) == held[1]).double().mean())
                monitor.record(loss=told(losses), split="validation", accuracy=right)
        return monitor.findings


def _goes_on() -> Callable[[list[Tensor]], float]:
    sums = [0.0]

    def told(losses: list[Tensor]) -> float:
        sums[0] += float(torch.stack(losses).sum())
        return sums[0] / len(losses)

    return told


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("kind", ["sum", "goes on", "over all"])
def test_a_validation_loss_on_another_scale_is_named(kind: str, norm: bool) -> None:
    train, held = _points(1280, seed=0), _points(320, seed=1)
    given = {
        "sum": {"reduction": "sum"},
        "goes on": {"told": _goes_on()},
        "over all": {"told": lambda losses: float(torch.stack(losses).sum()) / 320},
    }[kind]

    assert _run(train, held, norm=norm, **given).codes[:1] == ("accuracy-disagrees",)  # type: ignore[arg-type]


@pytest.mark.parametrize("norm", [False, True])
def test_one_on_the_same_scale_is_not(norm: bool) -> None:
    assert not _run(_points(1280, seed=0), _points(320, seed=1), norm=norm).codes


def test_a_run_that_overfits_is_on_one_scale() -> None:
    few = _points(64, seed=0)
    again = few[0].repeat(20, 1), few[1].repeat(20)

    assert "accuracy-disagrees" not in _run(again, _points(320, seed=1)).codes


@pytest.mark.parametrize("turned", [False, True])
def test_responses_to_inputs_of_another_kind_are_far_apart(turned: bool) -> None:
    torch.manual_seed(0)
    x, y = _points(1200, seed=0)
    ours, theirs = x[:600], x[600:]
    model = _network(norm=True)
    if turned:  # the same mean and deviation of every column
        theirs = (2 * theirs.mean(0) - theirs).contiguous()
    few = torch.cat([theirs[y[600:] == 0], theirs[y[600:] == 1][:20]])  # another mixture
    found = response_shift(model, ((ours,), {}), ((few,), {}))

    assert found is not None
    assert responds_apart(found) == turned


@pytest.mark.parametrize("is_sorted", [False, True])
def test_norms_of_sorted_parts_of_a_batch_are_named(is_sorted: bool) -> None:
    def parts(y: Tensor) -> Sequence[Tensor]:
        order = y.argsort() if is_sorted else torch.arange(len(y))
        return order.split(8)

    found = _run(_points(1280, seed=0), _points(320, seed=1), norm=True, parts=parts)

    assert found.codes[:1] == (("norm-statistics-disagree",) if is_sorted else ())


def _thirds(y: Tensor) -> Sequence[Tensor]:
    return torch.arange(len(y)).chunk(3)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_validation_that_adds_up_a_few_passes_is_named(count: int) -> None:
    train, held = _points(1280, seed=0, apart=_NEAR), _points(128 * count, seed=1, apart=_NEAR)

    def added(losses: list[Tensor]) -> float:
        return float(torch.stack(losses).sum())

    assert _run(train, held, told=added, size=128).codes[:1] == ("accuracy-disagrees",)
    assert not _run(train, held, size=128).codes


@pytest.mark.parametrize("divided", [True, False])
def test_a_training_loss_that_is_divided_by_the_parts_of_a_step_is_named(divided: bool) -> None:
    train, held = _points(1280, seed=0, apart=_NEAR), _points(320, seed=1, apart=_NEAR)

    found = _run(train, held, parts=_thirds, recorded=1 / 3 if divided else 1.0).codes

    assert found == (("accuracy-disagrees",) if divided else ())


def test_a_training_loss_that_is_a_sum_over_its_batch_is_named() -> None:
    found = _run(
        _points(1280, seed=0, apart=_NEAR), _points(320, seed=1, apart=_NEAR), recorded=64.0
    )

    assert found.codes[:1] == ("accuracy-disagrees",)


@pytest.mark.parametrize("labels", ["right", "turned"])
def test_overfitting_and_other_labels_are_no_sum_of_passes(labels: str) -> None:
    few, held = _points(64, seed=0), _points(192, seed=1, apart=_NEAR)
    many = few[0].repeat(20, 1), few[1].repeat(20)
    if labels == "turned":
        many, held = (
            _points(1280, seed=0, apart=_NEAR),
            (held[0], (held[1] + (held[1] > 1).long()) % 5),
        )

    assert "accuracy-disagrees" not in _run(many, held).codes


@pytest.mark.parametrize("norm", [False, True])
def test_some_classes_that_are_numbered_otherwise_in_validation_are_named(norm: bool) -> None:
    train, (x, y) = _points(3840, seed=0, apart=_NEAR), _points(640, seed=1, apart=_NEAR)
    exchanged = torch.tensor([0, 2, 1, 4, 3])

    found = _run(train, (x, exchanged[y]), norm=norm, batches=60).codes

    assert found[:1] == ("validation-labels-unrelated",)
    assert not _run(train, (x, y), norm=norm, batches=60).codes


@pytest.mark.parametrize("copies", [4, 20])
def test_what_is_memorised_is_no_other_numbering(copies: int) -> None:
    few = _points(1280 // copies, seed=0, apart=_NEAR)
    many = few[0].repeat(copies, 1), few[1].repeat(copies)
    found = _run(many, _points(640, seed=1, apart=_NEAR), norm=True)

    assert "validation-labels-unrelated" not in found.codes
