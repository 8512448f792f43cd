"""The lines above everything else in a report."""

import pytest

from ravine.reports.contents import Contents
from ravine.reports.report_summary import summary_lines
from ravine.runs.run_state import RunState
from ravine.runs.verdict import Verdict


@pytest.mark.parametrize(
    ("accuracy", "longer"), [(0.98, True), (1.0, False)], ids=["room is left", "none is"]
)
def test_a_larger_network_is_advised_only_where_there_is_something_to_gain(
    *, accuracy: float, longer: bool
) -> None:
    epochs = [{"accuracy": accuracy, "train_accuracy": 0.99, "loss": 0.1}]
    verdict, state = Verdict(kind="good", command=""), RunState(kind="ended")
    lines = summary_lines(Contents(name="run", epochs=epochs, verdict=verdict, state=state))

    assert any("larger network may help" in line for line in lines) == longer
    assert any("Every validation image" in line for line in lines) != longer
