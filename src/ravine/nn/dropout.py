"""Dropout in both its forms, and the way from one to the other.

Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, JMLR 2014.

    classic     learning: off with probability p;            application: times (1−p)
    inverted    learning: off with probability p, /(1−p);    application: nothing
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ravine.core.errors import SettingError
from ravine.core.validation import check_choice, check_range

DropoutForm = Literal["inverted", "classic"]

# What commutes with multiplication by a positive factor, so that the factor may pass through
# to the layer that follows.
_HOMOGENEOUS = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.Identity,
    nn.Flatten,
    nn.AvgPool2d,
    nn.MaxPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
)
_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@final
class Dropout(nn.Module):
    """Switches each element off with probability p while learning.

    Args:
        p: in [0, 1).
        form: inverted scales while learning, classic scales in application.

    Raises:
        SettingError: p is not in [0, 1), or the form is not known.
    """

    def __init__(self, p: float = 0.5, form: DropoutForm = "inverted") -> None:
        super().__init__()
        check_range("dropout", p, low=0.0, high=1.0, high_open=True)
        check_choice("dropout_form", form, ["inverted", "classic"])
        self.p = p
        self.form = form

    def forward(self, x: Tensor) -> Tensor:
        """Returns `x`, of any shape, with elements switched off or scaled."""
        if self.form == "inverted":
            return F.dropout(x, self.p, self.training)
        if self.training:
            return x * torch.empty_like(x).bernoulli_(1 - self.p)
        return x * (1 - self.p)

    def extra_repr(self) -> str:
        """Returns p and form, as `print(model)` shows them."""
        return f"p={self.p}, form={self.form}"


@torch.no_grad()
def convert_dropout(model: nn.Module, form: DropoutForm) -> int:
    """Turns every `Dropout` of a trained model into `form` without changing its outputs.

    In application, inverted to classic divides the weights that follow by (1−p), classic to
    inverted multiplies them. A dropout must stand in an `nn.Sequential`, or in a block that
    names what follows it (`dropout_followers`); only layers that a factor passes through may
    stand between.

    Returns:
        The number of dropouts that were converted.

    Raises:
        SettingError: no linear layer or convolution follows a dropout, or the one that does is
            used in other places too; the model is unchanged.
    """
    check_choice("dropout_form", form, ["inverted", "classic"])
    pairs = [
        (dropout, follower)
        for dropout, follower in _with_followers(model)
        if dropout.form != form and dropout.p > 0
    ]
    found = {id(dropout) for dropout, _ in pairs}
    for name, module in model.named_modules():
        to_convert = isinstance(module, Dropout) and module.p > 0 and module.form != form
        if to_convert and id(module) not in found:
            raise SettingError(
                f"dropout {name!r} cannot be converted: no linear layer or convolution "
                "follows it that would take up the factor"
            )
    _refuse_shared(model, [follower for _, follower in pairs])
    for dropout, follower in pairs:
        keep = 1 - dropout.p
        follower.weight.mul_(1 / keep if form == "classic" else keep)
        dropout.form = form
    for module in model.modules():
        if isinstance(module, Dropout):
            module.form = form
    return len(pairs)


def _refuse_shared(model: nn.Module, followers: Sequence[nn.Linear]) -> None:
    uses: Counter[int] = Counter()
    for _, module in model.named_modules(remove_duplicate=False):
        uses.update(id(parameter) for parameter in module.parameters(recurse=False))
    for follower in followers:
        if uses[id(follower.weight)] > 1:
            raise SettingError(
                "a dropout cannot be converted: the weights that follow it are used in several "
                "places, and would take up its factor in all of them"
            )


def _with_followers(model: nn.Module) -> list[tuple[Dropout, nn.Linear]]:
    pairs = []
    for module in model.modules():
        chains: list[Sequence[nn.Module]] = []
        if isinstance(module, nn.Sequential):
            chains.append(list(module))
        named = getattr(module, "dropout_followers", None)
        if named is not None:
            chains.append([getattr(module, name) for name in named])
        for chain in chains:
            pairs += [
                (layer, follower)
                for place, layer in enumerate(chain)
                if isinstance(layer, Dropout)
                and (follower := _follower(chain[place + 1 :])) is not None
            ]
    return pairs


def _follower(rest: Sequence[nn.Module]) -> nn.Linear | None:
    for layer in rest:
        if isinstance(layer, _LINEAR):
            return layer  # type: ignore[return-value]
        if not isinstance(layer, _HOMOGENEOUS):
            return None
    return None
