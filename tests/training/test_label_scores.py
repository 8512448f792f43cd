"""Average precision, F1, thresholds and the loss of several labels, against loops by definition."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ravine.data.dataset import Preprocessing
from ravine.models.settings import ModelSettings
from ravine.nn.label_prior import set_label_prior_
from ravine.training.evaluation import summarise
from ravine.training.label_scores import (
    average_precision,
    label_scores,
    standard_errors,
    whole_scores,
)
from ravine.training.label_thresholds import best_threshold, choose_thresholds, cross_fitted_f1
from ravine.training.loss import binary_cross_entropy, plain_loss_of_each
from ravine.training.model_file import load_model, save_model
from ravine.training.several_evaluation import Thresholds, mean_log_loss, several_evaluation
from ravine.training.train_step import hits


def _answers(seed: int, count: int = 60, labels: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Returns probabilities with ties, and a truth that goes with them."""
    rng = np.random.default_rng(seed)
    scores = np.round(rng.random((count, labels)), 2)
    return scores, (rng.random((count, labels)) < 0.2 + 0.5 * scores).astype(np.uint8)


def _by_definition(scores: np.ndarray, truth: np.ndarray) -> float:
    """Returns Σ (R_n − R_{n−1}) P_n, threshold by threshold."""
    area, recall_before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        said = scores >= threshold
        hit = int((said & (truth > 0)).sum())
        recall = hit / int(truth.sum())
        area += (recall - recall_before) * hit / int(said.sum())
        recall_before = recall
    return area


def _f1(says: np.ndarray, truth: np.ndarray) -> float:
    both = int((says & (truth > 0)).sum())
    precision, recall = both / max(1, int(says.sum())), both / int(truth.sum())
    return 2 * precision * recall / (precision + recall) if both else 0.0


@pytest.mark.parametrize("seed", range(4))
def test_the_figures_are_those_of_their_definitions(seed: int) -> None:
    scores, truth = _answers(seed)
    thresholds = np.array([0.5, 0.3, 0.9, 0.0])

    found = whole_scores(scores, truth, thresholds)

    areas = [_by_definition(scores[:, k], truth[:, k]) for k in range(4)]
    f1 = [_f1(scores[:, k] >= thresholds[k], truth[:, k]) for k in range(4)]
    assert np.allclose(found.average_precision, areas, atol=1e-12)
    assert np.allclose(found.f1, f1, atol=1e-12)
    assert float(found.mean_ap) == pytest.approx(np.mean(areas))
    assert float(found.macro_f1) == pytest.approx(np.mean(f1))
    says = scores >= thresholds
    assert float(found.micro_f1) == pytest.approx(_f1(says.ravel(), truth.ravel()))


def test_weights_count_an_image_as_often_as_repeating_it() -> None:
    scores, truth = _answers(5, count=30)
    weights = np.random.default_rng(0).integers(0, 3, 30)
    half = np.full(4, 0.5)

    weighted = label_scores(scores, truth, half, weights[None])
    repeated = whole_scores(scores.repeat(weights, 0), truth.repeat(weights, 0), half)

    assert np.allclose(weighted.average_precision[0], repeated.average_precision)
    assert np.allclose(weighted.f1[0], repeated.f1)


def test_a_label_that_no_image_has_is_left_out_of_the_means() -> None:
    scores, truth = _answers(6)
    truth[:, 2] = 0

    found = whole_scores(scores, truth, np.full(4, 0.5))

    assert math.isnan(found.average_precision[2])
    assert math.isnan(found.f1[2])
    others = [0, 1, 3]
    assert float(found.mean_ap) == pytest.approx(found.average_precision[others].mean())
    assert float(found.macro_f1) == pytest.approx(found.f1[others].mean())


def test_standard_errors_are_the_spread_over_new_data() -> None:
    half = np.full(4, 0.5)
    drawn = [whole_scores(*_answers(seed, count=300), half) for seed in range(120)]
    known = np.std([float(one.mean_ap) for one in drawn], ddof=1)
    known_f1 = np.std([float(one.macro_f1) for one in drawn], ddof=1)

    found = [standard_errors(*_answers(seed, count=300), half) for seed in range(5)]

    assert np.mean([float(one.mean_ap) for one in found]) == pytest.approx(known, rel=0.25)
    assert np.mean([float(one.macro_f1) for one in found]) == pytest.approx(known_f1, rel=0.25)


def test_average_precision_of_a_perfect_and_of_a_constant_answer() -> None:
    truth = np.array([1, 0, 1, 0, 0])
    once = np.ones((1, 5))

    assert average_precision(truth.astype(float), truth, once)[0] == 1.0
    assert average_precision(np.zeros(5), truth, once)[0] == pytest.approx(0.4)


@pytest.mark.parametrize("seed", range(4))
def test_the_best_threshold_is_no_worse_than_any_on_a_grid(seed: int) -> None:
    scores, truth = _answers(seed)

    found = best_threshold(scores[:, 0], truth[:, 0])

    best = max(_f1(scores[:, 0] >= t, truth[:, 0]) for t in np.linspace(0, 1, 201))
    assert _f1(scores[:, 0] >= found, truth[:, 0]) >= best - 1e-12
    assert 0 <= found <= 1


def test_a_rare_label_takes_the_threshold_of_all_labels_together() -> None:
    scores, truth = _answers(1, count=200)
    truth[:, 3] = 0
    truth[:5, 3] = 1

    found = choose_thresholds(scores, truth)

    assert found[3] == best_threshold(scores.ravel(), truth.ravel())
    assert found[0] == best_threshold(scores[:, 0], truth[:, 0])


def test_thresholds_chosen_on_the_images_they_are_judged_on_are_too_good() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((40, 20))
    truth = (rng.random((40, 20)) < 0.4).astype(np.uint8)  # nothing to be learnt from the scores

    chosen = whole_scores(scores, truth, choose_thresholds(scores, truth))
    fair = cross_fitted_f1(scores, truth)

    assert fair is not None
    assert fair < float(chosen.macro_f1) - 0.02


def test_the_loss_is_the_sum_over_labels_and_the_mean_over_images() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    labels = (torch.rand(6, 5, generator=generator) < 0.4).to(torch.uint8)
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.0], dtype=torch.float64)
    smoothing = 0.1
    total = 0.0
    for z, row in zip(logits.tolist(), labels.tolist(), strict=True):
        for k, (value, label) in enumerate(zip(z, row, strict=True)):
            y = label * (1 - smoothing) + smoothing / 2
            p = 1 / (1 + math.exp(-value))
            total -= float(weights[k]) * y * math.log(p) + (1 - y) * math.log(1 - p)

    loss = binary_cross_entropy(label_smoothing=smoothing, positive_weights=weights)

    assert float(loss(logits, labels)) == pytest.approx(total / 6)
    plain = plain_loss_of_each(several=True)(logits, labels)
    mean = F.binary_cross_entropy_with_logits(logits, labels.double())
    assert float(plain.mean()) == pytest.approx(5 * float(mean))


def test_the_loss_of_an_evaluation_is_that_of_the_logits_also_where_they_are_large() -> None:
    logits = torch.tensor([[30.0, -40.0], [-3.0, 20.0], [0.5, -0.5]], dtype=torch.float64)
    labels = np.array([[1, 0], [1, 1], [0, 0]], np.uint8)
    logs = F.logsigmoid(logits.float()).numpy()

    known = F.binary_cross_entropy_with_logits(logits, torch.from_numpy(labels).double())

    assert mean_log_loss(logs, labels) == pytest.approx(2 * float(known), rel=1e-5)
    assert summarise(logs, labels).loss == mean_log_loss(logs, labels)


def test_an_image_is_right_when_all_of_its_labels_are() -> None:
    logits = torch.tensor([[2.0, -1.0], [2.0, 1.0], [-1.0, -1.0]])
    labels = torch.tensor([[1, 0], [1, 0], [0, 0]], dtype=torch.uint8)

    assert int(hits(logits, labels)) == 2


def test_a_network_begins_at_the_shares_of_the_labels_whatever_scales_its_logits() -> None:
    class Scaled(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x / 9

    head = nn.Linear(4, 3, bias=False)
    nn.init.zeros_(head.weight)
    model = nn.Sequential(nn.Flatten(), head, Scaled())
    shares = torch.tensor([0.5, 0.1, 0.02])

    assert set_label_prior_(model, shares, torch.rand(2, 1, 2, 2))

    assert torch.allclose(model(torch.rand(5, 1, 2, 2)).sigmoid().mean(0), shares, atol=1e-5)


def test_a_head_of_other_outputs_is_left_alone() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 7), nn.Unflatten(1, (7, 1)))

    before = model[1].bias.clone()

    assert not set_label_prior_(model, torch.full((3,), 0.5), torch.rand(2, 1, 2, 2))
    assert torch.equal(model[1].bias, before)


def test_a_model_file_keeps_thresholds_and_biases_that_its_network_lacks(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    settings = ModelSettings(model="swift-1")
    model = settings.build_model(classes=2, channels=1, image_size=16)
    set_label_prior_(model, torch.tensor([0.3, 0.1]), torch.rand(2, 1, 16, 16))
    preprocessing = Preprocessing(image_size=16, channels=1, mean=(0.5,), std=(0.2,))
    save_model(
        path,
        model,
        settings=settings,
        classes=("a", "b"),
        preprocessing=preprocessing,
        thresholds=(0.25, 0.75),
    )

    found = load_model(path)

    assert found.several
    assert found.thresholds == (0.25, 0.75)
    images = torch.rand(3, 1, 16, 16)
    assert torch.allclose(found.model(images), model.eval()(images), atol=1e-6)


def test_the_rows_of_an_evaluation_are_by_label_and_say_where_thresholds_come_from() -> None:
    scores, truth = _answers(2)
    truth[:, 1] = 0
    thresholds = Thresholds(values=choose_thresholds(scores, truth), source="validation")

    found = several_evaluation(
        np.log(np.maximum(scores, 1e-6)),
        None,
        truth,
        split="validation",
        classes=list("abcd"),
        thresholds=thresholds,
        chosen_here=True,
    )

    assert [row["name"] for row in found["labels"]] == list("abcd")
    assert found["labels"][1]["average_precision"] is None
    low, high = found["mean_ap_interval"]
    assert low < found["mean_ap"] < high
    assert found["thresholds"]["macro_f1_cross_fitted"] < found["macro_f1"]
    assert found["chance"] == pytest.approx(truth.mean(0)[[0, 2, 3]].mean())
