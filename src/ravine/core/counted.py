"""A number with its noun, in the singular where it is one."""


def counted(number: float, noun: str, plural: str | None = None, *, form: str = ",") -> str:
    """Returns a number with its noun.

    Args:
        number: of them.
        noun: for one.
        plural: for other numbers; None for the noun with an s.
        form: of the number, by which one is told from others.

    >>> counted(1, "image"), counted(1200, "image"), counted(2, "copy", "copies")
    ('1 image', '1,200 images', '2 copies')
    >>> counted(1.0, "epoch", form=".3g"), counted(0.5, "epoch", form=".3g")
    ('1 epoch', '0.5 epochs')
    """
    text = format(number, form)
    return f"{text} {noun if text == '1' else plural or noun + 's'}"
