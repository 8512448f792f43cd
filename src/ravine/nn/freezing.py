"""Layers that stay as they are while the rest of a network is trained.

A frozen layer takes no gradient and stays in evaluation mode: its batch norm normalises with the
statistics that it was trained with and never changes them, its dropout is off. Without that, a
"frozen" batch norm drifts to the statistics of the new images in silence. `training_mode_` puts a
network into training mode and leaves frozen layers where they are.

Layers are counted as `parameter_groups` counts them: a module that holds a weight of more than one
dimension, and the norms and other modules that are registered after it.
"""

from torch import nn

from ravine.core.errors import SettingError

_MARK = "is_frozen"


def freeze_(model: nn.Module, what: str, *, head: str | None) -> int:
    """Freezes layers of a network in place.

    Args:
        model: the network.
        what: none; backbone, which is everything but the head; or a number N, the first N layers.
        head: name of the module that gives the logits; it is never frozen.

    Returns:
        How many layers are frozen.

    Raises:
        SettingError: the network has no such part.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))
    >>> freeze_(net, "backbone", head="2"), [p.requires_grad for p in net.parameters()]
    (1, [False, False, False, False, True, True])
    """
    if what == "none":
        return 0
    layers = layers_of(model, head=head)
    count = len(layers) if what == "backbone" else int(what)
    if head is None or not layers:
        raise SettingError(f"freeze {what}: this network has no head that could be trained alone")
    if count > len(layers):
        raise SettingError(
            f"freeze {what}: the network has {len(layers)} layers before its head; take at most "
            f"{len(layers)}, or backbone"
        )
    frozen = [module for layer in layers[:count] for module in layer]
    if count == len(layers):  # what comes before the first weight or after the last, too
        frozen = [m for name, m in model.named_modules() if name and not _holds(name, head)]
    for module in frozen:
        _freeze(module)
    return count


def layers_of(model: nn.Module, *, head: str | None) -> list[list[nn.Module]]:
    """Returns the modules of each layer before the head, without those that only hold others."""
    found: list[list[nn.Module]] = []
    before: list[nn.Module] = []
    for name, module in model.named_modules():
        if head is not None and (name == head or name.startswith(f"{head}.")):
            continue
        own = list(module.parameters(recurse=False))
        if next(module.children(), None) is not None and not own:
            continue
        if any(parameter.dim() > 1 for parameter in own):
            found.append([*before, module])
            before = []
        elif found:
            found[-1].append(module)
        else:
            before.append(module)
    return found


def is_frozen(module: nn.Module) -> bool:
    """Returns whether a module stays as it is while its network is trained."""
    return bool(getattr(module, _MARK, False))


def training_mode_(model: nn.Module) -> nn.Module:
    """Puts a network into training mode, but for what is frozen, and returns it."""
    model.train()
    for module in model.modules():
        if is_frozen(module):
            module.training = False
    return model


def _holds(name: str, head: str) -> bool:
    """Returns whether a module is the head, in it, or around it."""
    return name == head or name.startswith(f"{head}.") or head.startswith(f"{name}.")


def _freeze(module: nn.Module) -> None:
    for parameter in module.parameters(recurse=False):
        parameter.requires_grad_(False)
    setattr(module, _MARK, True)
    module.training = False
