"""What a proof compares, and when it holds."""

import math

import numpy as np
import pytest

from ravine.core.errors import RunError
from ravine.exports.decisions import DecisionRule
from ravine.exports.latency import latency, median_with_interval
from ravine.exports.proof import Proof, ProofBatch, compare, paired_loss
from ravine.exports.runner import Runner

RULE = DecisionRule()
ANSWERS = np.array([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.1, 0.1, 0.8]])


def compared(found: np.ndarray, labels: np.ndarray | None = None) -> dict[str, object]:
    def run(images: np.ndarray) -> np.ndarray:
        return found[images[:, 0].astype(int)]

    batch = ProofBatch(answers=ANSWERS, images=np.arange(3.0)[:, None], labels=labels)
    return compare(
        [batch], Runner(run=run, runtime="none"), rule=RULE, gives_probabilities=True, total=3
    )


def proof(**fields: object) -> Proof:
    about = {"format": "onnx", "runtime": "none", "source": "validation"}
    return Proof(**about, **fields)  # type: ignore[arg-type]


def test_the_largest_difference_of_all_images_and_classes_counts() -> None:
    found = ANSWERS.copy()
    found[1] += [0.02, -0.05, 0.03]

    fields = compared(found)

    assert fields["largest_difference"] == pytest.approx(0.05)
    assert fields["differing"] == 0
    assert not proof(**fields).holds


def test_decisions_that_differ_are_counted() -> None:
    found = ANSWERS.copy()
    found[0] = [0.2, 0.7, 0.1]

    assert compared(found)["differing"] == 1


def test_answers_that_are_no_numbers_do_not_hold() -> None:
    found = ANSWERS.copy()
    found[2, 1] = math.nan

    assert not proof(**compared(found)).holds


def test_images_run_one_by_one_count_too() -> None:
    def run(images: np.ndarray) -> np.ndarray:
        right = ANSWERS[images[:, 0].astype(int)]
        return right if len(images) > 1 else right[:, ::-1]

    batch = ProofBatch(answers=ANSWERS, images=np.arange(3.0)[:, None])
    fields = compare(
        [batch], Runner(run=run, runtime="none"), rule=RULE, gives_probabilities=True, total=3
    )

    assert fields["largest_difference"] == pytest.approx(0.7)


def test_a_file_of_a_frozen_batch_is_refused() -> None:
    with pytest.raises(RunError, match=r"gives \(2, 3\) for images of which the network gives"):
        compare(
            [ProofBatch(answers=ANSWERS, images=np.zeros((3, 1)))],
            Runner(run=lambda _: ANSWERS[:2], runtime="none"),
            rule=RULE,
            gives_probabilities=True,
            total=3,
        )


def test_accuracy_of_both_is_from_the_labels() -> None:
    found = ANSWERS.copy()
    found[0] = [0.2, 0.7, 0.1]

    fields = compared(found, labels=np.array([0, 1, 0]))

    assert fields["accuracy"].value == pytest.approx(2 / 3)  # type: ignore[attr-defined]
    assert fields["exported_accuracy"].value == pytest.approx(1 / 3)  # type: ignore[attr-defined]
    assert fields["lost"][0] == pytest.approx(1 / 3)  # type: ignore[index]


def test_the_interval_of_a_loss_is_that_of_agresti_and_min() -> None:
    """Their formula by hand, of 100 pairs with 12 and 3 that differ."""
    own = np.array([True] * 92 + [False] * 8)
    exported = own.copy()
    exported[:12], exported[-3:] = False, True

    loss, (low, high) = paired_loss(own, exported)

    centre = (12.5 - 3.5) / 102
    half = 1.959964 * math.sqrt((12.5 + 3.5) / 102 - centre**2) / math.sqrt(102)
    assert loss == pytest.approx(0.09)
    assert (low, high) == pytest.approx((centre - half, centre + half), abs=1e-6)


@pytest.mark.parametrize(("loss", "holds"), [(0.009, True), (0.011, False)])
def test_int8_holds_by_what_it_loses(loss: float, holds: bool) -> None:
    fields = {"images": 1000, "differing": 9, "largest_difference": 0.3, "tolerance": None}

    assert proof(**fields, most_lost=0.01, lost=(loss, (0.0, 0.02))).holds is holds


def test_several_labels_have_a_threshold_each() -> None:
    rule = DecisionRule(kind="several", thresholds=(0.5, 0.2))

    decided = rule.decisions(np.array([[0.4, 0.3], [0.6, 0.1]]))

    assert decided.tolist() == [[False, True], [True, False]]
    assert rule.probabilities(np.zeros((1, 2))).tolist() == [[0.5, 0.5]]


def test_times_are_taken_in_turn() -> None:
    calls: list[str] = []

    found = latency({"network": lambda: calls.append("a"), "exported": lambda: calls.append("b")})

    assert calls[:6] == ["a", "b", "a", "a", "b", "b"]  # of each pair the second is timed
    assert set(found.milliseconds) == {"network", "exported"}
    assert list(found.times_faster) == ["network"]


def test_the_interval_of_a_median_holds_it_in_95_of_100_samples() -> None:
    chance = np.random.default_rng(0)
    inside = 0
    for _ in range(1000):
        _, low, high = median_with_interval(chance.normal(size=51).tolist())
        inside += low <= 0 <= high

    assert 930 <= inside <= 985
