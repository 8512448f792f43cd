"""The layers in a state dict, from its names and shapes alone.

A layer is a weight of more than one dimension with its bias, and the norms after it: the unit by
which tensors of another library's network are matched. Files sort their tensors by name, so that
the order of the layers is found again from the names: parts of a name that are numbers count as
numbers, and within one module `conv1`, `bn1`, `conv2`, `bn2` follow each other.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

Shape = tuple[int, ...]

_COUNTER = "num_batches_tracked"  # of batch norm; decides nothing, and old files have none
_SHORTCUTS = ("downsample", "shortcut", "skip", "proj_shortcut")


@final
@dataclass(slots=True, kw_only=True)
class LayerUnit:
    """A layer with a weight, and what belongs to it.

    Attributes:
        weight: name of the weight.
        shape: of the weight.
        others: bias and norms' tensors in order: role (`weight`, `running_var` …), name, shape.
    """

    weight: str
    shape: Shape
    others: list[tuple[str, str, Shape]] = field(default_factory=list)

    @property
    def signature(self) -> tuple[object, ...]:
        """What units that may be matched have in common: shapes, roles, being on a shortcut."""
        return (*self.body, self.shape)

    @property
    def body(self) -> tuple[object, ...]:
        """The signature without the weight's shape."""
        on_shortcut = any(word in self.weight for word in _SHORTCUTS)
        return (on_shortcut, tuple((role, shape) for role, _, shape in self.others))

    @property
    def names(self) -> list[str]:
        """The names of its tensors, those of the same signature in the same order."""
        return [self.weight, *(name for _, name, _ in self.others)]


def layer_units(shapes: Mapping[str, Shape], *, in_order: bool) -> list[LayerUnit]:
    """Returns the layers of a state dict in order.

    Args:
        shapes: of its tensors, by name.
        in_order: whether the names come in the order of the network, as from `state_dict()`; those
            of a file come sorted.

    >>> sorted_names = {"bn1.weight": (4,), "conv1.weight": (4, 3, 3, 3), "fc.weight": (2, 4)}
    >>> [unit.names for unit in layer_units(sorted_names, in_order=False)]
    [['conv1.weight', 'bn1.weight'], ['fc.weight']]
    """
    modules: dict[str, list[str]] = {}
    for name in shapes:
        modules.setdefault(name.rpartition(".")[0], []).append(name)
    own = list(modules)
    if not in_order:
        own.sort(key=lambda module: _order(module, modules[module], shapes))
    found: list[LayerUnit] = []
    for module in own:
        tensors = sorted(modules[module], key=_role_order)
        weights = [name for name in tensors if len(shapes[name]) > 1]
        found += [LayerUnit(weight=name, shape=shapes[name]) for name in weights]
        rest = [name for name in tensors if name not in weights and not name.endswith(_COUNTER)]
        if found:
            found[-1].others += [(_role(name), name, shapes[name]) for name in rest]
    return found


def _order(module: str, tensors: Sequence[str], shapes: Mapping[str, Shape]) -> tuple[object, ...]:
    """Returns the key by which modules sort in the order of a network, as far as names say it."""
    *parents, last = module.split(".")
    text, number = _text_and_number(last)
    has_weight = any(len(shapes[name]) > 1 for name in tensors)
    # Within a parent conv1 and bn1 have one number; the convolution comes first.
    return (*map(_part_key, parents), (_rank(last), number, not has_weight, text))


def _part_key(part: str) -> tuple[int, int, bool, str]:
    text, number = _text_and_number(part)
    return (_rank(part), number, False, text)


def _rank(part: str) -> int:
    """Returns 0 for a stem's modules, 2 for shortcuts, 3 for the head's, and 1 for the others."""
    if re.match(r"(conv|bn|norm)_?(1|stem)?$|stem", part) and not part.isdigit():
        return 0
    if part in ("fc", "classifier", "head", "linear"):
        return 3
    return 2 if part in _SHORTCUTS else 1


def _text_and_number(part: str) -> tuple[str, int]:
    found = re.fullmatch(r"(.*?)(\d*)", part)
    assert found is not None
    return found[1], int(found[2] or 0)


def _role(name: str) -> str:
    return name.rpartition(".")[2]


_ROLES = ("weight", "bias", "running_mean", "running_var")


def _role_order(name: str) -> tuple[int, str]:
    role = _role(name)
    return (_ROLES.index(role) if role in _ROLES else len(_ROLES), role)
