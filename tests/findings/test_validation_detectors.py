"""What does not fit between losses, accuracies and answers of validation: by numbers, and live."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.findings.held_out_detectors import find_behind
from ravine.findings.history_detectors import find_over_time
from ravine.findings.loop_record import LoopRecord
from ravine.findings.run_trace import trace
from ravine.findings.validation_detectors import find_in_validation


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def codes(
    *, train: float = 0.6, loss: float = 0.6, accuracy: float = 0.8, **record: Any
) -> list[str]:
    rows: list[dict[str, Any]] = []
    for step in range(1, 81):
        rows.append({"kind": "step", "step": step, "loss": train, "lr": 0.1})
        if step % 10 == 0:
            rows.append({"kind": "epoch", "step": step, "loss": loss, "accuracy": accuracy,
                         "train_loss": train})  # fmt: skip
    seen = {"sure_in_training": 0.78, "sure_while_training": 0.78, "sure_in_validation": 0.78,
            "doubt_in_validation": 0.65}  # fmt: skip
    given = LoopRecord(validations=8, **{**seen, **record})
    return [f.code for f in find_in_validation(given, trace(rows, classes=10))]


def test_numbers_that_fit_are_let_be() -> None:
    assert codes() == []
    assert codes(accuracy=math.nan) == []
    assert codes(loss=2.25, accuracy=0.5, sure_in_validation=0.13, doubt_in_validation=2.28) == []
    assert codes(train=1.4, loss=0.8, sure_in_training=0.5, sure_while_training=0.4) == []


def test_an_accuracy_below_what_the_loss_allows_is_named() -> None:
    # Each wrong answer costs ln 2: at a loss of 0.35 half of them can be wrong, and no more.
    assert codes(loss=0.35, accuracy=0.3) == ["accuracy-disagrees"]
    assert codes(loss=0.35, accuracy=0.52, sure_in_validation=0.6) == []
    assert codes(loss=0.5, accuracy=0.1, elsewhere=8) == []


@pytest.mark.parametrize(("accuracy", "named"), [(0.4, True), (0.7, False), (0.99, True)])
def test_an_accuracy_far_from_what_calibrated_answers_have_is_named(
    accuracy: float, named: bool
) -> None:
    found = codes(loss=0.7, accuracy=accuracy, doubt_in_validation=0.7)

    assert found == (["accuracy-disagrees"] if named else [])


def test_training_labels_that_fit_less_than_those_of_validation_are_noisy() -> None:
    modest = {"sure_in_training": 0.3, "sure_while_training": 0.3, "sure_in_validation": 0.31,
              "doubt_in_validation": 2.0}  # fmt: skip

    assert codes(train=2.0, loss=1.4, accuracy=0.74, **modest) == ["label-noise"]
    assert codes(train=1.45, loss=1.4, accuracy=0.74, **modest) == []  # early in a training
    augmented = modest | {"sure_in_validation": 0.45}
    assert codes(train=2.0, loss=1.4, accuracy=0.74, **augmented) == []
    noisy_mode = modest | {"modes_agree": 0.5}  # dropout of whole examples
    assert codes(train=2.0, loss=1.4, accuracy=0.74, **noisy_mode) == []


@pytest.mark.parametrize(
    ("wrapping", "named"),
    [((0.8, 0.95, 5.0), True), ((0.8, 0.95, 2.0), False), ((0.9, 0.95, 9.0), False)],
)
def test_images_that_wrap_around_are_named_where_those_of_validation_do_not(
    wrapping: tuple[float, float, float], named: bool
) -> None:
    found = codes(wrapping=wrapping)

    assert found == (["validation-prepared-differently"] if named else [])


@pytest.mark.parametrize(
    ("fallen", "named"),
    [
        (lambda n: 0.01 * n**3, True),
        (lambda n: 20 * math.sqrt(n), False),
        (lambda n: 1e5 * math.sqrt(n), True),  # a likelihood whose determinant is turned round
    ],
    ids=["ever faster", "far", "beyond all measure"],
)
def test_a_loss_that_falls_ever_faster_or_beyond_measure_runs_off(
    fallen: Callable[[int], float], named: bool
) -> None:
    losses = [2.0 - fallen(n) for n in range(60)]
    rows = [{"kind": "step", "step": n + 1, "loss": v, "lr": 0.1} for n, v in enumerate(losses)]
    found = {f.code for f in find_over_time(trace(rows))}

    assert ("loss-runs-off" in found) == named


def network(inputs: int = 24) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, 1))


def watched(train: tuple[Tensor, Tensor], held: tuple[Tensor, Tensor]) -> tuple[str, ...]:
    model = network(train[0].shape[1])
    adam = torch.optim.Adam(model.parameters(), 1e-3)
    with ravine.Monitor(model, adam) as monitor:
        for n, part in enumerate(3 * torch.randperm(len(train[0])).split(32)):
            adam.zero_grad()
            loss = F.mse_loss(model(train[0][part]), train[1][part])
            loss.backward()
            adam.step()
            monitor.record(loss=loss)
            if n % 10 == 9:
                with torch.no_grad():
                    value = F.mse_loss(model(held[0]), held[1])
                monitor.record(loss=value, split="validation")
        return monitor.findings.codes


def test_windows_that_are_split_at_random_are_trained_on() -> None:
    series = torch.sin(torch.arange(1024) / 5) + 0.1 * torch.randn(1024)
    x, y = series.unfold(0, 24, 1)[:-1], series[24:, None]
    order = torch.randperm(len(x))
    early, late = torch.arange(0, 800), torch.arange(830, len(x))

    assert "validation-in-training" in watched(
        (x[order[200:]], y[order[200:]]), (x[order[:200]], y[order[:200]])
    )
    assert "validation-in-training" not in watched((x[early], y[early]), (x[late], y[late]))


def test_examples_that_are_validated_and_trained_on_are_named() -> None:
    x, y = torch.randn(1000, 12), torch.randn(1000, 1)

    assert "validation-in-training" in watched((x, y), (x[:100], y[:100]))
    assert "validation-in-training" not in watched((x[100:], y[100:]), (x[:100], y[:100]))


@pytest.mark.parametrize(("train", "named"), [(0.9, True), (0.05, False)])
def test_answers_are_asked_for_labels_only_where_the_loss_may_be_one_of_labels(
    train: float, named: bool
) -> None:
    rows: list[dict[str, Any]] = []
    for step in range(1, 141):
        loss = train + 1.8 * train * math.exp(-step / 10)
        rows.append({"kind": "step", "step": step, "loss": loss})
        if step % 14 == 0:
            rows.append({"kind": "epoch", "step": step, "loss": 4 * train, "train_loss": loss})
    sure = {"sure_in_training": 0.6, "sure_in_validation": 0.6, "modes_agree": 1.0}
    found = find_behind(LoopRecord(validations=10, calls=140, **sure), trace(rows))

    assert ("validation-labels-unrelated" in [one.code for one in found]) == named
