"""What a diagnosis says of its own reach."""

from ravine.checks.check_table import CHECKS
from ravine.cli.checked_lines import checked_lines
from ravine.findings.finding import Finding, Findings

DIVERGED = Finding(severity="critical", code="diverged", seen="s", cause="c", cure="d")


def test_every_kind_of_finding_is_checked_or_named_as_not_checked() -> None:
    first, missing, *each = checked_lines(
        Findings((DIVERGED,)), 8.6, inside=True, labels_probe=True, verbose=True
    )

    codes = {row.code for row in CHECKS}
    of_steps = {row.code for row in CHECKS if getattr(row, "stage", "") == "state"}
    named = {line.split(": ")[1].split()[0] for line in each}
    assert named | of_steps == codes
    assert first.startswith(f"checked {len(each)} kinds of finding in 9 s: rows of the run (")
    assert missing == "not checked: a step of your own loop (ravine.check(step=...) in it)"
    assert [line for line in each if line.endswith(" found")] == [
        "  rows of the run: diverged found"
    ]


def test_without_the_network_only_the_rows_are_checked() -> None:
    first, missing = checked_lines(Findings(()), 0.2, inside=False, labels_probe=False)

    assert ", " not in first
    assert "rows of the run" in first
    for what in ("data and wiring", "loss and signals", "learning", "labels", "your own loop"):
        assert what in missing
