"""The interval that a share carries when it is shown."""

import math

_Z95 = 1.959963984540054  # the 97.5 % point of the normal distribution


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """Returns the 95 % score interval of a share of `hits` in `count` (Wilson 1927).

    >>> low, high = wilson_interval(93, 100)
    >>> round(low, 3), round(high, 3)
    (0.863, 0.966)
    """
    if count == 0:
        return 0.0, 1.0
    share = hits / count
    spread = _Z95**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = _Z95 / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)
