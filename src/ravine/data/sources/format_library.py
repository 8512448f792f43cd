"""Libraries of data formats: extras, imported when a file of the format is read."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

from ravine.core.errors import DataError


def format_library(module: str, extra: str, path: Path) -> ModuleType:
    """Returns a module that reads a format.

    Args:
        module: its full name.
        extra: of Ravine's package that installs it.
        path: that is to be read, for the message.

    Raises:
        DataError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise DataError(
            f"{path} is read with {package}, which is not installed: pip install 'ravine[{extra}]'"
        ) from None
