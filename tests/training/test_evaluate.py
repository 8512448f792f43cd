from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ravine.training.evaluation import (
    calibration,
    class_probabilities,
    confusion,
    full_evaluation,
    summarise,
    worst_mistakes,
)


def _random(seed: int, count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    logits = chance.normal(size=(count, classes)) * 2
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return logs.astype(np.float32), chance.integers(0, classes, count)


@given(st.integers(0, 99), st.integers(1, 60), st.integers(2, 7))
def test_the_numbers_agree_with_counting_one_by_one(seed: int, count: int, classes: int) -> None:
    logs, labels = _random(seed, count, classes)
    hits, loss = 0, 0.0
    table = [[0] * classes for _ in range(classes)]
    for row, label in zip(logs.astype(np.float64), labels, strict=True):
        guess = max(range(classes), key=lambda k: row[k])
        hits += guess == label
        loss -= row[label]
        table[label][guess] += 1
    found = summarise(logs, labels)
    assert found.accuracy == hits / count
    assert found.loss == pytest.approx(loss / count, rel=1e-6)
    assert confusion(logs.argmax(1), labels, classes).tolist() == table


@given(st.integers(0, 99), st.integers(1, 200))
def test_calibration_agrees_with_guo_equation_3(seed: int, count: int) -> None:
    logs, labels = _random(seed, count, 4)
    probabilities = np.exp(logs)
    error = 0.0
    for k in range(15):
        low, high = k / 15, (k + 1) / 15
        inside = [
            (p.max(), p.argmax() == y)
            for p, y in zip(probabilities.astype(np.float64), labels, strict=True)
            if low < p.max() <= high
        ]
        if inside:
            mean = np.mean(inside, axis=0)
            error += len(inside) / count * abs(mean[0] - mean[1])
    found = calibration(probabilities, labels)
    assert found is not None
    assert found["ece"] == pytest.approx(error, abs=1e-6)
    assert sum(found["count"]) == count


def test_a_network_that_answers_nan_has_no_calibration() -> None:
    assert calibration(np.full((3, 2), np.nan, np.float32), np.zeros(3, int)) is None


def test_the_worst_mistakes_are_wrong_and_surest_first() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.99, 0.01]], np.float32)
    labels = np.array([1, 1, 0, 0])
    assert worst_mistakes(np.log(probabilities), labels, 5).tolist() == [0, 2]


def test_a_network_that_answers_nan_has_no_worst_mistakes() -> None:
    logs = np.log(np.array([[np.nan, np.nan], [0.2, 0.8], [np.nan, 0.3]], np.float32))

    assert worst_mistakes(logs, np.array([1, 0, 0]), 5).tolist() == [1]


def test_test_time_flip_is_the_mean_of_both_and_leaves_the_mode_alone() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 3)).train()
    images = torch.randn(5, 3, 2, 2)
    plain, both = class_probabilities(
        model, [SimpleNamespace(images=images)], precision=torch.float32, mirrored=True
    )
    assert model.training
    model.eval()
    with torch.no_grad():
        one, two = model(images).softmax(1), model(images.flip(3)).softmax(1)
    np.testing.assert_allclose(np.exp(plain), one.numpy(), rtol=1e-5)
    assert both is not None
    np.testing.assert_allclose(np.exp(both), ((one + two) / 2).numpy(), rtol=1e-5)


def test_the_mirrored_result_is_reported_apart() -> None:
    logs, labels = _random(1, 50, 3)
    found = full_evaluation(logs, logs[:, ::-1], labels, split="test", classes="abc")
    assert found["accuracy"] == summarise(logs, labels).accuracy
    assert found["tta"]["accuracy"] == summarise(logs[:, ::-1], labels).accuracy
    assert full_evaluation(logs, None, labels, split="test", classes="abc")["tta"] is None
