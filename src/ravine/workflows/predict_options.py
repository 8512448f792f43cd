"""What is wrong with options of `ravine predict`, before a network is read; loads no torch."""

from pathlib import Path

from ravine.core.errors import SettingError


def check_form(
    like: Path | None, *, missing: str, positive: str | None, top: int | None = None
) -> None:
    """Raises `SettingError` if `missing` is unknown, or an option needs a sample submission."""
    if missing not in ("refuse", "prior"):
        raise SettingError(f"--missing {missing[:40]!r}: takes refuse or prior")
    for name, given in (
        ("missing prior", missing == "prior"),
        ("positive", positive is not None),
        ("top", top is not None),
    ):
        if given and like is None:
            raise SettingError(f"--{name} has no effect without --like; leave it out")
    if positive is not None and top is not None:
        raise SettingError("--positive and --top exclude each other; leave one of them out")
