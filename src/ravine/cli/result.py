"""The last lines of a training: the verdict, the result, the files and the next command."""

import json as json_format
import sys
from typing import TYPE_CHECKING, Any

from ravine.cli.evaluation_lines import evaluation_lines
from ravine.core.launch import is_secondary_process
from ravine.runs.verdict import Verdict, chance_of

if TYPE_CHECKING:
    from ravine.workflows.run import Run


def show_result(run: "Run", *, json: bool) -> None:
    """Prints what holds of a finished run, its files and what to type next."""
    if is_secondary_process():
        return
    evaluated = (run.path / "evaluation.json").is_file()
    result, verdict = run.result if evaluated else {}, run.verdict
    if json:
        row = {"kind": "result", **_score(result), "run": str(run.path)}
        row |= {"verdict": verdict.kind, "chance": chance_of(result), "next": verdict.command}
        print(json_format.dumps(row, ensure_ascii=False))
        return
    for line in [*verdict_lines(verdict), *_accuracy_lines(result)]:
        print(line)
    if run.folds:
        print(f"models {run.path / 'fold-1'} to fold-{run.folds}, each with its report")
    else:
        print(f"model  {run.path / 'model.safetensors'}")
    page = run.path / "report.html"
    # A terminal makes a link of it; what reads a pipe wants the path.
    print(f"report {page.resolve().as_uri() if sys.stdout.isatty() else page}")
    print(f"next   {verdict.command}")


def _score(result: dict[str, Any]) -> dict[str, Any]:
    """Returns the accuracy of a result; of several labels mAP and macro F1."""
    if "mean_ap" in result:
        return {"mean_ap": result["mean_ap"], "macro_f1": result["macro_f1"]}
    return {"accuracy": result.get("accuracy")}


def verdict_lines(verdict: Verdict) -> list[str]:
    """Returns the lines that stand before the accuracy; none for a good run."""
    lines = [verdict.headline] if verdict.kind in ("broken", "chance") else []
    if lines and verdict.cause:
        lines.append(f"  Why: {verdict.cause}.")
    if lines and verdict.cure:
        lines.append(f"  Cure: {verdict.cure}.")
    return lines


def _accuracy_lines(result: dict[str, object]) -> list[str]:
    if not result:
        return []
    first, *others = evaluation_lines(result, per_class=False)
    chance = chance_of(result)
    return [f"{first}; chance is {100 * chance:.3g} %" if chance else first, *others]
