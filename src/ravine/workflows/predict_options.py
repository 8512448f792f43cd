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
        answers: of several labels in columns: `probabilities`, or `labels` for 0 and 1; `auto` for
            the first.
    """

    positive: str | None = None
    top: int | None = None
    missing: str = "refuse"
    answers: str = "auto"

    def check(self, like: Path | None) -> None:
        """Raises `SettingError` for values that cannot work, before a network is read.

        Args:
            like: the sample submission, or None.
        """
        if self.missing not in ("refuse", "prior"):
            raise SettingError(f"--missing {self.missing[:40]!r}: takes refuse or prior")
        if self.answers not in ("auto", "probabilities", "labels"):
            raise SettingError(
                f"--answers {self.answers[:40]!r}: takes auto, probabilities or labels"
            )
        for name, given in (
            ("missing prior", self.missing == "prior"),
            ("positive", self.positive is not None),
            ("top", self.top is not None),
            ("answers", self.answers != "auto"),
        ):
            if given and like is None:
                raise SettingError(f"--{name} has no effect without --like; leave it out")
        if self.positive is not None and self.top is not None:
            raise SettingError("--positive and --top exclude each other; leave one of them out")

    def refuse_without_effect(self, *, several: bool) -> None:
        """Raises `SettingError` for an option that the network's answers give no meaning.

        Args:
            several: whether the network answers with several labels an image.
        """
        if several and self.top is not None:
            raise SettingError(
                "--top has no effect: the network answers with the labels above their thresholds; "
                "leave it out, or take --threshold"
            )
        if not several and self.answers != "auto":
            raise SettingError(
                "--answers has no effect: the network answers with one class; leave it out"
            )


AS_THE_SAMPLE = FormOptions()
