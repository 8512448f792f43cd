"""What the networks have in common: their switches, and layers made by them."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from ravine.core.errors import SettingError
from ravine.nn.activation import Activation, make_activation
from ravine.nn.convolution import Conv2d
from ravine.nn.dropout import Dropout, DropoutForm
from ravine.nn.norm import Norm, make_norm
from ravine.nn.norm_act import NormAct


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """How a network deviates from its paper.

    Attributes:
        activation: what stands behind convolutions.
        norm: what normalises; with none, convolutions get biases in its place.
        dropout: p for all places, or one per stage; empty for the network's own.
        dropout_form: inverted or classic.
        skip: with skip connections; without them the same layers form a plain network.
    """

    activation: Activation = "relu"
    norm: Norm = "batch"
    dropout: Sequence[float] = ()
    dropout_form: DropoutForm = "inverted"
    skip: bool = True

    def dropout_of(self, stage: int, stages: int, *, own: float = 0.0) -> nn.Module:
        """Returns the dropout layer of a stage, counted from 0; the identity for p = 0.

        Raises:
            SettingError: p is given neither once nor once per stage.
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
        """Returns an activation layer; in place where its input is needed nowhere else."""
        return make_activation(self.activation, inplace=inplace)

    def normalise(self, channels: int) -> nn.Module:
        """Returns a normalisation layer of (B, channels, H, W)."""
        return make_norm(self.norm, channels)

    def norm_act(self, channels: int, *, inplace: bool = True) -> NormAct:
        """Returns normalisation and activation of (B, channels, H, W)."""
        return NormAct(self.normalise(channels), self.act(inplace=inplace))

    def convolution(
        self, channels_in: int, channels_out: int, kernel: int, *, stride: int = 1
    ) -> Conv2d:
        """Returns a padded convolution; its bias is left to the norm that belongs to it."""
        return Conv2d(
            channels_in,
            channels_out,
            kernel,
            stride,
            kernel // 2,
            bias=self.norm == "none",
        )


def first_of(branch: nn.Sequential) -> Conv2d:
    """Returns the first convolution of a branch of (convolution, norm), …"""
    first = branch[0]
    assert isinstance(first, Conv2d)
    return first


def finish_branch(
    branch: nn.Sequential,
    dropout: nn.Module,
    last: Conv2d,
    inner: Tensor,
    residual: Tensor | None,
) -> Tensor:
    """Runs a residual branch after its first convolution, norms inside convolutions.

    Args:
        branch: (convolution, norm), (convolution, norm), …
        dropout: the layer before `last`.
        last: the convolution after the branch.
        inner: (B, C, H, W), the first convolution's output.
        residual: (B, D, H', W'), added to the result.

    Returns:
        (B, D, H', W').
    """
    convolutions = [layer for layer in branch if isinstance(layer, Conv2d)]
    norms = [layer for layer in branch if isinstance(layer, NormAct)]
    for norm, convolution in zip(norms[:-1], convolutions[1:], strict=True):
        inner, _ = convolution.norm_act_conv(norm, inner)
    if isinstance(dropout, nn.Identity):
        return last.norm_act_conv(norms[-1], inner, residual)[0]
    return last(dropout(norms[-1](inner)), residual)


def mark_end_of_branch(layer: nn.Module) -> None:
    """Marks the layer that `init_(zero_residual=True)` starts at zero."""
    layer.ends_residual_branch = True  # type: ignore[assignment]


class GlobalMean(nn.Module):
    """Mean over height and width: (B, C, H, W) to (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, C)."""
        return x.mean((2, 3))
