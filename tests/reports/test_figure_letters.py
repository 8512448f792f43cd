"""The letters of figures: none so small that a phone cannot show them, exponents included."""

import math
import re
from collections.abc import Callable
from typing import Any

import pytest

from ravine.reports import layer_figures, race_figures
from ravine.reports.timeline import timeline

LEAST = 9.2  # units of a figure, of which a phone shows each by 1.1 pixels at least
FITTING = 352  # units of a figure that a phone of 420 pixels shows whole
STEPS = [{"step": n, "loss": 3.0 * math.exp(-n)} for n in range(1, 9)]
TRIALS: dict[str, Any] = {
    "adam": [
        {"settings": {"lr": lr}, "status": "ended", "loss": lr, "accuracy": 0.5}
        for lr in (1e-4, 1e-3, 1e-1)
    ]
}
SNAPSHOTS = [
    {
        "step": step,
        "layers": {
            f"{n}.conv": {"kind": "Conv2d", "var": 10.0**-n, "gradient_var": 10.0 ** (-2 * n)}
            for n in range(4)
        },
        "parameters": {f"{n}.weight": {"update_ratio": 10.0**-n} for n in range(1, 4)},
    }
    for step in (1, 5, 9)
]


@pytest.mark.parametrize(
    ("draw", "fits"),
    [
        (lambda: timeline(STEPS, [{"step": 8, "severity": "warning", "code": "plateau"}]), True),
        (lambda: race_figures.sensitivity(TRIALS, {"adam": "#d55e00"}, "accuracy"), True),
        (lambda: layer_figures.scales(SNAPSHOTS), True),
        (lambda: layer_figures.update_ratios(SNAPSHOTS), False),
    ],
)
def test_no_letters_are_small(draw: Callable[[], str], fits: bool) -> None:
    drawn = draw()

    sizes = [float(size) for size in re.findall(r"font(?:-size)?: (?:\w+ )*([\d.]+)px", drawn)]
    assert sizes
    assert min(sizes) >= LEAST
    assert (max(float(w) for w in re.findall(r"--wide: (\d+)", drawn)) <= FITTING) == fits


def test_powers_are_written_with_raised_digits() -> None:
    drawn = race_figures.sensitivity(TRIALS, {"adam": "#d55e00"}, "accuracy")

    assert "10⁻³" in drawn
    assert "mathdefault" not in drawn
