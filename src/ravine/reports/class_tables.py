"""Tables of a report by class: precision and recall, and the pairs that are confused."""

from dataclasses import dataclass
from typing import Any

from ravine.core.wilson_interval import wilson_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRow:
    """Precision, recall and F1 of one class, with 95 % intervals."""

    name: str
    count: int
    recall: float | None
    recall_interval: tuple[float, float]
    precision: float | None
    precision_interval: tuple[float, float]
    f1: float | None


def class_rows(evaluation: dict[str, Any]) -> list[ClassRow]:
    """Returns recall, precision and F1 of each class, with 95 % intervals of the first two."""
    table = evaluation["confusion"]
    rows = []
    for index, name in enumerate(evaluation["classes"]):
        hits, count = table[index][index], sum(table[index])
        predicted = sum(row[index] for row in table)
        recall = hits / count if count else None
        precision = hits / predicted if predicted else None
        f1 = 2 * hits / (count + predicted) if count + predicted else None
        rows.append(
            ClassRow(
                name=name,
                count=count,
                recall=recall,
                recall_interval=wilson_interval(hits, count),
                precision=precision,
                precision_interval=wilson_interval(hits, predicted),
                f1=f1,
            )
        )
    return rows


def confused_pairs(evaluation: dict[str, Any], most: int = 10) -> list[tuple[str, str, int, float]]:
    """Returns (true, predicted, images, share of the true class), the most frequent first."""
    names, table = evaluation["classes"], evaluation["confusion"]
    pairs = [
        (names[a], names[b], count, count / sum(row))
        for a, row in enumerate(table)
        for b, count in enumerate(row)
        if a != b and count
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:most]
