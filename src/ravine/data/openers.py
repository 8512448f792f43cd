"""Formats that Pillow reads through a plug-in, where one is installed: HEIC by pillow-heif.

Loads no torch. Processes that decode call it too, so that they read what the main process lists.
"""

import logging
from functools import cache
from importlib import import_module
from importlib.util import find_spec

from PIL import Image

_PLUGIN = "pillow_heif"


@cache
def register_openers() -> None:
    """Registers the plug-ins that are installed with Pillow, once in a process.

    Pillow's log is kept off the screen where nobody listens to it: what it says of a file that it
    does not read, a line for each, is said by Ravine once.
    """
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    if find_spec(_PLUGIN) is not None:
        import_module(_PLUGIN).register_heif_opener()


def has_opener(ending: str) -> bool:
    """Returns whether Pillow reads files of an ending such as .heic, a plug-in included."""
    register_openers()
    return ending in Image.registered_extensions()
