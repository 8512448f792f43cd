"""The curves of offline pages as values, against rows written by hand."""

from typing import Any

import pytest

from ravine.reports.offline_charts import race_charts, run_charts


def steps(count: int, *, seconds: float = 0.5) -> list[dict[str, Any]]:
    """Rows of so many steps, ten an epoch."""
    return [
        {"kind": "step", "step": k, "epoch": k / 10, "elapsed": seconds * k, "loss": 3.0 / k}
        for k in range(1, count + 1)
    ]


def test_a_finding_stands_at_its_step_on_each_axis() -> None:
    found = run_charts(steps(40), [], [{"step": 20, "severity": "warning", "code": "plateau"}])

    at = {axis: facts["findings"][0]["x"] for axis, facts in found["axes"].items()}
    assert at == {"step": 20, "epoch": 2.0, "elapsed": 10.0}


def test_a_long_run_is_thinned_and_a_spike_of_one_step_stays() -> None:
    rows = steps(5000)
    rows[3210]["loss"] = 99.0
    x, y = run_charts(rows, [], [])["axes"]["step"]["steps"]["loss"]

    assert len(x) == len(y) <= 300
    assert max(y) == 99.0


def test_an_axis_of_which_values_are_missing_is_not_offered() -> None:
    rows = [{**row, "elapsed": None} for row in steps(5)]

    assert list(run_charts(rows, [], [])["axes"]) == ["step", "epoch"]


def test_several_labels_show_exact_matches_and_map() -> None:
    rows = [{**row, "exact_match": 0.2} for row in steps(3)]
    epoch = {
        "kind": "epoch", "step": 3, "epoch": 0.3, "elapsed": 1.5, "accuracy": None,
        "train_exact_match": 0.25, "mean_ap": 0.6,
    }  # fmt: skip
    found = run_charts(rows, [epoch], [])
    columns = found["axes"]["step"]

    assert found["measure"] == "mAP"
    assert columns["steps"]["accuracy"][1] == pytest.approx([0.2] * 3)
    assert columns["epochs"]["train_accuracy"] == [[3.0], [0.25]]
    assert columns["epochs"]["accuracy"] == [[3.0], [0.6]]


def test_what_a_report_fills_with_none_hides_no_accuracy() -> None:
    epoch = {"kind": "epoch", "step": 3, "epoch": 0.3, "elapsed": 1.5, "accuracy": 0.6}
    found = run_charts(steps(3), [{**epoch, "mean_ap": None}], [])

    assert found["axes"]["epoch"]["epochs"]["accuracy"] == [[0.3], [0.6]]


def test_a_race_has_the_mean_of_its_seeds_between_the_lowest_and_the_highest() -> None:
    def run(shift: float) -> dict[str, Any]:
        training = [{"step": 10 * k, "elapsed": 2.0 * k, "loss": k + shift} for k in (1, 2, 3)]
        return {"training": training, "validation": []}

    found = race_charts({"a": {"0": run(0.0), "1": run(0.5)}}, {"a": "blue"}, {"a": 6.0}, None, "")
    (by_step,) = found["axes"]["step"]["curves"]["loss"]
    (by_epoch,) = found["axes"]["epoch"]["curves"]["loss"]

    assert by_step["x"] == [10, 20, 30]
    assert by_step["y"] == [1.25, 2.25, 3.25]
    assert (by_step["low"], by_step["high"]) == ([1, 2, 3], [1.5, 2.5, 3.5])
    assert by_epoch["x"] == [2, 4, 6]  # the last step ends the last epoch
    assert found["axes"]["step"]["curves"]["accuracy"] == []
