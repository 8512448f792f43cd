"""How many channels the images of a source have, where they are arrays: from the files' heads."""

from ravine.data.discovery import find_collection
from ravine.data.location import expand_path
from ravine.data.settings import DataSettings
from ravine.data.sources.unlabelled_arrays import is_array_source


def array_channels(settings: DataSettings) -> int | None:
    """Returns the channels of the arrays at `settings.data`; None where the images are files.

    Raises:
        DataError: the arrays cannot be images.
    """
    if not settings.data or not is_array_source(expand_path(settings.data)):
        return None
    pixels = find_collection(settings).pixels
    return None if pixels is None else int(pixels.shape[3])
