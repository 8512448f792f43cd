"""The depths and widths of each family of networks, from the numbers in a name; loads no torch.

A name may come from a stranger's file, so it is judged before anything is built.
"""

from collections.abc import Mapping

from ravine.core.errors import SettingError

MOST = 2000  # layers, or times the width; the deepest network that was published has 1202 layers
_DIGITS = 9

#: Of resnet-D: blocks per stage, and whether they are bottlenecks.
LARGE: Mapping[int, tuple[tuple[int, ...], bool]] = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}


def numbers_of(name: str, groups: tuple[str, ...]) -> tuple[int, ...]:
    """Returns the numbers in a network's name.

    Raises:
        SettingError: one is so large that the network could not be built.

    >>> numbers_of("wrn-16-4", ("16", "4"))
    (16, 4)
    """
    for text in groups:
        if len(text) > _DIGITS or int(text) > MOST:
            shown = name if len(name) < 60 else f"{name[:60]}…"
            raise SettingError(
                f"{shown}: depth and width may be at most {MOST}, got {text[:12]}"
                f"{'…' if len(text) > 12 else ''}"
            )
    return tuple(map(int, groups))


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


def cifar_blocks(depth: int) -> int:
    """Returns N of resnet-cifar-D, D = 6N+2; raises `SettingError` for other depths."""
    return blocks_of_depth(depth, factor=6, rest=2, name=f"resnet-cifar-{depth}")


def preact_blocks(depth: int) -> int:
    """Returns N of preact-D, D = 9N+2; raises `SettingError` for other depths."""
    return blocks_of_depth(depth, factor=9, rest=2, name=f"preact-{depth}")


def wide_blocks(depth: int, width: int) -> int:
    """Returns N of wrn-D-K, D = 6N+4; raises `SettingError` for other depths, and width 0."""
    blocks = blocks_of_depth(depth, factor=6, rest=4, name=f"wrn-{depth}-{width}")
    if width < 1:
        raise SettingError(f"wrn-{depth}-{width}: the width must be at least 1")
    return blocks


def large_blocks(depth: int) -> tuple[tuple[int, ...], bool]:
    """Returns the row of `LARGE` for resnet-D; raises `SettingError` for other depths."""
    if depth not in LARGE:
        nearest = min(LARGE, key=lambda known: abs(known - depth))
        raise SettingError(
            f"resnet-{depth}: the depth must be one of {', '.join(map(str, LARGE))}; "
            f"nearest: {nearest} (for small images there is resnet-cifar-D)"
        )
    return LARGE[depth]
