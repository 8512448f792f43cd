"""Checks of settings, with one wording for all messages."""

import math
import re
from collections.abc import Iterable

from ravine.core.errors import SettingError, unknown


def check_range(
    name: str,
    value: float,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    low_open: bool = False,
    high_open: bool = False,
) -> None:
    """Raises `SettingError` unless `value` lies between `low` and `high`.

    Args:
        name: of the setting, as the user writes it.
        value: the value; NaN is always refused.
        low: least value.
        high: greatest value.
        low_open: `low` itself is refused.
        high_open: `high` itself is refused.

    >>> check_range("dropout", 0.3, low=0.0, high=1.0, high_open=True)
    >>> check_range("dropout", 1.5, low=0.0, high=1.0, high_open=True)
    Traceback (most recent call last):
    ...
    ravine.core.errors.SettingError: dropout must be in [0, 1), got 1.5
    """
    above = value > low if low_open else value >= low
    below = value < high if high_open else value <= high
    if not (above and below):
        left, right = "(" if low_open or low == -math.inf else "[", ")" if high_open else "]"
        if high == math.inf:
            right = ")"
        raise SettingError(f"{name} must be in {left}{low:g}, {high:g}{right}, got {_shown(value)}")


def check_text(name: str, text: str) -> None:
    """Raises `SettingError` for text that is no valid UTF-8, or that no path can hold.

    >>> check_text("labels", "train.csv")
    """
    if "\0" in text:
        raise SettingError(f"{name}: {text[:60]!r} holds a zero character, which no path can")
    try:
        text.encode()
    except UnicodeEncodeError:
        shown = text[:60].encode(errors="replace").decode()
        raise SettingError(f"{name}: {shown!r} is no valid UTF-8; rename it") from None


def check_choice(name: str, value: str, known: Iterable[str]) -> None:
    """Raises `SettingError` with the nearest names unless `value` is one of `known`.

    >>> check_choice("norm", "batch", ["batch", "group", "none"])
    """
    names = list(known)
    if value not in names:
        raise unknown(name, value, names)


def _shown(value: float) -> str:
    try:
        return f"{value:g}"
    except OverflowError:
        return "a number of hundreds of digits"


def check_device(name: str) -> None:
    """Raises `SettingError` unless `name` is a kind of device that Ravine computes on.

    >>> check_device("cuda:1")
    >>> check_device("mps")
    Traceback (most recent call last):
    ...
    ravine.core.errors.SettingError: device 'mps' is not known; use auto, cpu, cuda or cuda:N
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise SettingError(f"device {name!r} is not known; use auto, cpu, cuda or cuda:N")
