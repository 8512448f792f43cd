"""What is done to a figure before it is written: powers as letters, everything in its place."""

import re
from typing import Final, final

from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation


@final
class _PlainExponents(LogFormatterSciNotation):
    """Powers as letters of one size: 10⁻⁴. As a formula its exponent is too small on a phone."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        text: str = LogFormatterSciNotation.__call__(self, x, pos)
        text = re.sub(r"\^\{(.*?)\}", lambda found: found[1].translate(_RAISED), text)
        return re.sub(r"\$|\\mathdefault|[{}]", "", text).replace(r"\times", "×")


_RAISED: Final = str.maketrans("0123456789-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻")


def write_exponents(figure: Figure) -> None:
    """Writes the powers of logarithmic axes as letters; reading formulas takes half a second."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if type(axis.get_major_formatter()) is LogFormatterSciNotation:
                axis.set_major_formatter(_PlainExponents())
            if type(axis.get_minor_formatter()) is LogFormatterSciNotation:
                axis.set_minor_formatter(_PlainExponents(minor_thresholds=(1, 0.4)))


def lay_out(figure: Figure) -> None:
    """Gives everything its place, once: `savefig` would draw everything before each file for it."""
    if (layout := figure.get_layout_engine()) is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")
