"""Options of a network, and the layers that follow from them."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from ravine.core.errors import SettingError
from ravine.nn.activation import make_activation
from ravine.nn.convolution import Conv2d
from ravine.nn.dropout import Dropout
from ravine.nn.layer_names import Activation, DropoutForm, Norm
from ravine.nn.norm import make_norm
from ravine.nn.norm_act import NormAct


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Deviations of a network from its paper.

    Attributes:
        activation: activation function after each convolution or norm.
        norm: normalisation layer; with none, convolutions get biases instead.
        dropout: p in [0, 1), one value or one per stage; empty for the network's own.
        dropout_form: inverted or classic.
        skip: skip connections; without them the same layers form a plain network.
    """

    activation: Activation = "relu"
    norm: Norm = "batch"
    dropout: Sequence[float] = ()
    dropout_form: DropoutForm = "inverted"
    skip: bool = True

    def dropout_of(self, stage: int, stages: int, *, own: float = 0.0) -> nn.Module:
        """Returns the dropout layer of a stage, counted from 0; the identity for p = 0.

        Raises:
            SettingError: p has neither one value nor one per stage.
        """
        if len(self.dropout) not in (0, 1, stages):
            raise SettingError(
                f"dropout has {len(self.dropout)} values; give one, or one for each of the "
                f"{stages} stages"
            )
        given = self.dropout or (own,)
        p = given[stage] if len(given) == stages else given[0]
        return Dropout(p, self.dropout_form) if p > 0 else nn.Identity()

    def act(self, *, inplace: bool = True) -> nn.Module:
        """Returns an activation layer for any shape; in place if nothing else needs its input."""
        return make_activation(self.activation, inplace=inplace)

    def normalise(self, channels: int) -> nn.Module:
        """Returns a normalisation layer: (B, channels, H, W) to the same shape."""
        return make_norm(self.norm, channels)

    def norm_act(self, channels: int, *, inplace: bool = True) -> NormAct:
        """Returns normalisation and activation: (B, channels, H, W) to the same shape."""
        return NormAct(self.normalise(channels), self.act(inplace=inplace))

    def convolution(
        self, channels_in: int, channels_out: int, kernel: int, *, stride: int = 1
    ) -> Conv2d:
        """Returns a padded convolution, with a bias only where no norm follows.

        (B, channels_in, H, W) to (B, channels_out, H/stride, W/stride), rounded up.
        """
        return Conv2d(
            channels_in,
            channels_out,
            kernel,
            stride,
            kernel // 2,
            bias=self.norm == "none",
        )
