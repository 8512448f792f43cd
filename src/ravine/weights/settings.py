"""Settings of a run that starts from trained weights; loads no torch."""

from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from ravine.core.errors import SettingError
from ravine.core.settings import Settings

_WORDS = ("auto", "none", "backbone")


class WeightSettings(Settings):
    """Where training starts, and what of it is trained."""

    weights: str | None = None
    """Start from trained weights: a run folder, FILE.safetensors, timm/NAME, a folder as on the
    hub, or none; by default fresh weights."""

    freeze: str = "auto"
    """What stays as the weights have it: none, backbone (all but the head), or N, the first N
    layers; auto: what a tenth of the budget finds to be best, none with epochs."""

    layer_decay: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    """Factor of the learning rate from each layer to the one before it; by default 1, and with
    weights such that the first layer has a tenth of the last one's."""

    views: float | None = Field(default=None, gt=0, le=64, allow_inf_nan=False)
    """Augmented views of each image whose features are kept, with a frozen backbone, or a share
    below 1 of the images; by default as many as a fifth of the budget allows, up to 8; with
    epochs one, the images as they are."""

    @field_validator("weights", mode="before")
    @classmethod
    def _none_is_fresh(cls, value: Any) -> Any:
        return None if isinstance(value, str) and value.strip().lower() == "none" else value

    @field_validator("freeze", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return str(value) if type(value) is int else value

    @field_validator("freeze")
    @classmethod
    def _known_freeze(cls, value: str) -> str:
        value = value.strip().lower()
        if value not in _WORDS and not (value.isascii() and value.isdecimal() and int(value) > 0):
            raise SettingError(
                f"freeze {value[:60]!r} is neither none, backbone nor a number of layers such as 4"
            )
        return value

    @field_validator("views")
    @classmethod
    def _whole_views(cls, value: float | None) -> float | None:
        if value is not None and value > 1 and value != int(value):
            raise SettingError(
                f"views {value:g}: a whole number of views such as {int(value)}, or a share of the "
                "images below 1"
            )
        return value

    @model_validator(mode="after")
    def _frozen_weights_are_trained(self) -> Self:
        if self.weights is None and self.freeze not in ("auto", "none"):
            raise SettingError(
                f"freeze {self.freeze} keeps layers as they are, and fresh ones are random; name "
                "trained weights with --weights"
            )
        if self.weights is not None and not self.weights.strip():
            raise SettingError("weights is empty; name a run, a .safetensors file or timm/NAME")
        return self
