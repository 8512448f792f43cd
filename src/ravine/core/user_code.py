"""The user's own code by name, `module:callable`: the one file that imports it.

What is not allowed is refused before anything is imported (`core.allowed_code`), and so is a module
that lies in a run folder. Faults of the code are reported in one line.
"""

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ravine.core.allowed_code import AllowedCode
from ravine.core.errors import CodeRefusedError, SettingError

_HERE = Path(__file__).resolve().parent.parent
_NO_FILE = (None, "built-in", "frozen")


def own_callable(what: str, name: str, *, code: AllowedCode) -> Callable[..., Any]:
    """Returns the callable of `module:callable`; modules of the working folder are found too.

    Args:
        what: what it is for, such as model, for messages.
        name: `module:callable`.
        code: what may be imported.

    Raises:
        CodeRefusedError: `code` does not name it; nothing was imported.
        SettingError: there is no such module or callable, the module fails, or it lies in a run.
    """
    if name not in code.names:
        raise CodeRefusedError(name, None)
    module_name, _, attribute = name.partition(":")
    found = getattr(_module(what, name, module_name, code), attribute, None)
    if found is None:
        raise SettingError(f"{what} {name!r}: {module_name} has no {attribute!r}")
    if not callable(found):
        raise SettingError(f"{what} {name!r}: {attribute!r} cannot be called")
    return found


def _module(what: str, name: str, module_name: str, code: AllowedCode) -> Any:
    here = Path.cwd()
    run = code.run_around(here)
    try:
        with _searched_first(here, wanted=run is None):
            module = _imported(module_name, code)
    except SettingError as error:
        raise SettingError(f"{what} {name!r}: {error}") from None
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise SettingError(
                f"{what} {name!r}: no module {error.name!r} here; {_advice(module_name, here, run)}"
            ) from None
        raise SettingError(f"{what} {name!r} cannot be imported: {fault(error)}") from error
    except Exception as error:
        raise SettingError(f"{what} {name!r} cannot be imported: {fault(error)}") from error
    # Functions of the user's may import their neighbours when they are called.
    if str(here) not in sys.path and Path(getattr(module, "__file__", None) or "").parent == here:
        sys.path.append(str(here))
    return module


def _advice(module_name: str, here: Path, run: Path | None) -> str:
    if run is not None:
        return f"nothing is imported from the run folder {run}; call this from your code's folder"
    return f"write module:callable for a file {module_name.replace('.', '/')}.py in {here}"


@contextmanager
def _searched_first(here: Path, *, wanted: bool) -> Iterator[None]:
    """Searches the working folder first for modules, for as long as this is open."""
    if not wanted or str(here) in sys.path:
        yield
        return
    sys.path.insert(0, str(here))
    try:
        yield
    finally:
        sys.path.remove(str(here))


def _imported(module_name: str, code: AllowedCode) -> Any:
    """Returns the module; it and its packages are checked one by one before each is run."""
    parts = module_name.split(".")
    for depth in range(1, len(parts) + 1):
        dotted = ".".join(parts[:depth])
        if dotted in sys.modules:
            origin = getattr(sys.modules[dotted], "__file__", None)
        else:
            spec = importlib.util.find_spec(dotted)
            if spec is None:
                raise ModuleNotFoundError(f"No module named {dotted!r}", name=dotted)
            origin = spec.origin
        if origin not in _NO_FILE and (run := code.run_around(Path(origin))) is not None:
            raise SettingError(
                f"{origin} lies in the run folder {run}, and nothing is imported from one; if you "
                "trust it, move it to the folder that you call this from"
            )
        importlib.import_module(dotted)
    return sys.modules[module_name]


def fault(error: Exception) -> str:
    """Returns kind, first line and position of an error in the user's own code."""
    text = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    is_ours = Path(last.filename).is_relative_to(_HERE) or last.filename == inspect.__file__
    is_users = not is_ours and "<" not in last.filename
    return f"{text} ({last.filename}, line {last.lineno})" if is_users else text
