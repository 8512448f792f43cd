"""What a race says is as certain as it says: no false winners, and true ones found."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ravine.tournament.pooled_spread import pooled_spread
from ravine.tournament.statistics import compare, holm, mean_interval, p_value, standings, verdict

RACES = 4000
IMAGES = 1000


def share_of_false_winners(candidates: int, seeds: int) -> float:
    """Races one method against itself, over and over; the share in which somebody is beaten.

    Each seed has a difficulty of its own, which all candidates share, and each run its own chance;
    the result is the share of right answers on so many images.
    """
    chance = np.random.default_rng(0)
    false = 0
    for _ in range(RACES):
        of_seed = 0.85 + 0.02 * chance.standard_normal(seeds)
        right = of_seed + 0.01 * chance.standard_normal((candidates, seeds))
        counts = chance.binomial(IMAGES, right.clip(0, 1)) / IMAGES
        results = {f"same-{k}": dict(enumerate(map(float, row))) for k, row in enumerate(counts)}
        false += any(not c.tied for c in compare(results, resolution=1 / IMAGES))
    return false / RACES


@pytest.mark.parametrize(("candidates", "seeds"), [(2, 2), (2, 3), (2, 5), (4, 3)])
def test_a_method_raced_against_itself_is_a_tie(candidates: int, seeds: int) -> None:
    own_error = math.sqrt(0.05 * 0.95 / RACES)
    assert share_of_false_winners(candidates, seeds) < 0.05 + 2 * own_error


def test_a_better_method_wins() -> None:
    chance = np.random.default_rng(0)
    found = 0
    for _ in range(200):
        noise = 0.005 * chance.standard_normal((2, 3))
        better = {seed: 0.90 + float(x) for seed, x in enumerate(noise[0])}
        worse = {seed: 0.85 + float(x) for seed, x in enumerate(noise[1])}
        table, comparisons = standings({"worse": worse, "better": better})
        assert table[0].name == "better"
        said = verdict(table, comparisons)
        found += said.startswith("better wins")
    assert found > 150


def test_what_shifts_all_candidates_of_a_seed_alike_changes_no_comparison() -> None:
    one = {0: 0.80, 1: 0.82, 2: 0.87}
    other = {0: 0.79, 1: 0.80, 2: 0.86}
    shift = {0: 0.1, 1: -0.3, 2: 0.05}
    (before,) = compare({"one": one, "other": other})
    moved = [{seed: v + shift[seed] for seed, v in row.items()} for row in (one, other)]
    (after,) = compare(dict(zip(("one", "other"), moved, strict=True)))
    assert after.p == pytest.approx(before.p)
    assert after.interval == pytest.approx(before.interval)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=8))
def test_one_pair_is_students_t_test(values: list[float]) -> None:
    if np.std(values) < 1e-3 or abs(np.mean(values)) < 1e-6:
        return
    expected = stats.ttest_1samp(values, 0.0)
    assert p_value(values) == pytest.approx(expected.pvalue, rel=1e-6)
    interval = expected.confidence_interval(0.95)
    assert mean_interval(values)[1:] == pytest.approx((interval.low, interval.high), rel=1e-6)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
def test_holm_rejects_one_after_the_other(p_values: list[float]) -> None:
    """The step-down procedure as Holm words it, at one level, against the corrected values."""
    level = 0.05
    rejected = set()
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for place, index in enumerate(order):
        if p_values[index] * (len(p_values) - place) > level:
            break
        rejected.add(index)
    assert {i for i, p in enumerate(holm(p_values)) if p <= level} == rejected


def test_equal_differences_on_two_seeds_are_no_certainty() -> None:
    one, other = {0: 0.801, 1: 0.811}, {0: 0.800, 1: 0.810}
    (found,) = compare({"one": one, "other": other}, resolution=1 / IMAGES)
    assert found.tied


def test_the_verdict_of_few_runs_is_modest() -> None:
    assert "nothing can be said" in verdict(*standings({"a": {}, "b": {}}))
    assert "only one" in verdict(*standings({"a": {1: 0.5}, "b": {}}))
    assert "one seed" in verdict(*standings({"a": {1: 0.5}, "b": {1: 0.9}}))
    assert verdict(*standings({"a": {1: 0.5, 2: 0.6}, "b": {1: 0.6, 2: 0.5}})).startswith("Tied")


def test_a_run_that_broke_is_the_worst_result_and_not_a_missing_one() -> None:
    steady, breaks = {1: 0.60, 2: 0.61, 3: 0.60}, {1: 0.70}
    table, comparisons = standings({"breaks": breaks, "steady": steady}, resolution=1 / IMAGES)
    said = verdict(table, comparisons)

    assert [one.name for one in table] == ["steady", "breaks"]
    assert table[1].broken == (2, 3)
    assert "breaks wins" not in said
    assert "Runs that broke count as the worst result: breaks (2)." in said


def test_a_candidate_at_chance_that_broke_once_loses_to_one_that_learnt() -> None:
    wild = {1: 0.10, 2: 0.10}
    others = {f"o{k}": {1: 0.46 + k / 500, 2: 0.45, 3: 0.46} for k in range(3)}
    _, comparisons = standings({"wild": wild, **others}, resolution=1 / IMAGES)

    lost = [c for c in comparisons if c.second == "wild"]
    assert len(lost) == 3
    assert not any(c.tied for c in lost)


def test_a_candidate_that_never_ran_cannot_win_and_is_named() -> None:
    ran = {"a": {1: 0.9, 2: 0.9, 3: 0.91}, "b": {1: 0.1, 2: 0.11, 3: 0.1}, "c": {}}
    said = verdict(*standings(ran, resolution=1 / IMAGES))

    assert said.startswith("a wins")
    assert "Finished no run and cannot win: c." in said


def test_a_candidate_that_lost_every_common_seed_does_not_win() -> None:
    ahead_by_a_missing_run = {"a": {1: 0.70, 2: 0.71, 3: 0.95}, "b": {1: 0.75, 2: 0.76}}

    assert " wins" not in verdict(*standings(ahead_by_a_missing_run, resolution=1 / IMAGES))


def test_the_spread_is_that_of_a_two_way_layout_over_all_candidates() -> None:
    chance = np.random.default_rng(4)
    values = chance.normal(size=(4, 3))
    residual = values - values.mean(0) - values.mean(1)[:, None] + values.mean()
    found = pooled_spread(
        {str(k): dict(enumerate(map(float, row))) for k, row in enumerate(values)}
    )

    assert found.freedom == 6
    assert found.of_run == pytest.approx(math.sqrt((residual**2).sum() / 6))


@pytest.mark.parametrize("breaks", [0.1, 0.3])
def test_equal_candidates_whose_runs_break_have_no_false_winner(breaks: float) -> None:
    chance = np.random.default_rng(1)
    wins = 0
    for _ in range(400):
        accuracies = 0.85 + 0.01 * chance.standard_normal((4, 3))
        ended = chance.random((4, 3)) >= breaks
        results = {
            f"same-{k}": {s: float(accuracies[k, s]) for s in range(3) if ended[k, s]}
            for k in range(4)
        }
        wins += " wins" in verdict(*standings(results, resolution=1 / IMAGES))
    assert wins / 400 < 0.05


def test_the_verdict_says_which_difference_cannot_be_seen() -> None:
    close = {"a": {1: 0.80, 2: 0.82, 3: 0.81}, "b": {1: 0.81, 2: 0.80, 3: 0.82}}
    table, comparisons = standings(close, resolution=1 / IMAGES)
    said = verdict(table, comparisons)

    assert f"With 3 seeds a difference under {100 * comparisons[0].visible:.2g} points" in said
    assert comparisons[0].visible > abs(comparisons[0].difference)


def test_equal_means_have_no_best() -> None:
    """Equal to the hundredth of a percent, as they are printed."""
    even = {0: 1.0, 1: 0.99, 2: 1.0}
    two = {"adam": even, "momentum": {0: 0.99, 1: 1.0, 2: 1.0}}
    three = {**two, "muon": {0: 0.98, 1: 0.99, 2: 0.99}}

    said = {n: verdict(*standings(found)) for n, found in (("two", two), ("three", three))}
    assert "adam, momentum. Both have the same mean. With" in said["two"]
    assert "adam and momentum have the same mean, the best" in said["three"]
    one_seed = {name: {0: 1.0} for name in two}
    assert verdict(*standings(one_seed)).startswith("All are equal on one seed;")


def test_a_difference_of_more_than_all_points_is_none_that_can_be_seen() -> None:
    wild = {"adam": {0: 0.1, 1: 1.0}, "momentum": {0: 1.0, 1: 0.2}}

    said = verdict(*standings(wild))
    assert "With 2 seeds no difference can be seen, however large" in said
    assert "points" not in said


def test_an_interval_of_shares_stays_between_nothing_and_all() -> None:
    table, _ = standings({"a": {1: 0.30, 2: 0.72}, "b": {1: 0.95, 2: 0.99}})

    for one in table:
        assert 0 <= one.interval[0] <= one.mean <= one.interval[1] <= 1
    losses, _ = standings({"a": {1: -3.0, 2: -1.0}})
    assert losses[0].interval[0] < -3
