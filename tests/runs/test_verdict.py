"""The verdict on a run, from its evaluation and findings alone."""

from pathlib import Path
from typing import Any

import pytest

from ravine.runs.folder import RunFolder
from ravine.runs.verdict import chance_of, judge

RUN = Path("runs/my run")
GOOD = {"accuracy": 0.9, "interval": [0.88, 0.92], "confusion": [[45, 5], [5, 45]]}
AT_CHANCE = {"accuracy": 0.5, "interval": [0.4, 0.6], "confusion": [[25, 25], [25, 25]]}


def finding(severity: str, code: str, **changes: Any) -> dict[str, Any]:
    row = {"severity": severity, "code": code, "text": f"{code} is seen", "changes": changes}
    return {**row, "cause": f"the cause of {code}", "cure": f"the cure of {code}"}


def test_chance_is_the_share_of_the_most_frequent_class() -> None:
    assert chance_of({"confusion": [[8, 0, 1], [0, 0, 0], [1, 1, 1]]}) == 0.75
    assert chance_of({}) is None
    assert chance_of({"confusion": [[0]]}) is None


def test_a_run_without_its_end_is_resumed_before_it_predicts(tmp_path: Path) -> None:
    assert judge(tmp_path, evaluation={}, findings=[], recipe={}).command == (
        f"ravine resume {tmp_path}"
    )
    with RunFolder(tmp_path).locked():
        assert judge(tmp_path, evaluation={}, findings=[], recipe={}).command == "ravine watch"
    (tmp_path / "model.safetensors").touch()
    assert "ravine predict" in judge(tmp_path, evaluation={}, findings=[], recipe={}).command


def test_a_critical_finding_stands_before_a_good_accuracy() -> None:
    rows = [finding("warning", "overfitting"), finding("critical", "labels-unrelated")]
    found = judge(RUN, evaluation=GOOD, findings=rows, recipe={})

    assert found.kind == "broken"
    assert found.headline == "Broken: labels-unrelated is seen"
    assert (found.cause, found.cure) == (
        "the cause of labels-unrelated",
        "the cure of labels-unrelated",
    )
    assert found.command == "ravine diagnose 'runs/my run'"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lr": "*0.1"}, "--lr 0.3"),
        ({"lr": 0.46909725357346715}, "--lr 0.469"),
        ({"budget": 330}, "--budget 330s"),
        ({"init": "lsuv"}, "--init lsuv"),
        ({"zero_init": True, "skip": False}, "--zero-init --no-skip"),
    ],
)
def test_the_command_applies_the_cure_to_the_recipe_of_the_run(
    changes: dict[str, Any], words: str
) -> None:
    found = judge(
        RUN, evaluation={}, findings=[finding("critical", "c", **changes)], recipe={"lr": 3.0}
    )

    assert found.command == f"ravine train --recipe 'runs/my run/recipe.toml' {words}"


def test_a_factor_of_a_setting_that_is_not_known_gives_no_command() -> None:
    rows = [finding("critical", "diverged", lr="*0.1")]

    assert judge(RUN, evaluation={}, findings=rows, recipe={}).command.startswith(
        "ravine diagnose "
    )


def test_an_interval_that_holds_chance_is_no_result() -> None:
    found = judge(RUN, evaluation=AT_CHANCE, findings=[], recipe={})

    assert (found.kind, found.headline) == ("chance", "No better than chance, which is 50 %")


def test_a_cure_that_was_found_stands_beside_chance_and_a_symptom_does_not() -> None:
    rows = [finding("warning", "below-baseline", epochs=9)]
    assert judge(RUN, evaluation=AT_CHANCE, findings=rows, recipe={}).command == (
        "ravine diagnose 'runs/my run'"
    )

    rows.append(finding("warning", "rate-too-high", lr=0.84))
    found = judge(RUN, evaluation=AT_CHANCE, findings=rows, recipe={})

    assert (found.kind, found.cure) == ("chance", "the cure of rate-too-high")
    assert found.command.endswith("--lr 0.84")


def test_warnings_make_a_result_doubtful_and_notes_do_not() -> None:
    warned = judge(RUN, evaluation=GOOD, findings=[finding("warning", "plateau")], recipe={})
    noted = judge(RUN, evaluation=GOOD, findings=[finding("note", "imbalance")], recipe={})

    assert (warned.kind, noted.kind) == ("doubtful", "good")
    assert noted.headline == ""
    assert noted.command == "ravine predict 'runs/my run' IMAGES"
