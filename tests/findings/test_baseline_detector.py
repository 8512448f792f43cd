"""A network below a baseline: by more than chance, and with a length that is long enough."""

from typing import Any

import pytest

from ravine.findings.baseline_detector import find_below_baseline, learns_over
from ravine.tournament.proportions import paired_difference


def row(only_baseline: int, only_network: int, *, accuracy: float = 0.9) -> dict[str, Any]:
    p = paired_difference(only_baseline, only_network, 200).p
    return {
        "name": "nearest neighbour", "accuracy": accuracy, "count": 200,
        "only_baseline": only_baseline, "only_network": only_network, "p": p,
    }  # fmt: skip


@pytest.mark.parametrize("rows", [[], [row(5, 40)], [row(9, 5)], [row(30, 30)]])
def test_a_network_that_is_better_or_not_certainly_worse_is_let_be(
    rows: list[dict[str, Any]],
) -> None:
    assert not list(find_below_baseline(rows, steps=20, length={"epochs": 1.0}))


def test_the_best_baseline_is_what_counts() -> None:
    rows = [row(30, 5, accuracy=0.5), row(5, 40, accuracy=0.7)]

    assert not list(find_below_baseline(rows, steps=20, length={"epochs": 1.0}))


@pytest.mark.parametrize(
    ("steps", "length", "changes"),
    [
        (20, {"epochs": 2.0, "budget": None}, {"epochs": 30}),
        (200, {"epochs": 2.0}, {"epochs": 6}),
        (20, {"epochs": None, "budget": 20.0}, {"budget": 300}),
        (2000, {"budget": 25.0}, {"budget": 90}),
        (1, {"budget": 30.0, "enough": 150}, {"budget": 150}),  # 29 s of which were no steps
        (20, {}, {}),
    ],
)
def test_the_cure_is_a_run_of_enough_steps(
    steps: int, length: dict[str, float | None], changes: dict[str, float]
) -> None:
    (found,) = find_below_baseline([row(40, 10)], steps=steps, length=length)

    assert found.severity == "warning"
    assert found.seen.startswith("the network is 15.0 points below nearest neighbour")
    assert found.changes == changes
    assert ("too few" in found.cause) == (steps < 300)
    unit = {"budget": "s", "epochs": ""}
    assert all(f"--{name} {value}{unit[name]}" in found.cure for name, value in changes.items())


def test_a_run_that_does_not_learn_is_not_advised_to_go_on() -> None:
    length = {"epochs": 2.0}
    (found,) = find_below_baseline([row(40, 10)], steps=400, length=length, learns=False)

    assert found.changes == {}
    assert "longer" not in found.cure
    assert "ravine check" in found.cure


@pytest.mark.parametrize(
    ("losses", "learns"),
    [
        ([2.3, 2.31, 2.3, 2.29, 2.3, 2.3, 2.31, 2.3], False),
        ([2.3, 9.0, 7.0, 4.0, 3.0, 2.4, 2.3, 2.31], False),
        ([2.3, 2.2, 2.0, 1.9, 1.7, 1.5, 1.4, 1.2], True),
        ([2.3, float("nan"), float("nan"), float("nan"), float("nan"), *[float("nan")] * 3], False),
        ([2.3, 2.3], True),
    ],
)
def test_losses_that_stay_are_told_from_those_that_fall(losses: list[float], learns: bool) -> None:
    assert learns_over(losses) == learns


def test_losses_that_stay_say_nothing_of_classes_that_were_hardly_shown() -> None:
    losses = [4.6 + 0.01 * (n % 3) for n in range(100)]

    assert learns_over(losses, shown=4.0)
    assert not learns_over(losses, shown=160.0)


def test_few_steps_that_teach_nothing_are_too_few_first() -> None:
    length = {"epochs": 2.0, "budget": None}
    (found,) = find_below_baseline([row(40, 10)], steps=120, length=length, learns=False)
    assert "120 steps are too few to learn from" in found.cause
    assert "--epochs 6" in found.cure
    assert "ravine check" in found.cure
    assert found.changes == {"epochs": 6}
