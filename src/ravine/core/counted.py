"""A number with its noun, in the singular where it is one."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Returns a number with its noun.

    >>> counted(1, "image"), counted(1200, "image"), counted(2, "copy", "copies")
    ('1 image', '1,200 images', '2 copies')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
