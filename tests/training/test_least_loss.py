"""The least loss that targets allow: no logits are better, smoothed, mixed, weighted or not."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ravine.findings.target_floor import expected_floor
from ravine.training.loss import least_loss_of, loss_of


def targets_of(kind: str) -> torch.Tensor:
    """Returns labels (6,), mixed shares (6, 3), or mixed labels of which an image has several."""
    labels = torch.arange(6) % 3
    if kind == "labels":
        return labels
    rows = torch.nn.functional.one_hot(labels, 3).float()
    if kind == "several":
        rows[2] = 1.0
    return 0.7 * rows + 0.3 * rows.flip(0)


@given(
    kind=st.sampled_from(["labels", "mixed", "several"]),
    smoothing=st.sampled_from([0.0, 0.2]),
    weights=st.none() | st.lists(st.floats(0.1, 9), min_size=3, max_size=3),
)
@settings(max_examples=30, deadline=None)
def test_no_logits_have_a_lower_loss(
    kind: str, smoothing: float, weights: list[float] | None
) -> None:
    factors = None if weights is None else torch.tensor(weights)
    several, targets = kind == "several", targets_of(kind)
    loss = loss_of(several=several, label_smoothing=smoothing, weights=factors)
    least = least_loss_of(several=several, label_smoothing=smoothing, weights=factors)(targets, 3)

    logits = torch.zeros(6, 3, requires_grad=True)
    search = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

    def value() -> torch.Tensor:
        search.zero_grad()
        (found := loss(logits, targets)).backward()
        return found

    search.step(value)
    assert float(loss(logits, targets).detach()) == pytest.approx(float(least), abs=2e-3)
    assert float(loss(logits, targets).detach()) > float(least) - 1e-5


def test_that_of_smoothed_labels_is_their_entropy() -> None:
    least = least_loss_of(several=False, label_smoothing=0.2, weights=None)(targets_of("labels"), 3)
    assert float(least) == pytest.approx(expected_floor(3, label_smoothing=0.2))
