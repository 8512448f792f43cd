"""Settings of the network."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from ravine.core.allowed_code import NO_CODE, AllowedCode
from ravine.core.errors import SettingError
from ravine.core.lazy import lazy_module
from ravine.core.settings import Settings
from ravine.core.validation import check_choice, check_range
from ravine.models.table import (
    MODELS,
    check_name,
    family_of,
    make_network,
    refuse_without_effect,
)
from ravine.nn.layer_names import SCHEMES, Activation, DropoutForm, Norm

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ravine.models import model_options
else:
    torch = lazy_module("torch")
    model_options = lazy_module("ravine.models.model_options")


def _numbers(value: Any) -> Any:
    """Takes `0.3`, `0.1,0.2,0.3`, a number or a list."""
    if isinstance(value, str):
        try:
            return tuple(float(part) for part in value.split(",") if part.strip())
        except ValueError:
            raise SettingError(
                f"dropout {value[:60]!r} is no number; write --dropout 0.3, or 0.1,0.2,0.3 by stage"
            ) from None
    return (value,) if isinstance(value, int | float) else value


class ModelSettings(Settings):
    """The network and its deviations from its paper."""

    model: str = Field(default="auto", description=f"{', '.join(MODELS)}, or auto.")

    activation: Activation = "relu"
    """Activation function after each convolution or norm."""

    norm: Norm = "batch"
    """Normalisation layer; with none, convolutions get biases."""

    dropout: Annotated[tuple[float, ...], BeforeValidator(_numbers)] = ()
    """p of dropout: one number, or one per stage (0.1,0.2,0.3); by default the network's own."""

    dropout_form: DropoutForm = "inverted"
    """Scales in training mode (inverted), or in evaluation mode (classic)."""

    skip: bool = True
    """Skip connections; without them the plain network of the same layers."""

    init: str = "auto"
    """Initial weights: xavier, xavier-normal, he, he-out, orthogonal, lsuv, torch, or auto."""

    zero_init: bool = Field(default=False)
    """Start the last norm of each residual branch at zero (pre-activation: its convolution)."""

    @model_validator(mode="after")
    def _known_network(self) -> Self:
        if self.model != "auto":
            check_name(self.model)
        check_choice("init", self.init, SCHEMES)
        for p in self.dropout:
            check_range("dropout", p, low=0.0, high=1.0, high_open=True)
        if self.zero_init and not self.skip:
            raise SettingError(
                "zero_init needs skip connections: leave out --no-skip or --zero-init"
            )
        if self.zero_init and self.model.startswith("alexnet"):
            raise SettingError(f"zero_init: {self.model} has no residual branches to start at zero")
        return self

    def check_options(self) -> None:
        """Raises `SettingError` for an option that the network would silently ignore."""
        if self.model != "auto":
            refuse_without_effect(
                self.model,
                norm=self.norm,
                dropout=self.dropout,
                dropout_form=self.dropout_form,
                skip=self.skip,
            )

    def check_network(self) -> None:
        """Raises `SettingError` unless name, depth and options fit; draws no weights."""
        self.check_options()
        if self.model == "auto":
            return
        if family_of(self.model).build is not None:
            with torch.device("meta"):
                self.build_model(classes=2, channels=3, image_size=64)

    def build_model(
        self,
        *,
        classes: int,
        channels: int,
        image_size: int,
        code: AllowedCode = NO_CODE,
    ) -> "nn.Module":
        """Returns the network with the weights of its constructors.

        Args:
            classes: K.
            channels: of the images.
            image_size: pixels a side.
            code: the `module:callable`s that may be imported; none unless they are named.

        Raises:
            CodeRefusedError: the network is a `module:callable` that `code` does not name.
            SettingError: the name, the depth or an option does not fit.
        """
        return make_network(
            self.model,
            classes=classes,
            channels=channels,
            image_size=image_size,
            options=self._options(),
            code=code,
        )

    def _options(self) -> "model_options.ModelOptions":
        return model_options.ModelOptions(
            activation=self.activation,
            norm=self.norm,
            dropout=self.dropout,
            dropout_form=self.dropout_form,
            skip=self.skip,
        )


def build(
    name: str,
    *,
    classes: int,
    channels: int = 3,
    image_size: int = 32,
    activation: Activation = "relu",
    norm: Norm = "batch",
    dropout: float | Sequence[float] = (),
    dropout_form: DropoutForm = "inverted",
    skip: bool = True,
) -> "nn.Module":
    """Returns a network: images (B, channels, image_size, image_size) to logits (B, classes).

    Args:
        name: such as wrn-16-4; see `ravine models`.
        classes: K ≥ 2.
        channels: of the images.
        image_size: pixels a side; the stem depends on it.
        activation: activation function after each convolution or norm.
        norm: batch, group or none.
        dropout: p, or one p per stage; empty for the network's own.
        dropout_form: inverted or classic.
        skip: skip connections.

    Raises:
        SettingError: a name or value does not fit; the message says what would.

    >>> sum(p.numel() for p in build("wrn-16-4", classes=10).parameters())
    2748890
    """
    settings = ModelSettings.of(
        {
            "model": name,
            "activation": activation,
            "norm": norm,
            "dropout": dropout,
            "dropout_form": dropout_form,
            "skip": skip,
        }
    )
    code = AllowedCode.of(typed=[name])
    return settings.build_model(
        classes=classes, channels=channels, image_size=image_size, code=code
    )
