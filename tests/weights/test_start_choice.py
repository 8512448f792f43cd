"""Fresh, frozen or fine-tuned: chosen within a tenth of the budget, by the test's own clock."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import ravine
from ravine.training.evaluation import Evaluation
from ravine.training.features import HeadOnly
from ravine.training.head_fit import fit_head_
from ravine.training.loss import cross_entropy
from ravine.training.speed import pace_of_images
from ravine.workflows import assemble
from ravine.workflows.builder import Builder
from ravine.workflows.start_choice import _decide
from ravine.workflows.start_trials import StartTrial, StartTrials

SMALL = {"threads": 1, "device": "cpu", "precision": "float32", "convolution": "guess"}
ALL = {"frozen", "fine-tuned", "fresh"}


class Chosen(Exception):
    """Ends a run after its start is chosen."""


class SlowNetwork:
    """A clock that only the network's own work moves.

    Attributes:
        now: seconds.
        pace: seconds of an image in evaluation.
        step: a training step's time, of that of its images in evaluation.
    """

    def __init__(self, pace: float, step: float) -> None:
        self.now, self.pace, self.step = 0.0, pace, step

    def monotonic(self) -> float:
        return self.now

    def count(self, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self.now += len(inputs[0]) * self.pace * (self.step if torch.is_grad_enabled() else 1.0)


def _stripes(path: Path, classes: list[str], *, images: int) -> Path:
    chance = np.random.default_rng(len(classes))
    pixels = chance.integers(0, 90, (images, 10, 10, 1))
    labels = np.arange(images) % len(classes)
    for number in range(len(classes)):
        pixels[labels == number, :: 2 + number] += 120
    np.savez(path, images=pixels.astype(np.uint8), labels=np.array(classes)[labels])
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, own_cache: None) -> Path:
    return tmp_path_factory.mktemp("choice")


@pytest.fixture(scope="module")
def source(home: Path) -> ravine.Run:
    data = _stripes(home / "two.npz", ["a", "b"], images=40)
    return ravine.train(data, out=home / "source", model="wrn-10-1", epochs=1, batch=8, **SMALL)


@pytest.mark.parametrize("step", [3.0, 7.0])
@pytest.mark.parametrize("images", [60, 2000])
@pytest.mark.parametrize("pace", [0.0005, 0.004, 0.02, 0.1, 3.0])
def test_choosing_a_start_ends_within_a_tenth_of_the_budget(
    pace: float,
    images: int,
    step: float,
    source: ravine.Run,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = _stripes(home / f"three-{images}.npz", ["c", "d", "e"], images=images)
    network, clock = Builder.network, SlowNetwork(pace, step)
    choose, found = assemble.choose_start, []

    def slowed(*given: object) -> nn.Module:
        model = network(*given)  # type: ignore[arg-type]
        model.register_forward_pre_hook(clock.count)
        return model

    def timed(*given: object) -> None:
        began = clock.now
        _, lines = choose(*given)  # type: ignore[arg-type]
        found.append((clock.now - began, lines))
        raise Chosen

    monkeypatch.setattr(Builder, "network", slowed)
    monkeypatch.setattr(assemble, "choose_start", timed)
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    with pytest.raises(Chosen):
        ravine.train(data, out=home / "x", weights=str(source.path), budget=20.0, **SMALL)

    ((seconds, (line,)),) = found
    assert seconds <= 2.0 + 3 * pace  # three images pass in any case
    few = pace * (step if images > 100 else 1) < 0.001
    assert few <= all(way in line for way in ALL)
    if pace == 3.0:
        assert line == (
            "frozen backbone: the budget shows the whole network "
            f"{20 / (3 * pace * images * 0.9):.2g} of the images (nothing was tried)"
        )


def _trial(way: str, right: int, of: int = 100) -> StartTrial:
    half = 1 / of**0.5
    accuracy = right / of
    interval = (accuracy - half, accuracy + half)
    return StartTrial(
        way=way,
        evaluation=Evaluation(count=of, accuracy=accuracy, interval=interval, loss=1.0),
        epochs=0.0 if way == "frozen" else 0.5,
    )


@pytest.mark.parametrize(
    ("frozen", "tuned", "fresh", "epochs", "way"),
    [
        (60, 65, 30, 5.0, "none"),
        (60, 55, 30, 5.0, "none"),  # not worse by more than chance
        (80, 55, 30, 5.0, "backbone"),
        (60, 65, 90, 5.0, "fresh"),
        (60, 65, 70, 5.0, "none"),  # not better by more than chance
        (60, 65, None, 5.0, "none"),
        (60, 65, 30, 0.4, "backbone"),
        (60, 65, 90, 0.4, "fresh"),
        (60, None, None, 5.0, "backbone"),
        (None, None, None, 5.0, "backbone"),
    ],
)
def test_the_start_that_is_taken_follows_from_the_trials(
    frozen: int | None, tuned: int | None, fresh: int | None, epochs: float, way: str
) -> None:
    tried = {"frozen": frozen, "tuned": tuned, "fresh": fresh}
    trials = {name: _trial(name, right) for name, right in tried.items() if right is not None}

    found, why = _decide(StartTrials(epochs_of_budget=epochs, step=0.4, **trials), 20.0)

    assert found == way
    assert all(f"{right}.0%" in why for right in (frozen, tuned) if right is not None and tuned)
    if tuned is None:
        assert why.startswith("frozen backbone: a tenth of the budget, 2 s, is too short to try")
        assert why.endswith("a step of which takes 0.4 s; --freeze none trains all of it")


def test_a_trial_on_images_with_several_labels_is_told_by_its_mean_average_precision() -> None:
    found = Evaluation(count=9, accuracy=None, interval=None, loss=1.0, scores={"mean_ap": 0.25})

    assert StartTrial(way="frozen", evaluation=found).text() == "frozen 25.0%"


@pytest.mark.parametrize(("pace", "passes"), [(5.0, [1]), (0.2, [1, 2]), (0.01, [1, 2, 4, 8, 16])])
def test_a_slow_network_is_timed_by_few_images(
    pace: float, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, seen = SlowNetwork(pace, 1.0), []

    def forward(count: int) -> None:
        seen.append(count)
        clock.now += count * pace

    monkeypatch.setattr(time, "monotonic", clock.monotonic)

    assert pace_of_images(forward, seconds=0.5, most=16) == pytest.approx(pace)
    assert seen == passes


def test_a_head_is_fitted_in_the_time_that_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = torch.Generator().manual_seed(0)
    features = torch.randn(40, 6, generator=chance)
    labels = (features @ torch.randn(6, 3, generator=chance)).argmax(1)
    clock, loss = SlowNetwork(1.0, 1.0), cross_entropy(label_smoothing=0.0, class_weights=None)

    def count(*_: object) -> None:
        clock.now += 1.0

    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    losses = {}
    for seconds in (1.0, 60.0, float("inf")):
        end = HeadOnly(nn.Linear(6, 3))
        end.register_forward_pre_hook(count)
        began = clock.now
        fit_head_(end, features, labels, loss, seconds=seconds)
        losses[seconds] = float(loss(end(features), labels).detach())
        if seconds == 60.0:
            assert clock.now - began <= 1.2 * seconds

    assert max(losses.values()) < 1.0  # ln 3 before
