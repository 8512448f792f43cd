"""A curve in a terminal: eight dots a character (Unicode's braille patterns)."""

import math
from collections.abc import Sequence

# The bit of each dot: columns from the left, rows from the top.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def braille_curve(values: Sequence[float], *, width: int, height: int) -> list[str]:
    """Returns a curve as lines of characters, its largest value in the first line.

    Args:
        values: of equal distance; NaN where one is not known.
        width: characters of a line.
        height: lines.

    >>> braille_curve([0.0, 1.0, 2.0, 3.0], width=2, height=1)
    ['⡠⠊']
    """
    known = [v for v in values if math.isfinite(v)]
    if not known or width < 1 or height < 1:
        return [" " * width] * height
    low, high = min(known), max(known)
    cells = [[0] * width for _ in range(height)]
    before: int | None = None
    for column in range(2 * width):
        part = _part(values, column, 2 * width)
        inside = [v for v in part if math.isfinite(v)]
        if not inside:
            before = None
            continue
        rows = [_row(v, low, high, 4 * height) for v in (min(inside), max(inside))]
        reach = [*rows, *([before] if before is not None and len(part) > 1 else [])]
        for row in range(min(reach), max(reach) + 1):
            cells[row // 4][column // 2] |= _DOTS[column % 2][row % 4]
        before = _row(inside[-1], low, high, 4 * height)
    return ["".join(chr(0x2800 + cell) if cell else " " for cell in line) for line in cells]


def _part(values: Sequence[float], column: int, columns: int) -> Sequence[float]:
    start = column * len(values) // columns
    return values[start : max(start + 1, (column + 1) * len(values) // columns)]


def _row(value: float, low: float, high: float, rows: int) -> int:
    share = (value - low) / (high - low) if high > low else 0.5
    return round((1 - share) * (rows - 1))


def thinned(values: Sequence[float], most: int) -> list[float]:
    """Returns at most `most` values, each the mean of the finite ones of its part."""
    if len(values) <= most:
        return list(values)
    found = []
    for k in range(most):
        known = [v for v in _part(values, k, most) if math.isfinite(v)]
        found.append(sum(known) / len(known) if known else math.nan)
    return found
