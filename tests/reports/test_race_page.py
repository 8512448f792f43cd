"""The page of a race, from results.json."""

import re
from typing import Any

import pytest

from ravine.reports.race_page import race_page


def results(measure: str | None) -> dict[str, Any]:
    """The least that results.json holds: two candidates, two seeds each."""
    row = {
        "interval": [0.6, 0.8],
        "tied": [],
        "results": {"0": 0.7, "1": 0.72},
        "mean": 0.71,
        "reached": 2,
        "steps_to_target": 3,
        "seconds_to_target": 1.0,
        "epochs": 1,
    }
    curve = {
        "training": [{"step": 1, "elapsed": 1.0, "loss": 1.0}],
        "validation": [{"step": 1, "elapsed": 1.0, "accuracy": 0.7}],
    }
    trial = {
        "trial": 0,
        "settings": {"lr": 0.1},
        "status": "ended",
        "text": "",
        "step": 3,
        "of": 3,
        "loss": 1.0,
        "accuracy": 0.7,
    }
    found = {
        "name": "race",
        "verdict": "a wins.",
        "closed": "",
        "elapsed": 3.0,
        "target": {"accuracy": 0.6, "why": "given"},
        "measured_on": "validation images",
        "table": [{"name": "a", "rank": 1, **row}, {"name": "b", "rank": 2, **row}],
        "comparisons": [],
        "trials": {"a": [trial], "b": [trial]},
        "curves": {name: {"0": curve, "1": curve} for name in "ab"},
        "fairness": ["The same number of trials."],
        "saved": {"search": 0.0, "race": 0.0},
        "scheduling": None,
        "out": [],
        "recipe": "",
        "plane": "",
        "noise": None,
    }
    return found if measure is None else {**found, "measure": measure}


@pytest.mark.parametrize(("measure", "said"), [("mAP", "mAP"), (None, "accuracy")])
def test_a_race_is_shown_by_the_figure_that_it_compares(measure: str | None, said: str) -> None:
    page = race_page(results(measure))

    assert f"compared by the {said} on validation images" in page
    assert f'<th class="n">{said} %</th>' in page
    assert f"validation {said}" in page  # the axis of the curves is text, not paths
    shown = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert ("accuracy" in shown) is (measure is None)
