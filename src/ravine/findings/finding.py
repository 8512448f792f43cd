"""Findings: what is wrong, why, and what to change; and symptoms merged under their cause.

Checks (`ravine.checks`) and detectors yield findings. All that one cause brings about is one
finding: a table lists for each cause the symptoms that it explains, the cause that is believed
first above (`checks/check_table.py`; of detectors alone `detectors.py`). A symptom that a present
cause explains becomes part of that finding.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, final, overload

from ravine.core.html_table import html_table

Severity = Literal["critical", "warning", "note"]
_SEVERITIES: Mapping[str, int] = {"critical": 0, "warning": 1, "note": 2}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        severity: critical: training cannot work as it is; warning: it is worse for it; note.
        code: short name of the cause, such as rate-too-high.
        seen: the observation, with its numbers.
        cause: why.
        cure: what to change.
        layer: the first layer to deviate, in the order of the network.
        step: the first step to deviate; 0 before training.
        evidence: the numbers behind it.
        changes: settings of a recipe that are the cure, where there are any; "*0.1" is a factor.
        symptoms: codes of further findings that follow from this cause.
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
        position = f" [{', '.join(where)}]" if where else ""
        also = f" (explains: {', '.join(self.symptoms)})" if self.symptoms else ""
        text = f"{self.seen}. {self.cause}. → {self.cure}{also}"
        return f"{self.severity} {self.code}{position}: {text}"

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
@dataclass(frozen=True, slots=True, repr=False)
class Findings(Sequence[Finding]):
    """Findings, the most severe first; `print` shows one a line.

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

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        rows = [(f.severity, f.code, f.seen, f.cause, f.cure) for f in self.items]
        title = "Findings" if rows else "nothing found"
        return html_table(title, ("severity", "finding", "seen", "cause", "cure"), rows)

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes, the most severe first."""
        return tuple(item.code for item in self.items)

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """Returns the findings of one severity."""
        return tuple(item for item in self.items if item.severity == severity)


def merge(found: Iterable[Finding], explains: Mapping[str, tuple[str, ...]]) -> Findings:
    """Returns one finding per cause, critical ones first, causes before their symptoms.

    Of several findings with one code the most severe stays, and of equal ones the first, with the
    earliest step, and with the layer of the other where it names none itself. A symptom
    that a cause explains is named in that cause's finding, which takes over its severity.

    Args:
        found: in any order.
        explains: symptoms of each cause, the cause that is believed first above; a code that is
            not listed comes last and explains nothing.
    """
    rank = {code: index for index, code in enumerate(explains)}
    best: dict[str, Finding] = {}
    for item in found:
        held = best.get(item.code)
        best[item.code] = item if held is None else _joined(held, item)
    kept: list[Finding] = []
    for code in sorted(best, key=lambda c: rank.get(c, len(rank))):
        item = best[code]
        at = next((n for n, k in enumerate(kept) if _explains(k, item, explains)), None)
        if at is None:
            kept.append(item)
        else:
            cause = kept[at]
            severity = min(cause.severity, item.severity, key=_SEVERITIES.__getitem__)
            kept[at] = replace(
                cause,
                severity=severity,
                symptoms=tuple(dict.fromkeys((*cause.symptoms, *item.symptoms, code))),
            )
    return Findings(tuple(sorted(kept, key=lambda k: _SEVERITIES[k.severity])))


def as_notes(found: Findings, causes: Mapping[str, tuple[str, str]]) -> Findings:
    """Returns findings of which some are notes, with another cause and cure.

    Args:
        found: in any order.
        causes: by code, cause and cure of what becomes a note.
    """
    items = [
        replace(one, severity="note", cause=causes[one.code][0], cure=causes[one.code][1])
        if one.code in causes
        else one
        for one in found
    ]
    return Findings(tuple(sorted(items, key=lambda k: _SEVERITIES[k.severity])))


def _joined(held: Finding, item: Finding) -> Finding:
    if _SEVERITIES[item.severity] < _SEVERITIES[held.severity]:
        held, item = item, held
    steps = [one.step for one in (held, item) if one.step is not None]
    return replace(held, step=min(steps, default=None), layer=held.layer or item.layer)


def _explains(cause: Finding, item: Finding, explains: Mapping[str, tuple[str, ...]]) -> bool:
    return cause.severity != "note" and item.code in explains.get(cause.code, ())
