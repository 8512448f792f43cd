"""What is wrong, why, and what to change: findings, and how symptoms are put under their cause.

A rule (`checks*`, `causes*`) says what it saw. What one cause brings about is one finding:
`EXPLAINS` lists for each cause the symptoms that follow from it, in the order in which causes
are believed; a symptom that a present cause explains becomes part of that finding's text.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, final, overload

Severity = Literal["critical", "warning", "note"]
_RANK: Mapping[str, int] = {"critical": 0, "warning": 1, "note": 2}

_START = ("exploding-at-start", "vanishing-at-start", "initial-loss-high")
_UNITS = ("dead-units", "saturated-units", "units-died", "units-saturated")
_RATE = ("rate-too-high", "rate-too-low")
_RUN = (
    "not-finite",
    "diverged",
    "exploding-gradients",
    "vanishing-gradients",
    "plateau",
    "underfitting",
)
_LEARNING = ("zero-gradient", "cannot-overfit", *_RATE, *_RUN)

# Cause -> symptoms, the cause that is believed first above. What is not listed explains nothing.
EXPLAINS: Mapping[str, tuple[str, ...]] = {
    "inputs-not-finite": (*_START, *_UNITS, *_LEARNING, "labels-unrelated", "overfitting"),
    "labels-out-of-range": _LEARNING,
    "inputs-alike": (*_START, *_UNITS, *_LEARNING, "labels-unrelated", "not-shuffled"),
    "loss-of-wrong-sign": (*_LEARNING, "initial-loss-high", "overfitting"),
    "softmax-twice": (*_LEARNING, *_START, "activation-on-logits"),
    "loss-expects-log-probabilities": (*_LEARNING, *_START, "overfitting"),
    "activation-on-logits": (*_LEARNING, *_UNITS, "initial-loss-high"),
    "step-does-not-update": (*_LEARNING, "not-in-optimizer", "gradients-not-cleared"),
    "no-gradient": (*_LEARNING, "not-in-optimizer", "vanishing-at-start"),
    "not-in-optimizer": (*_LEARNING,),
    "gradients-not-cleared": (*_RATE, *_RUN, "units-died", "units-saturated", "overfitting"),
    "eval-mode": (*_LEARNING, *_START, "norm-statistics-disagree", "overfitting"),
    "inputs-not-scaled": (*_START, *_UNITS, *_LEARNING, "overfitting"),
    "symmetric-weights": (*_START, *_UNITS, *_LEARNING),
    "dead-units": (*_LEARNING, *_START, "units-died"),
    "saturated-units": (*_START, *_LEARNING, "units-saturated", "overfitting"),
    "dropout-too-strong": (*_START, "underfitting", "plateau", "rate-too-low", "cannot-overfit"),
    "exploding-at-start": (*_LEARNING, *_UNITS[2:], "initial-loss-high", "overfitting"),
    "vanishing-at-start": (*_LEARNING, *_UNITS[2:]),
    "not-shuffled": (*_RATE, *_RUN, "norm-statistics-disagree", "overfitting", "imbalance"),
    "labels-unrelated": ("label-noise", *_RATE, *_RUN, "overfitting"),
    "zero-gradient": ("cannot-overfit", "plateau", "underfitting"),
    "decay-too-strong": ("underfitting", "plateau", "rate-too-low", "vanishing-gradients"),
    "rate-too-high": ("units-died", "units-saturated", *_RUN, "overfitting"),
    "norm-statistics-disagree": ("overfitting",),
    "label-noise": ("overfitting", "underfitting", "plateau"),
    "exploding-gradients": ("not-finite", "diverged", "plateau"),
    "not-finite": ("diverged", "units-died"),
    "diverged": ("units-died", "units-saturated", "plateau", "underfitting", "overfitting"),
    "initial-loss-high": ("plateau",),
    "vanishing-gradients": ("plateau", "underfitting", "rate-too-low"),
    "units-died": ("plateau", "underfitting"),
    "units-saturated": ("plateau", "underfitting"),
    "cannot-overfit": ("underfitting", "plateau"),
    "rate-too-low": ("underfitting", "plateau"),
    "imbalance": (),
    "overfitting": (),
    "underfitting": ("plateau",),
    "plateau": (),
}
_ORDER = {code: place for place, code in enumerate(EXPLAINS)}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        severity: critical: training cannot work as it is; warning: it is worse for it; note.
        code: short name of the cause, such as rate-too-high.
        seen: what was seen, with its numbers.
        cause: why.
        cure: what to change.
        layer: the first layer to deviate, in the order of the network.
        step: the first step to deviate; 0 before training.
        evidence: the numbers behind it.
        changes: settings of a recipe that are the cure, where it is one; ×0.1 stands as "*0.1".
        symptoms: codes that were seen too and follow from this cause.
    """

    severity: Severity
    code: str
    seen: str
    cause: str
    cure: str
    layer: str | None = None
    step: int | None = None
    evidence: Mapping[str, float] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    symptoms: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = [f"layer {self.layer}"] if self.layer else []
        where += [f"step {self.step}"] if self.step else []
        place = f" [{', '.join(where)}]" if where else ""
        also = f" (behind: {', '.join(self.symptoms)})" if self.symptoms else ""
        return f"{self.severity} {self.code}{place}: {self.seen}. {self.cause}. → {self.cure}{also}"

    def row(self) -> dict[str, Any]:
        """Returns the line of findings.jsonl."""
        return {
            "severity": self.severity,
            "code": self.code,
            "step": self.step,
            "layer": self.layer,
            "text": self.seen,
            "cause": self.cause,
            "cure": self.cure,
            "evidence": {k: v if math.isfinite(v) else None for k, v in self.evidence.items()},
            "changes": dict(self.changes),
            "symptoms": list(self.symptoms),
        }

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Self:
        """Returns the finding of a line of findings.jsonl."""
        evidence = {k: math.nan if v is None else v for k, v in row["evidence"].items()}
        same = ("severity", "code", "cause", "cure", "layer", "step", "changes")
        return cls(
            **{name: row[name] for name in same},
            seen=row["text"],
            evidence=evidence,
            symptoms=tuple(row["symptoms"]),
        )


@final
@dataclass(frozen=True, slots=True)
class Findings(Sequence[Finding]):
    """Findings in the order of their weight; `print` shows one a line.

    >>> print(Findings(()))
    nothing found
    """

    items: tuple[Finding, ...]

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Finding]: ...
    def __getitem__(self, index: int | slice) -> Finding | Sequence[Finding]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.items)

    def __str__(self) -> str:
        return "\n".join(str(item) for item in self.items) or "nothing found"

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes, the weightiest first."""
        return tuple(item.code for item in self.items)

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """Returns the findings of one severity."""
        return tuple(item for item in self.items if item.severity == severity)


def merge(found: Iterable[Finding]) -> Findings:
    """Returns one finding per cause, critical ones first, causes before what they bring about.

    Of several findings with one code the weightiest stays, and of equal ones the first, with the
    earliest step, and with the layer of the other where it names none itself. A symptom
    that a cause explains is named in that cause's finding, which takes over its severity.
    """
    best: dict[str, Finding] = {}
    for item in found:
        held = best.get(item.code)
        best[item.code] = item if held is None else _together(held, item)
    kept: list[Finding] = []
    for code in sorted(best, key=lambda c: _ORDER.get(c, len(_ORDER))):
        item = best[code]
        at = next((n for n, k in enumerate(kept) if _explains(k, item)), None)
        if at is None:
            kept.append(item)
        else:
            cause = kept[at]
            severity = min(cause.severity, item.severity, key=_RANK.__getitem__)
            kept[at] = replace(cause, severity=severity, symptoms=(*cause.symptoms, code))
    return Findings(tuple(sorted(kept, key=lambda k: _RANK[k.severity])))


def _together(held: Finding, item: Finding) -> Finding:
    if _RANK[item.severity] < _RANK[held.severity]:
        held, item = item, held
    steps = [one.step for one in (held, item) if one.step is not None]
    return replace(held, step=min(steps, default=None), layer=held.layer or item.layer)


def _explains(cause: Finding, item: Finding) -> bool:
    return cause.severity != "note" and item.code in EXPLAINS.get(cause.code, ())
