"""The forms of weight decay by name; loads no torch."""

from typing import Literal

Decay = Literal["decoupled", "coupled"]
