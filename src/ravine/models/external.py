"""Networks that Ravine did not draw: the user's own, and timm's."""

import importlib
import inspect
import sys
from pathlib import Path

from torch import nn

from ravine.core.errors import SettingError


def own_network(name: str, *, classes: int, channels: int, image_size: int) -> nn.Module:
    """Returns what `module:callable` makes; the module is looked for in the working folder too.

    The callable gets those of classes, channels and image_size that it has parameters for.

    Raises:
        SettingError: there is no such module or callable, or it makes no nn.Module.
    """
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        make = getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        if error.name != module_name.split(".")[0] and error.name != module_name:
            raise
        raise SettingError(
            f"model {name!r}: no module {module_name!r} here; write module:callable for a file "
            f"{module_name.replace('.', '/')}.py in {here}"
        ) from None
    except AttributeError:
        raise SettingError(f"model {name!r}: {module_name} has no {attribute!r}") from None
    offered = {"classes": classes, "channels": channels, "image_size": image_size}
    parameters = inspect.signature(make).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    made = make(**{k: v for k, v in offered.items() if takes_all or k in parameters})
    if not isinstance(made, nn.Module):
        raise SettingError(f"model {name!r} made a {type(made).__name__} and no torch.nn.Module")
    return made


def timm_network(name: str, *, classes: int, channels: int) -> nn.Module:
    """Returns timm's network of this name, with fresh weights.

    Raises:
        SettingError: timm is not installed, or does not know the name.
    """
    try:
        timm = importlib.import_module("timm")
    except ImportError:
        raise SettingError(f"model 'timm/{name}' needs timm: pip install 'ravine[timm]'") from None
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name[:6]}*")[:5])
        raise SettingError(f"timm has no model {name!r}{f'; near: {near}' if near else ''}")
    return timm.create_model(name, num_classes=classes, in_chans=channels)
