"""How a sample submission is filled, and what is wrong with such options; loads no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import final

from ravine.core.errors import SettingError


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FormOptions:
    """What the user says of the form of a submission.

    Attributes:
        positive: the class whose probability the sample's one column takes; None to choose.
        top: how many of the likeliest classes the sample's one column names; None as the sample.
        missing: `refuse`, or `prior`: the training shares answer for an id without an image.
    """

    positive: str | None = None
    top: int | None = None
    missing: str = "refuse"

    def check(self, like: Path | None) -> None:
        """Raises `SettingError` for values that cannot work, before a network is read.

        Args:
            like: the sample submission, or None.
        """
        if self.missing not in ("refuse", "prior"):
            raise SettingError(f"--missing {self.missing[:40]!r}: takes refuse or prior")
        for name, given in (
            ("missing prior", self.missing == "prior"),
            ("positive", self.positive is not None),
            ("top", self.top is not None),
        ):
            if given and like is None:
                raise SettingError(f"--{name} has no effect without --like; leave it out")
        if self.positive is not None and self.top is not None:
            raise SettingError("--positive and --top exclude each other; leave one of them out")


AS_THE_SAMPLE = FormOptions()
