"""Networks that Ravine did not draw: the user's own, and timm's."""

import importlib
import inspect
import sys
import traceback
from pathlib import Path
from typing import Any

from torch import nn

from ravine.core.errors import SettingError


def own_network(name: str, *, classes: int, channels: int, image_size: int) -> nn.Module:
    """Returns what `module:callable` makes; the module is looked for in the working folder too.

    The callable gets those of classes, channels and image_size that it has parameters for.

    Raises:
        SettingError: there is no such module or callable, it fails, or it makes no nn.Module.
    """
    module_name, _, attribute = name.partition(":")
    make = getattr(_module(name, module_name), attribute, None)
    if make is None:
        raise SettingError(f"model {name!r}: {module_name} has no {attribute!r}")
    if not callable(make):
        raise SettingError(f"model {name!r}: {attribute!r} cannot be called")
    offered = {"classes": classes, "channels": channels, "image_size": image_size}
    try:
        parameters = inspect.signature(make).parameters
        takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        made = make(**{k: v for k, v in offered.items() if takes_all or k in parameters})
    except Exception as error:
        raise SettingError(f"model {name!r} could not be made: {_one_line(error)}") from error
    if not isinstance(made, nn.Module):
        raise SettingError(f"model {name!r} made a {type(made).__name__} and no torch.nn.Module")
    return made


def _module(name: str, module_name: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise SettingError(
                f"model {name!r}: no module {error.name!r} here; write module:callable for a "
                f"file {module_name.replace('.', '/')}.py in {here}"
            ) from None
        raise SettingError(f"model {name!r} cannot be imported: {_one_line(error)}") from error
    except Exception as error:
        raise SettingError(f"model {name!r} cannot be imported: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    """Returns kind, first line and place of an error in the user's own code."""
    told = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    is_users = last.filename not in (__file__, inspect.__file__) and "<" not in last.filename
    return f"{told} ({last.filename}, line {last.lineno})" if is_users else told


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
