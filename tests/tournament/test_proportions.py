"""Differences of accuracies against references: scipy's test, and coverage by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from ravine.tournament.proportions import paired_difference, unpaired_difference


@pytest.mark.parametrize(("first", "second"), [(30, 12), (0, 9), (5, 5), (0, 0), (400, 371)])
def test_the_p_is_that_of_an_exact_binomial_test(first: int, second: int) -> None:
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0

    assert paired_difference(first, second, 5000).p == pytest.approx(expected, rel=1e-9)


def test_to_swap_the_networks_swaps_the_sign() -> None:
    one, other = paired_difference(30, 12, 1000), paired_difference(12, 30, 1000)

    assert one.value == -other.value == 0.018
    assert one.interval == pytest.approx(tuple(-bound for bound in reversed(other.interval)))
    assert one.is_clear


@pytest.mark.parametrize("counts", [(0, 0), (3, 1)])
def test_few_differences_decide_nothing(counts: tuple[int, int]) -> None:
    assert not paired_difference(*counts, 200).is_clear


def test_the_paired_interval_holds_the_true_difference_in_95_of_100_samples() -> None:
    chance = np.random.default_rng(0)
    shares = (0.05, 0.03, 0.92)  # only the first, only the second, both alike
    held = 0
    for first, second, _ in chance.multinomial(500, shares, size=2000):
        low, high = paired_difference(int(first), int(second), 500).interval
        held += low <= 0.02 <= high

    assert 0.935 <= held / 2000 <= 0.975


def test_the_paired_interval_is_narrower_where_the_networks_agree() -> None:
    paired = paired_difference(15, 10, 1000)
    apart = unpaired_difference((905, 900), (1000, 1000))

    widths = [math.dist([one.interval[0]], [one.interval[1]]) for one in (paired, apart)]
    assert widths[0] < widths[1] / 2
