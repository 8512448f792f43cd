"""Accuracies that are a mean over batches of unequal size, beside those over all examples."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from ravine.findings.batch_means import find_batch_means
from ravine.findings.loop_record import LoopRecord
from ravine.findings.run_trace import trace

_RIGHT = ((40, 51, 47, 2), (50, 55, 49, 1), (52, 60, 57, 2), (55, 58, 60, 3))


def of_batches(right: Sequence[int], sizes: Sequence[int]) -> float:
    found = [np.float32(r / n) for r, n in zip(right, sizes, strict=True)]
    return float(sum(map(float, found)) / len(found))


def of_all(right: Sequence[int], sizes: Sequence[int]) -> float:
    return sum(right) / sum(sizes)


def rounded(right: Sequence[int], sizes: Sequence[int]) -> float:
    return round(of_all(right, sizes), 3)


@pytest.mark.parametrize(
    ("accuracy", "last", "named"),
    [
        (of_batches, 3, True),
        (of_batches, 52, False),
        (of_all, 3, False),
        (rounded, 3, False),
    ],
)
def test_a_small_last_batch_that_counts_as_much_as_the_others_is_named(
    accuracy: Callable[[Sequence[int], Sequence[int]], float], last: int, named: bool
) -> None:
    sizes = (64, 64, 64, last)
    rows = [
        {"kind": "epoch", "step": 10 * n, "loss": 0.5, "accuracy": accuracy(right, sizes)}
        for n, right in enumerate(_RIGHT)
    ]
    record = LoopRecord(validations=len(rows), pass_sizes=sizes)

    found = list(find_batch_means(record, trace(rows, classes=10)))

    assert [one.code for one in found] == (["accuracy-disagrees"] if named else [])
    if named:
        assert found[0].evidence["whole"] == pytest.approx(sum(_RIGHT[-1]) / sum(sizes))
