"""Findings: their order, and symptoms under their cause."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from ravine.findings.finding import EXPLAINS, Finding, Findings, merge


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
                   finding("inputs-not-scaled")])  # fmt: skip

    assert found.codes == ("inputs-not-scaled",)
    assert found[0].severity == "critical"
    assert set(found[0].symptoms) == {"plateau", "cannot-overfit"}


def test_a_note_explains_nothing() -> None:
    found = merge([finding("inputs-not-scaled", "note"), finding("plateau", "critical")])

    assert found.codes == ("plateau", "inputs-not-scaled")


def test_causes_that_do_not_explain_each_other_stand_side_by_side_the_critical_first() -> None:
    found = merge([finding("imbalance"), finding("eval-mode", "critical"), finding("label-noise")])

    assert found.codes == ("eval-mode", "label-noise", "imbalance")
    assert [one.code for one in found.of("critical")] == ["eval-mode"]


def test_of_equal_findings_the_first_to_be_seen_stays() -> None:
    assert merge([finding("plateau", step=5), finding("plateau", step=9)])[0].step == 5


@given(st.permutations(["plateau", "rate-too-high", "imbalance", "softmax-twice", "diverged"]))
def test_the_order_in_which_rules_speak_changes_nothing(codes: list[str]) -> None:
    assert merge(map(finding, codes)).codes == ("softmax-twice", "imbalance")


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
    shown = str(merge([finding("plateau", step=7), finding("imbalance")]))

    assert shown.count("\n") == 1
    assert "warning plateau [step 7]: saw plateau. why. → what" in shown
    assert str(Findings(())) == "nothing found"
