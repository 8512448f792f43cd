"""Modules of the formats: extras, imported when a file of the format is written or read."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from ravine.core.errors import SettingError


def needed(module: str, *, extra: str, what: str) -> ModuleType:
    """Returns a module that a format needs.

    Args:
        module: its full name.
        extra: of Ravine's package that installs it.
        what: needs it, for the message.

    Raises:
        SettingError: it is not installed.

    >>> needed("json", extra="onnx", what="format onnx").__name__
    'json'
    """
    try:
        return import_module(module)
    except ImportError:
        raise _missing(module.partition(".")[0], extra, what) from None


def refuse_missing(modules: tuple[str, ...], *, extra: str, what: str) -> None:
    """Raises `SettingError` for the first module that is not installed; imports none of them."""
    for module in modules:
        if find_spec(module) is None:
            raise _missing(module, extra, what)


def _missing(package: str, extra: str, what: str) -> SettingError:
    return SettingError(
        f"{what} needs {package}, which is not installed: pip install 'ravine[{extra}]'"
    )
