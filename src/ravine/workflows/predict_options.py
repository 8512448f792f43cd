"""What is wrong with options of `ravine predict`, before a network is read; loads no torch."""

from pathlib import Path

from ravine.core.errors import SettingError


def check_form(
    like: Path | None, *, missing: str, positive: str | None, answers: str = "auto"
) -> None:
    """Raises `SettingError` if an option is unknown, or needs a sample submission."""
    if answers not in ("auto", "probabilities", "labels"):
        raise SettingError(f"--answers {answers[:40]!r}: takes auto, probabilities or labels")
    if missing not in ("refuse", "prior"):
        raise SettingError(f"--missing {missing[:40]!r}: takes refuse or prior")
    needing = (
        ("missing prior", missing == "prior"),
        ("positive", positive is not None),
        ("answers", answers != "auto"),
    )
    for name, given in needing:
        if given and like is None:
            raise SettingError(f"--{name} has no effect without --like; leave it out")
