"""The user's own code by name, `module:callable`; its faults are told in one line."""

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ravine.core.errors import SettingError

_HERE = Path(__file__).resolve().parent.parent


def own_callable(what: str, name: str) -> Callable[..., Any]:
    """Returns the callable of `module:callable`; modules of the working folder are found too.

    Args:
        what: what it is for, such as model, for messages.
        name: `module:callable`.

    Raises:
        SettingError: there is no such module or callable, or the module fails.
    """
    module_name, _, attribute = name.partition(":")
    found = getattr(_module(what, name, module_name), attribute, None)
    if found is None:
        raise SettingError(f"{what} {name!r}: {module_name} has no {attribute!r}")
    if not callable(found):
        raise SettingError(f"{what} {name!r}: {attribute!r} cannot be called")
    return found


def _module(what: str, name: str, module_name: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise SettingError(
                f"{what} {name!r}: no module {error.name!r} here; write module:callable for a "
                f"file {module_name.replace('.', '/')}.py in {here}"
            ) from None
        raise SettingError(f"{what} {name!r} cannot be imported: {fault(error)}") from error
    except Exception as error:
        raise SettingError(f"{what} {name!r} cannot be imported: {fault(error)}") from error


def fault(error: Exception) -> str:
    """Returns kind, first line and place of an error in the user's own code."""
    told = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    is_ours = Path(last.filename).is_relative_to(_HERE) or last.filename == inspect.__file__
    is_users = not is_ours and "<" not in last.filename
    return f"{told} ({last.filename}, line {last.lineno})" if is_users else told
