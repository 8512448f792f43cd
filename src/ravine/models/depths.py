"""The depths of a family of networks."""

from ravine.core.errors import SettingError


def blocks_of_depth(depth: int, *, factor: int, rest: int, name: str) -> int:
    """Returns N of depth = factor·N + rest.

    Raises:
        SettingError: the depth is none of these; the message names the nearest that are.

    >>> blocks_of_depth(16, factor=6, rest=4, name="wrn-16-4")
    2
    """
    blocks, left = divmod(depth - rest, factor)
    if left == 0 and blocks >= 1:
        return blocks
    below, above = (max(1, n) * factor + rest for n in (blocks, blocks + 1))
    nearest = f"{below}" if below == above else f"{below} and {above}"
    raise SettingError(
        f"{name}: the depth must be {factor}N+{rest}, got {depth}; nearest that work: {nearest}"
    )
