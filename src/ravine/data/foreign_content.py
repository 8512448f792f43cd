"""What lies in a file that has an image's ending and is none: by its first bytes, with a remedy."""

_OF_START = (
    (b"version https://git-lfs.github.com/", "a pointer of Git LFS; load the images: git lfs pull"),
    (b"/annex/objects/", "a pointer of git-annex; load the images: git annex get ."),
    (b"../.git/annex/objects/", "a pointer of git-annex; load the images: git annex get ."),
    (b"<!doctype html", "a page of HTML, as of a failed download; load it again"),
    (b"<html", "a page of HTML, as of a failed download; load it again"),
    (b"<svg", "an SVG drawing; convert it to .png"),
    (b"<?xml", "XML and no image; convert it to .png if it is a drawing"),
    (b"%pdf-", "a PDF; convert it to .png"),
    (b"pk\x03\x04", "a zip; unpack it"),
    (b"\x1f\x8b", "packed with gzip; unpack it"),
)
_HEAD = 64


def foreign_content(content: bytes) -> str | None:
    """Returns what the bytes of a file are if they are another known thing than an image.

    >>> foreign_content(b"%PDF-1.7")
    'a PDF; convert it to .png'
    """
    head = content[:_HEAD].lstrip().lower()
    return next((what for start, what in _OF_START if head.startswith(start)), None)
