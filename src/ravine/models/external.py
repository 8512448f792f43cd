"""Networks of the user's own; `timm_library` has those of timm."""

import inspect

from torch import nn

from ravine.core.allowed_code import AllowedCode
from ravine.core.errors import SettingError
from ravine.core.user_code import fault, own_callable


def own_network(
    name: str, *, classes: int, channels: int, image_size: int, code: AllowedCode
) -> nn.Module:
    """Returns the network of `module:callable`; the working folder is on the module path too.

    The callable gets those of classes, channels and image_size that are among its parameters.

    Raises:
        CodeRefusedError: `code` does not name it.
        SettingError: the module or callable does not exist, fails, or returns no nn.Module.
    """
    make = own_callable("model", name, code=code)
    offered = {"classes": classes, "channels": channels, "image_size": image_size}
    try:
        parameters = inspect.signature(make).parameters
        takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        made = make(**{k: v for k, v in offered.items() if takes_all or k in parameters})
    except Exception as error:
        raise SettingError(f"model {name!r} could not be made: {fault(error)}") from error
    if not isinstance(made, nn.Module):
        raise SettingError(f"model {name!r} made a {type(made).__name__} and no torch.nn.Module")
    return made
