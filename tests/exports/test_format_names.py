"""The names that a command knows before torch is loaded."""

from ravine.exports.format_names import FORMAT_NAMES
from ravine.exports.formats import FORMATS


def test_every_format_is_named_and_no_other() -> None:
    assert tuple(FORMATS) == FORMAT_NAMES
