"""The confidence interval of a proportion, such as an accuracy."""

import math

_Z95 = 1.959963984540054  # the 97.5 % point of the normal distribution


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """Returns the 95 % score interval of the proportion `hits` / `count` (Wilson 1927).

    Args:
        hits: in 0..count.
        count: trials; 0 gives (0, 1).

    >>> low, high = wilson_interval(93, 100)
    >>> round(low, 3), round(high, 3)
    (0.863, 0.966)
    """
    if count == 0:
        return 0.0, 1.0
    proportion = hits / count
    spread = _Z95**2 / count
    centre = (proportion + spread / 2) / (1 + spread)
    half = (
        _Z95
        / (1 + spread)
        * math.sqrt(proportion * (1 - proportion) / count + spread / (4 * count))
    )
    return max(0.0, centre - half), min(1.0, centre + half)
