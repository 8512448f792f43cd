"""Dropout in both its forms, and the conversion between them.

Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, JMLR 2014.

    classic     training: off with probability p;            evaluation: times (1−p)
    inverted    training: off with probability p, /(1−p);    evaluation: nothing
"""

from collections import Counter
from collections.abc import Sequence
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ravine.core.errors import SettingError
from ravine.core.validation import check_choice, check_range
from ravine.nn.layer_names import DropoutForm

# Layers that commute with multiplication by a positive factor: the factor passes to the next.
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
    """Sets each element to zero with probability p in training mode.

    Args:
        p: in [0, 1).
        form: inverted scales in training mode, classic in evaluation mode.

    Raises:
        SettingError: p is not in [0, 1), or the form is unknown.
    """

    def __init__(self, p: float = 0.5, form: DropoutForm = "inverted") -> None:
        super().__init__()
        check_range("dropout", p, low=0.0, high=1.0, high_open=True)
        check_choice("dropout_form", form, ["inverted", "classic"])
        self.p = p
        self.form = form

    def forward(self, x: Tensor) -> Tensor:
        """Returns a tensor like x, of any shape, with elements set to zero or scaled."""
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

    Inverted to classic divides the weights of the following layer by (1−p), classic to inverted
    multiplies them. A dropout must be in an `nn.Sequential`, or in a block that names it and its
    follower (`dropout_followers`); only layers that a factor passes through may be between.

    Returns:
        The number of dropouts that were converted.

    Raises:
        SettingError: no linear layer or convolution follows a dropout, or its weights are
            used elsewhere too; the model is unchanged.
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
                "follows it to absorb the factor"
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
                "a dropout cannot be converted: the weights of the layer after it are shared with "
                "other layers, and its factor would change those too"
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
                for index, layer in enumerate(chain)
                if isinstance(layer, Dropout)
                and (follower := _follower(chain[index + 1 :])) is not None
            ]
    return pairs


def _follower(rest: Sequence[nn.Module]) -> nn.Linear | None:
    for layer in rest:
        if isinstance(layer, _LINEAR):
            return layer  # type: ignore[return-value]
        if not isinstance(layer, _HOMOGENEOUS):
            return None
    return None
