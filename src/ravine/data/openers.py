"""Formats that Pillow reads through a plug-in, where one is installed: HEIC by pillow-heif.

Loads no torch. Processes that decode call it too, so that they read what the main process lists.
"""

from functools import cache
from importlib import import_module
from importlib.util import find_spec

from PIL import Image

_PLUGIN = "pillow_heif"


@cache
def register_openers() -> None:
    """Registers the plug-ins that are installed with Pillow, once in a process."""
    if find_spec(_PLUGIN) is not None:
        import_module(_PLUGIN).register_heif_opener()


def has_opener(ending: str) -> bool:
    """Returns whether Pillow reads files of an ending such as .heic, a plug-in included."""
    register_openers()
    return ending in Image.registered_extensions()
