"""The weights of the best evaluation, beside the last ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import ravine
from ravine.core.errors import RunError, SettingError
from ravine.training.best_weights import Validations, luck_of_choice
from ravine.training.evaluation import Evaluation
from ravine.workflows.run import Run


def _found(accuracy: float, loss: float) -> Evaluation:
    return Evaluation(count=10, accuracy=accuracy, interval=(0.0, 1.0), loss=loss)


def test_the_best_has_the_highest_accuracy_and_among_equals_the_least_loss() -> None:
    model = nn.Linear(1, 1, bias=False)
    seen = Validations(keeps=True)
    results = [(0.5, 1.0), (0.7, 0.9), (0.7, 0.8), (0.7, float("nan")), (0.6, 0.1)]
    for number, (accuracy, loss) in enumerate(results):
        nn.init.constant_(model.weight, number)
        seen.add(number, _found(accuracy, loss), model)
    assert seen.best is not None
    assert (seen.best.step, seen.best.loss) == (2, 0.8)
    assert seen.weights["weight"].item() == 2


@pytest.mark.parametrize("row", [[2, 1.5, 0.1], [2, -0.1, 0.1], [-1, 0.5, 0.1], [2, "nan", 0.1]])
def test_a_checkpoint_with_an_evaluation_that_cannot_be_is_damaged(row: list[float]) -> None:
    seen = Validations(keeps=True)

    with pytest.raises(ValueError, match="is none"):
        seen.load({}, [[1, 0.5, 0.2], row])

    assert seen.rows == []


def test_the_luck_of_a_choice_is_the_expected_maximum_of_normal_errors() -> None:
    torch.manual_seed(0)
    for evaluations in (2, 5, 30):
        drawn = torch.randn(200_000, evaluations, dtype=torch.float64).amax(1).mean().item()
        found = luck_of_choice(0.8, images=400, evaluations=evaluations)
        assert found == pytest.approx(drawn * (0.8 * 0.2 / 400) ** 0.5, rel=0.06)
    assert luck_of_choice(0.8, images=400, evaluations=1) == 0


@pytest.fixture(scope="module")
def misleading(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns an .npz whose validation has the class after the right one: training spoils it."""
    chance = np.random.default_rng(5)
    path = tmp_path_factory.mktemp("data") / "wrong.npz"
    images, labels = chance.integers(0, 100, (240, 8, 8), np.uint8), np.arange(240) % 3
    for k in range(3):
        images[labels == k, 2 * k : 2 * k + 2] += 100
    parts = {"train_images": images[:180], "train_labels": labels[:180]}
    np.savez(path, **parts, val_images=images[180:], val_labels=(labels[180:] + 1) % 3)
    return path


@pytest.fixture(scope="module")
def run(misleading: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAVINE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return ravine.train(
            misleading,
            model="wrn-10-1",
            batch=16,
            lr=0.02,
            epochs=6,
            device="cpu",
            precision="float32",
            convolution="torch",
            monitor=0.0,
            out=tmp_path_factory.mktemp("runs") / "run",
            show="none",
        )


def test_the_best_weights_are_those_of_the_best_row_of_the_history(
    run: Run, misleading: Path
) -> None:
    best = run.result["best"]
    assert not best["is_last"]
    assert best["accuracy"] == max(row["accuracy"] for row in run.epochs)
    assert best["evaluations"] == len(run.epochs)

    chosen = Run.load(run.path, weights_of="best")
    assert chosen.evaluate(misleading, held_out=True)["accuracy"] == best["accuracy"]
    last = run.evaluate(misleading, held_out=True)["accuracy"]
    assert last == run.epochs[-1]["accuracy"] < best["accuracy"]


def test_the_last_weights_are_the_best_where_none_before_was_better(
    run: Run, misleading: Path, tmp_path: Path
) -> None:
    one = ravine.train(
        misleading,
        model="wrn-10-1",
        epochs=1,
        device="cpu",
        convolution="torch",
        out=tmp_path / "one",
        show="none",
    )
    assert one.result["best"]["is_last"]
    assert not (one.path / "best.safetensors").exists()
    same = Run.load(one.path, weights_of="best")
    pairs = zip(same.model.parameters(), one.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_run_without_best_weights_says_why(misleading: Path, tmp_path: Path) -> None:
    run = ravine.train(
        misleading,
        model="wrn-10-1",
        epochs=2,
        device="cpu",
        convolution="torch",
        keep_best=False,
        out=tmp_path / "run",
        show="none",
    )
    with pytest.raises(RunError, match=r"kept no best weights.*--no-keep-best"):
        Run.load(run.path, weights_of="best")
    with pytest.raises(RunError, match="one set of weights"):
        Run.load(run.path / "model.safetensors", weights_of="best")
    with pytest.raises(SettingError, match=r"weights_of 'first'.*last, best"):
        Run.load(run.path, weights_of="first")
