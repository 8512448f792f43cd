"""The baselines, against the same methods spelled out image by image."""

from typing import Any

import numpy as np
import pytest
import torch

from ravine.data.dataset import Dataset, Preprocessing
from ravine.training.baselines import measure_baselines, nearest_neighbour, ridge_regression

PENALTIES = [10.0**power for power in range(-4, 4)]


def blobs(count: int, features: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns (N, F) values of three overlapping classes, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    centres = np.random.default_rng(9).normal(size=(3, features))
    return centres[labels] + 2 * rng.normal(size=(count, features)), labels


def fitted(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the weights and the intercept of ridge regression, from its normal equations."""
    centred = x - x.mean(0)
    gram = centred.T @ centred + penalty * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (y - y.mean(0)))
    return weights, y.mean(0) - x.mean(0) @ weights


def refitted(x: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Returns the answers of ridge regression, its λ found by leaving out each image in turn."""
    y = np.eye(3)[labels]
    squares = np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2
    scale = squares[squares > 1e-9 * squares[0]].mean()
    errors = []
    for penalty in PENALTIES:
        error = 0.0
        for left_out in range(len(x)):
            others = np.arange(len(x)) != left_out
            # The mean that λ is added around is that of the other images.
            weights, intercept = fitted(x[others], y[others], penalty * scale)
            error += float(((y[left_out] - x[left_out] @ weights - intercept) ** 2).sum())
        errors.append(error)
    weights, intercept = fitted(x, y, PENALTIES[int(np.argmin(errors))] * scale)
    return (asked @ weights + intercept).argmax(1)


@pytest.mark.parametrize(("count", "features"), [(40, 6), (24, 60)])
def test_ridge_regression_is_that_of_leaving_out_one_image_after_the_other(
    count: int, features: int
) -> None:
    x, labels = blobs(count, features)
    asked, _ = blobs(200, features, seed=1)

    found = ridge_regression(*(torch.from_numpy(one) for one in (x, labels, asked)))

    assert np.array_equal(found.numpy(), refitted(x, labels, asked))


def test_the_nearest_neighbour_is_the_nearest() -> None:
    x, labels = blobs(30, 5)
    asked, _ = blobs(50, 5, seed=1)

    found = nearest_neighbour(*(torch.from_numpy(one) for one in (x, labels, asked)))

    wanted = [labels[((x - one) ** 2).sum(1).argmin()] for one in asked]
    assert found.tolist() == wanted


def dataset(count: int, side: int, **splits: Any) -> Dataset:
    """Returns grey images: class 0 is dark above, class 1 dark below."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    images = rng.integers(120, 256, (count, side, side, 1)).astype(np.uint8)
    half = side // 2
    images[labels == 0, :half] //= 2
    images[labels == 1, half:] //= 2
    return Dataset(
        images=images,
        labels=labels,
        classes=("above", "below"),
        splits=splits,
        names=[str(n) for n in range(count)],
        preprocessing=Preprocessing(image_size=side, channels=1, mean=(0.5,), std=(0.2,)),
        audit={},
        fingerprint="",
    )


@pytest.mark.parametrize("side", [8, 40])
def test_images_of_any_size_are_answered_for_in_the_order_of_their_split(side: int) -> None:
    held_out = np.array([3, 4, 8, 10])
    data = dataset(30, side, train=np.setdiff1d(np.arange(30), held_out), validation=held_out)

    found = measure_baselines(data, split="validation", seed=0)

    assert found.rows.tolist() == [0, 1, 2, 3]
    assert found.trained_on == 26
    for answers in found.answers.values():
        assert answers.tolist() == [1, 0, 0, 0]


def test_of_many_images_the_same_ones_are_drawn_each_time() -> None:
    data = dataset(6000, 8, train=np.arange(3000), test=np.arange(3000, 6000))

    found, again = (measure_baselines(data, split="test", seed=s) for s in (1, 1))
    other = measure_baselines(data, split="test", seed=2)

    assert (len(found.rows), found.trained_on) == (1000, 2000)
    assert np.array_equal(found.rows, again.rows)
    assert not np.array_equal(found.rows, other.rows)
    truth = data.labels[data.splits["test"]][found.rows]
    assert all((answers == truth).mean() > 0.95 for answers in found.answers.values())


def test_one_class_alone_and_images_that_are_all_alike_are_answered_for() -> None:
    data = dataset(12, 8, train=np.arange(0, 8, 2), validation=np.array([8, 10]))
    data.images[:] = 7  # type: ignore[index]

    found = measure_baselines(data, split="validation", seed=0)

    assert all(answers.tolist() == [0, 0] for answers in found.answers.values())
