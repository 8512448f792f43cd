"""Findings: their order, and symptoms under their cause."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from ravine.checks.check_table import EXPLAINS
from ravine.findings.detectors import RUN_EXPLAINS
from ravine.findings.finding import Finding, Findings, merge


def finding(code: str, severity: str = "warning", step: int | None = None) -> Finding:
    return Finding(
        severity=severity,  # type: ignore[arg-type]
        code=code,
        seen=f"saw {code}",
        cause="why",
        cure="what",
        step=step,
        evidence={"x": 1.0, "lost": math.nan},
    )


def test_symptoms_of_one_cause_are_one_finding_of_the_weightiest_severity() -> None:
    found = merge([finding("plateau"), finding("cannot-overfit", "critical"),
                   finding("inputs-not-scaled")], EXPLAINS)  # fmt: skip

    assert found.codes == ("inputs-not-scaled",)
    assert found[0].severity == "critical"
    assert set(found[0].symptoms) == {"plateau", "cannot-overfit"}


def test_a_note_explains_nothing() -> None:
    found = merge([finding("inputs-not-scaled", "note"), finding("plateau", "critical")], EXPLAINS)

    assert found.codes == ("plateau", "inputs-not-scaled")


def test_causes_that_do_not_explain_each_other_stand_side_by_side_the_critical_first() -> None:
    codes = [finding("imbalance"), finding("eval-mode", "critical"), finding("label-noise")]
    found = merge(codes, EXPLAINS)

    assert found.codes == ("eval-mode", "label-noise", "imbalance")
    assert [one.code for one in found.of("critical")] == ["eval-mode"]


def test_of_equal_findings_the_first_stays() -> None:
    found = merge([finding("plateau", step=5), finding("plateau", step=9)], EXPLAINS)

    assert found[0].step == 5


@given(st.permutations(["plateau", "rate-too-high", "imbalance", "softmax-twice", "diverged"]))
def test_the_order_of_the_checks_changes_nothing(codes: list[str]) -> None:
    assert merge(map(finding, codes), EXPLAINS).codes == ("softmax-twice", "imbalance")


def test_no_two_causes_explain_each_other_and_every_symptom_is_known() -> None:
    for cause, symptoms in EXPLAINS.items():
        for symptom in symptoms:
            assert symptom in EXPLAINS
            assert list(EXPLAINS).index(symptom) > list(EXPLAINS).index(cause), (cause, symptom)


def test_a_row_is_strict_json_and_holds_what_the_report_reads() -> None:
    row = finding("plateau").row()

    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert {"severity", "text", "cure", "step", "layer", "cause"} <= set(row)
    assert row["evidence"] == {"x": 1.0, "lost": None}


def test_findings_print_a_line_each() -> None:
    shown = str(merge([finding("plateau", step=7), finding("imbalance")], EXPLAINS))

    assert shown.count("\n") == 1
    assert "warning plateau [step 7]: saw plateau. why. → what" in shown
    assert str(Findings(())) == "nothing found"


@given(st.lists(st.sampled_from(sorted(RUN_EXPLAINS)), unique=True))
def test_findings_over_time_are_merged_alike_with_and_without_the_table_of_checks(
    codes: list[str],
) -> None:
    found = [finding(code) for code in codes]

    assert merge(found, RUN_EXPLAINS) == merge(found, EXPLAINS)
