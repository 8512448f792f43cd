"""What the machine refuses in the middle of a command: disk, memory, permissions. One line each.

These are no faults of Ravine's and no mistakes in a setting, so that neither a traceback nor a
check beforehand fits. Where a command knows more, it has raised a `RavineError` already.
"""

import errno
import os

from ravine.core.memory import is_out_of_memory

_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
    errno.EROFS: "choose another folder with --out",
    errno.EACCES: "choose another folder, or change its permissions",
    errno.EPERM: "choose another folder, or change its permissions",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "replace the link by what it should point to",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EISDIR: "a file is wanted",
    errno.EIO: "is the disk in order?",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
    errno.ENOMEM: "free some memory",
    errno.EAGAIN: "raise the limit of processes (ulimit -u)",
}


def line_about(error: BaseException) -> str | None:
    """Returns the line about what the machine refused; None for a fault of Ravine's.

    >>> line_about(OSError(errno.ENOSPC, "No space left on device", "runs/a"))
    'runs/a: No space left on device; free some space'
    """
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        return f"{where}{error.strerror}; {_REMEDIES[error.errno]}"
    if is_out_of_memory(error):
        return (
            "not enough memory; take a smaller --batch, smaller images (--image-size) or a "
            "smaller network (--model)"
        )
    return None
