"""A race while it runs, from the plain files of its folder."""

from pathlib import Path

from ravine.reports.live.race_view import race_view
from ravine.runs.rows import append_row, write_json


def test_each_run_has_its_loss_up_to_the_rung_that_it_reached(tmp_path: Path) -> None:
    folders = {"adam": "adam", "lr=0.1": "lr-0-1"}
    write_json(tmp_path / "plan.json", {"course": {"folders": folders, "trials": {}, "seeds": []}})
    for run, rows in {"adam-trial-0": 3, "lr-0-1-seed-2": 1, "other-trial-0": 2}.items():
        (tmp_path / "runs" / run).mkdir(parents=True)
        for k in range(rows):
            row = {"first": 1 + 2 * k, "losses": [3.0 - k, None if k else 2.0], "elapsed": 1.0 * k}
            append_row(tmp_path / "runs" / run / "losses.jsonl", row)
    (tmp_path / "runs" / "adam-trial-1").mkdir()

    found = race_view(tmp_path)["curves"]

    assert [(one["run"], one["candidate"], one["x"], one["y"]) for one in found] == [
        ("adam-trial-0", "adam", [2, 4, 6], [2.5, 2.0, 1.0]),
        ("lr-0-1-seed-2", "lr=0.1", [2], [2.5]),
    ]
    assert found[0]["colour"] == "vermilion"
