"""The summary of a report: the lines above everything else."""

from collections.abc import Sequence
from typing import Any

from ravine.core.counted import counted
from ravine.reports.class_tables import class_rows, confused_pairs
from ravine.reports.contents import Contents
from ravine.runs.run_state import RunState
from ravine.runs.verdict import Verdict

_GAP = 0.05  # of training over validation accuracy, above which more regularisation helps


def summary_lines(contents: Contents) -> list[str]:
    """Returns the most important lines: what goes wrong, and what to do next."""
    lines: list[str] = []
    if contents.evaluation:
        lines += _about_result(contents)
    lines += _about_stop(contents.plan)
    lines += _about_best(contents.evaluation)
    if contents.epochs and contents.state.kind == "ended":
        lines += _about_fit(contents.epochs, contents.verdict)
    leaked = contents.audit.get("leakage", {}).get("images", 0)
    if leaked:
        lines.append(f"{counted(leaked, 'image')} on both sides of the split: see the data below.")
    advice = contents.audit.get("imbalance", {}).get("advice")
    if advice:
        lines.append(f"{advice[0].upper()}{advice[1:]}.")
    return lines


def progress_line(state: RunState) -> str:
    """Returns how far a run without a result has come.

    >>> progress_line(RunState(kind="running", step=34, total_steps=140, left=106.2))
    'step 34 of 140, about 1:46 left'
    """
    if not state.step:
        return "no step is done yet"
    text = f"step {state.step:,}"
    if state.total_steps:
        text += f" of {state.total_steps:,}"
    if state.left is not None:
        text += f", about {clock(state.left)} left"
    if state.accuracy is not None:
        text += f", validation {100 * state.accuracy:.1f} %"
    return text


def clock(seconds: float) -> str:
    """Returns a duration as a clock shows it.

    >>> clock(75.2), clock(4000)
    ('1:15', '1:06:40')
    """
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def _about_result(contents: Contents) -> list[str]:
    if "mean_ap" in contents.evaluation:
        return _about_labels(contents.evaluation)
    pairs = confused_pairs(contents.evaluation, 1)
    weakest = min(class_rows(contents.evaluation), key=lambda row: row.f1 or 0.0)
    lines = []
    if pairs:
        true, predicted, count, share = pairs[0]
        lines.append(
            f"The most frequent confusion: {true} predicted as {predicted}, "
            f"{counted(count, 'image')}, {share:.0%} of the class."
        )
    if weakest.f1 is not None and weakest.f1 < 1:
        lines.append(f"The weakest class is {weakest.name}, with an F1 of {weakest.f1:.3f}.")
    return lines


def _about_labels(evaluation: dict[str, Any]) -> list[str]:
    """Returns the weakest label, and how far the thresholds flatter F1."""
    known = [row for row in evaluation["labels"] if row.get("average_precision") is not None]
    lines = []
    if known:
        weakest = min(known, key=lambda row: row["average_precision"])
        lines.append(
            f"The weakest label is {weakest['name']}, with an average precision of "
            f"{weakest['average_precision']:.3f} on {weakest['count']:,} images."
        )
    facts = evaluation["thresholds"]
    fair = facts.get("macro_f1_cross_fitted")
    if facts.get("chosen_on_these_images") and fair is not None:
        lines.append(
            "Thresholds were chosen on these images, so that F1 is too good: chosen on the other "
            f"half of them, macro F1 is {100 * fair:.1f} %."
        )
    return lines


def _about_stop(plan: dict[str, Any]) -> list[str]:
    """Returns the line about an early end."""
    stop = plan.get("stop") or {}
    try:
        per_epoch = int(plan["steps_per_epoch"])
        ended, planned = int(stop["total_steps"]), int(plan["total_steps"])
        found = int(stop["step"]) / per_epoch
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return []
    return [
        f"Validation stood still at epoch {found:.4g}: the run ended after epoch "
        f"{ended / per_epoch:.4g} of {planned / per_epoch:.4g}."
    ]


def _about_best(evaluation: dict[str, Any]) -> list[str]:
    """Returns the line about better weights along the way."""
    best = evaluation.get("best")
    if best is None or best["is_last"]:
        return []
    score = f"{100 * best['accuracy']:.1f} %"
    said = f"mAP {score} on" if "mean_ap" in evaluation else f"{score} of"
    luck = f"{100 * best['luck']:.1f}"
    chosen = f"Up to {luck} points of it are luck, as it was chosen on these images. "
    return [
        f"The best of {counted(best['evaluations'], 'evaluation')}, after epoch "
        f"{best['epoch']:.4g}: {said} {counted(best['images'], 'validation image')}. "
        f"{chosen if float(luck) else ''}Its weights are in best.safetensors (--weights-of best)."
    ]


def _about_fit(epochs: Sequence[dict[str, Any]], verdict: Verdict) -> list[str]:
    """Returns what the gap advises; nothing where a finding says what is wrong."""
    last = epochs[-1]
    accuracy, training = last.get("accuracy"), last.get("train_accuracy")
    if accuracy is None or training is None or verdict.kind != "good":
        return []
    if training - accuracy > _GAP:
        gap = f"Training accuracy is {100 * (training - accuracy):.1f} points above validation"
        losses = [row["loss"] for row in epochs if row.get("loss") is not None]
        if len(losses) > 1 and losses[-1] == min(losses):
            return [f"{gap}, whose loss still falls: the network does not overfit yet."]
        return [
            f"{gap}: the network overfits; more augmentation (--augment, --mixup 0.2) or "
            "--dropout 0.3 may help, which this run has not tried."
        ]
    if accuracy == 1:
        return ["Every validation image is classified correctly: more of them would show a limit."]
    return [
        "Training and validation accuracy are close: a longer run or a larger network may help."
    ]
