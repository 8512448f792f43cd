"""A budget gets the network that measured runs say is best, and a rule where there are none."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from ravine.models import build
from ravine.training.network_evidence import (
    Cell,
    Situation,
    choose_by_evidence,
    measured_cells,
    predict_accuracy,
)

HERE = Situation(images=100, image_size=28, classes=10, channels=1)


def cells(**curves: dict[tuple[int, float], float]) -> list[Cell]:
    """Returns cells from accuracy by (images, epochs) of each network."""
    return [
        Cell(
            situation=replace(HERE, images=images), model=model.replace("_", "-"),
            epochs=epochs, accuracy=accuracy, seeds=1,
        )
        for model, curve in curves.items()
        for (images, epochs), accuracy in curve.items()
    ]  # fmt: skip


QUICK = {(50, 4): 0.4, (50, 64): 0.6, (200, 4): 0.6, (200, 64): 0.8}
DEEP = {(50, 4): 0.2, (50, 64): 0.7, (200, 4): 0.3, (200, 64): 0.9}
BOTH = cells(swift_1=QUICK, wrn_16_2=DEEP)


def makes(**epochs: float) -> Callable[[str], float]:
    return lambda name: epochs[name.replace("-", "_")]


def test_accuracy_between_cells_is_linear_in_the_logarithms() -> None:
    """100 is half-way between 50 and 200, and 16 between 4 and 64."""
    found = predict_accuracy(BOTH, HERE, "swift-1", 16)

    assert found is not None
    assert found.accuracy == pytest.approx((0.4 + 0.6 + 0.6 + 0.8) / 4)
    assert not found.extrapolated


def test_beyond_the_last_epochs_accuracy_stays_and_is_marked() -> None:
    found = predict_accuracy(BOTH, HERE, "swift-1", 250)

    assert found is not None
    assert (found.accuracy, found.extrapolated) == (pytest.approx(0.7), True)


@pytest.mark.parametrize(
    ("changed", "epochs"),
    [
        ({}, 3.9),  # fewer epochs than any
        ({}, 257.0),  # more than four times the most
        ({"images": 49}, 16.0),
        ({"images": 201}, 16.0),
        ({"channels": 3}, 16.0),
        ({"image_size": 37}, 16.0),
        ({"classes": 21}, 16.0),
    ],
)
def test_outside_of_what_was_measured_there_is_no_evidence(
    changed: dict[str, int], epochs: float
) -> None:
    situation = replace(HERE, **changed)

    assert predict_accuracy(BOTH, situation, "swift-1", epochs) is None
    asked = makes(swift_1=epochs, wrn_16_2=epochs)
    assert choose_by_evidence(BOTH, situation, asked, budget=60.0) is None


def test_the_machine_s_speed_decides_between_quick_and_deep() -> None:
    slow = choose_by_evidence(BOTH, HERE, makes(swift_1=16, wrn_16_2=5), budget=60.0)
    fast = choose_by_evidence(BOTH, HERE, makes(swift_1=64, wrn_16_2=60), budget=60.0)

    assert slow is not None
    assert slow.model == "swift-1"
    assert slow.reason == (
        "swift-1: about 60 % after 16 epochs in 60 s here, by measured runs on data like this; "
        "next wrn-16-2, about 29 % after 5 epochs"
    )
    assert fast is not None
    assert fast.model == "wrn-16-2"


def test_a_network_that_never_reached_more_is_not_timed() -> None:
    worse = {key: value - 0.3 for key, value in DEEP.items()}
    timed: list[str] = []

    def epochs_of(name: str) -> float:
        timed.append(name)
        return 64.0

    found = choose_by_evidence(cells(swift_1=QUICK, wrn_16_2=worse), HERE, epochs_of, budget=60.0)

    assert found is not None
    assert timed == ["swift-1"]
    assert found.reason.endswith("no other reached more")


def test_epochs_that_one_network_lacks_do_not_count() -> None:
    """Otherwise its accuracy would stay where its short curve ends, and others would grow."""
    short = {key: value for key, value in QUICK.items() if key[1] == 4}
    some = cells(swift_1=short, wrn_16_2=DEEP)

    assert choose_by_evidence(some, HERE, makes(swift_1=17, wrn_16_2=17), budget=60.0) is None
    few = choose_by_evidence(some, HERE, makes(swift_1=8, wrn_16_2=8), budget=60.0)
    assert few is not None
    assert (few.model, few.reason.count("extrapolated")) == ("swift-1", 1)


def test_the_table_that_ships_names_networks_that_can_be_built() -> None:
    for name, size in {(cell.model, cell.situation.image_size) for cell in measured_cells()}:
        build(name, classes=10, image_size=size)
    assert all(0 < cell.accuracy < 1 and cell.epochs > 0 for cell in measured_cells())
