"""What a network is made of, to notice that it is another one now.

Names, identities, versions and addresses are compared in microseconds. Writes that torch does not
count, through `.data` or an address as this package's optimizers make them, only a digest of the
weights shows, which reads all of them.
"""

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self, final

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from ravine.kernels.digest import digests_of
from ravine.kernels.library import Library

_KNOWN = ("torch.nn.", "ravine.", "timm.")  # whose modules compute from images and weights alone
_PLAIN = (bool, int, float, str, tuple, type(None))
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_GLOBAL_HOOKS = tuple(
    getattr(torch_module, f"_global{kind}")
    for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
)


@final
@dataclass(frozen=True, slots=True)
class NetworkState:
    """A network as it was at one time.

    Attributes:
        modules: all of them.
        owners: what holds children, parameters and buffers by name.
        held: what they hold, one after the other.
        tensors: the parameters and buffers that are computed with.
        versions: as torch counts their changes.
        addresses: of their memory.
        hooks: what holds the modules' hooks.
        settings: class and plain attributes of each module.
        pieces: address and bytes of the tensors' memory.
        digests: of the pieces.
    """

    modules: tuple[nn.Module, ...]
    owners: tuple[Mapping[str, Any], ...]
    held: list[Any]
    tensors: list[Tensor]
    versions: list[int]
    addresses: list[int]
    hooks: tuple[Mapping[int, Any], ...]
    settings: list[tuple[Any, ...]]
    pieces: list[tuple[int, int]]
    digests: tuple[int, ...]

    @classmethod
    def of(cls, library: Library, network: nn.Module) -> Self | None:
        """Returns the state of a network now; None where changes could not be noticed."""
        modules = tuple(network.modules())
        if not all(map(_is_known, modules)):
            return None
        owners = tuple(o for module in modules for o in _owners(module))
        held = _values(owners)
        tensors = [one for one in held if isinstance(one, Tensor) and one.is_floating_point()]
        if not all(map(_is_counted, tensors)):
            return None
        return cls(
            modules=modules,
            owners=owners,
            held=held,
            tensors=tensors,
            versions=list(map(_version, tensors)),
            addresses=list(map(Tensor.data_ptr, tensors)),
            hooks=tuple(getattr(module, name) for module in modules for name in _HOOKS),
            settings=list(map(_settings, modules)),
            pieces=(pieces := list(map(_piece, tensors))),
            digests=digests_of(library, pieces),
        )

    def holds(self) -> bool:
        """Whether the network has the same parts and weights, as far as torch counts changes."""
        now = _values(self.owners)
        return (
            len(now) == len(self.held)
            and all(map(operator.is_, now, self.held))
            and list(map(_version, self.tensors)) == self.versions
            and list(map(Tensor.data_ptr, self.tensors)) == self.addresses
        )

    def holds_to_the_bit(self, library: Library) -> bool:
        """Whether the modules' settings and all weights are those of then, read one by one."""
        return (
            list(map(_settings, self.modules)) == self.settings
            and list(map(Tensor.data_ptr, self.tensors)) == self.addresses
            and digests_of(library, self.pieces) == self.digests
        )

    def is_plain(self) -> bool:
        """Whether all is in evaluation mode, and no hook waits for a module."""
        return not (any(map(_is_training, self.modules)) or any(self.hooks))


def has_global_hooks() -> bool:
    """Returns whether a hook waits for the calls of all modules."""
    return any(_GLOBAL_HOOKS)


_version = operator.attrgetter("_version")
_is_training = operator.attrgetter("training")


def _values(owners: tuple[Mapping[str, Any], ...]) -> list[Any]:
    return list(chain.from_iterable(owner.values() for owner in owners))


def _is_known(module: nn.Module) -> bool:
    return type(module).__module__.startswith(_KNOWN) and "forward" not in vars(module)


def _owners(module: nn.Module) -> list[Mapping[str, Any]]:
    """Returns what holds a module's parts; without those that stay empty."""
    found: list[Mapping[str, Any]] = [one for one in (module._parameters, module._buffers) if one]
    is_chain = isinstance(module, nn.Sequential)
    return [*found, module._modules] if module._modules or is_chain else found


def _is_counted(tensor: Tensor) -> bool:
    """Whether torch counts the changes of a tensor, whose memory is here."""
    is_here = tensor.device.type == "cpu" and tensor.layout is torch.strided
    return is_here and not tensor.is_inference()


def _settings(module: nn.Module) -> tuple[Any, ...]:
    plain = [(k, v) for k, v in vars(module).items() if isinstance(v, _PLAIN) and k != "training"]
    return type(module), len(vars(module)), *plain


def _piece(tensor: Tensor) -> tuple[int, int]:
    memory = tensor.untyped_storage()
    return memory.data_ptr(), memory.nbytes()
