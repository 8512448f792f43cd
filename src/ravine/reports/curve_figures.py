"""Figures as SVG text: drawn by matplotlib, in colours that follow the page.

Each takes plain values. Strokes and text use the page's own colours, so that one drawing
serves light, dark and print.
"""

import html
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FuncFormatter,
    Locator,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
    StrMethodFormatter,
)

from ravine.core.colours import SHADES
from ravine.reports.direct_labels import End, label_ends
from ravine.reports.figure_finish import lay_out, write_exponents
from ravine.reports.figure_style import (
    ACCENT,
    GREY,
    SECOND,
    axes_style,
)
from ravine.reports.readings import readings_of

_INK = "#010203"  # stands for the page's text colour
_STYLE: Any = {
    **axes_style(_INK),
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


@contextmanager
def figure_of(width: float, height: float, **kinds: Any) -> Iterator[tuple[Figure, Any]]:
    """Yields a figure (width and height in inches) and its axes, in the style of the page."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_alpha(0)
        axes = figure.subplots(**kinds)
        for one in figure.axes:
            one.patch.set_alpha(0)
        yield figure, axes


def svg_of(figure: Figure, title: str, *, read: bool = True) -> str:
    """Returns a figure as SVG text for the page.

    Args:
        figure: what is drawn.
        title: what a screen reader says of it.
        read: with the values of its curves, for a pointer; not where a chart stands for it.
    """
    with mpl.rc_context(_STYLE):
        write_exponents(figure)
        buffer = io.StringIO()
        lay_out(figure)
        readings = readings_of(figure) if read else []
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = _themed(text.replace(_INK, "currentColor"))
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font: \1 inherit", text)
    text = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", text, count=1)
    text = re.sub(r'<svg ([^>]*?)height="[^"]*"', r"<svg \1", text, count=1)
    # The namespaces are names and no addresses; inside HTML they are not needed.
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)
    # Its width in its own units: the page keeps the letters of all figures as large as can be read.
    wide = f'style="--wide: {72 * figure.get_figwidth():.0f}"'
    facts = f'role="img" aria-label="{title}" {wide}{_data(readings)}'
    return text.replace("<svg ", f"<svg {facts} ", 1)


def panels(svgs: Iterable[str]) -> str:
    """Returns figures that stand side by side, or below each other where the page is narrow."""
    return f'<div class="panels">{"".join(f"<div>{svg}</div>" for svg in svgs)}</div>'


def _data(readings: list[dict[str, Any]]) -> str:
    """Returns the attribute that holds the values of the curves; none where nothing is read."""
    if not readings:
        return ""
    text = json.dumps(readings, separators=(",", ":"))
    return f' data-readings="{_themed(html.escape(text))}"'


def _themed(text: str) -> str:
    """Returns text in which colours follow the page."""
    for name, shade in SHADES.items():  # a drawing that is kept as a file of its own has the hex
        text = text.replace(shade.light, f"var(--{name}, {shade.light})")
    return text


_ONE = ("accuracy", "train_accuracy", ("accuracy", "accuracy"))
_SEVERAL = ("exact_match", "train_exact_match", ("mean_ap", "all labels right; validation: mAP"))


def curves(epochs: Sequence[dict[str, Any]], steps: Sequence[dict[str, Any]]) -> str:
    """Returns loss and accuracy against epochs, training and validation.

    With several labels an image it is the exact matches of the training, and mAP of the validation.
    """
    several = any(row.get("train_exact_match") is not None for row in epochs)
    steps_as, train_as, name_as = _SEVERAL if several else _ONE
    with figure_of(9.2, 3.1, ncols=2) as (figure, (left, right)):
        at = [float(row["epoch"]) for row in steps]
        of_loss = (left, "loss", "train_loss", "loss", "loss")
        of_score = (right, steps_as, train_as, name_as[0], name_as[1])
        for axes, of_step, of_epoch, name, unit in (of_loss, of_score):
            if len(steps) > 1:
                values = [row[of_step] for row in steps]
                axes.plot(at, values, color=ACCENT, alpha=0.25, linewidth=0.8, label="steps")
            _dotted(axes, epochs, of_epoch, color=ACCENT, label="training")
            _dotted(axes, epochs, name, color=SECOND, label="validation")
            axes.set(xlabel="epoch", title=unit)
            axes.title.set_fontsize(10.5)
        with_band = [row for row in epochs if row.get("interval")]
        right.fill_between(
            [row["epoch"] for row in with_band],
            [row["interval"][0] for row in with_band],
            [row["interval"][1] for row in with_band],
            color=SECOND,
            alpha=0.18,
            linewidth=0,
        )
        right.yaxis.set_major_formatter(PercentFormatter(1.0))
        _start_at_zero(left, [row["loss"] for row in steps])
        for axes, name in ((left, "loss"), (right, "accuracy")):
            label_ends(axes, _ends(epochs, name))
    return svg_of(figure, "loss and accuracy against epochs", read=False)


def _dotted(
    axes: Axes, epochs: Sequence[dict[str, Any]], key: str, *, color: str, label: str
) -> None:
    """Draws what is known of a figure of the epochs, with a dot for each."""
    rows = [row for row in epochs if row.get(key) is not None]
    at, values = [row["epoch"] for row in rows], [row[key] for row in rows]
    axes.plot(at, values, color=color, marker="o", markersize=3, label=label)


def _ends(epochs: Sequence[dict[str, Any]], name: str) -> list[End]:
    """Returns the last points of training and validation."""
    found = []
    for text, key, colour in (
        ("training", f"train_{name}", ACCENT),
        ("validation", name, SECOND),
    ):
        rows = [row for row in epochs if row.get(key) is not None]
        if rows:
            found.append(End(rows[-1]["epoch"], rows[-1][key], text, colour))
    return found


def _start_at_zero(axes: Axes, values: Sequence[float | None]) -> None:
    known = [value for value in values if value is not None]
    if known and min(known) < 0.5 * max(known):
        axes.set_ylim(bottom=0)


def rates_and_speed(steps: Sequence[dict[str, Any]]) -> str:
    """Returns learning rate, gradient norm and images per second against epochs."""
    with figure_of(9.2, 2.3, ncols=3) as (figure, axes):
        at = [float(row["epoch"]) for row in steps]
        for one, name, title in zip(
            axes,
            ("lr", "gradient_norm", "images_per_second"),
            ("learning rate", "norm of the gradient", "images per second"),
            strict=True,
        ):
            values = [row.get(name) for row in steps]
            one.plot(at, values, color=ACCENT, linewidth=1.1, label=title)
            one.set(title=title, xlabel="epoch")
            one.title.set_fontsize(10.5)
            if name != "gradient_norm":
                one.set_ylim(bottom=0)
        axes[2].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        norms = [row.get("gradient_norm") for row in steps]
        if any(norm for norm in norms):
            axes[1].set_yscale("log")
            plain_log(axes[1])
    return svg_of(figure, "learning rate, gradient norm and speed against epochs", read=False)


PLAIN: Final = StrMethodFormatter("{x:g}")


def log_ticks(low: float, high: float) -> Locator:
    """Returns where a logarithmic axis has its numbers: 1, 2, 5, or evenly where those are few."""
    return MaxNLocator(5) if high < 8 * low else LogLocator(subs=(1.0, 2.0, 5.0))


def plain_log(axes: Axes) -> None:
    """Writes the values of a logarithmic axis as plain decimal numbers."""
    axes.yaxis.set_major_locator(log_ticks(*axes.get_ylim()))
    axes.yaxis.set_major_formatter(PLAIN)
    axes.yaxis.set_minor_formatter(NullFormatter())


def reliability(calibration: dict[str, Any]) -> str:
    """Returns accuracy against confidence, with the number of images in each bin beneath."""
    edges = calibration["edges"]
    width = edges[1] - edges[0]
    bins = [
        (left, accuracy, confidence, count)
        for left, accuracy, confidence, count in zip(
            edges,
            calibration["accuracy"],
            calibration["confidence"],
            calibration["count"],
            strict=False,
        )
        if count
    ]
    with figure_of(4.2, 4.4, nrows=2, height_ratios=(3, 1), sharex=True) as (figure, (top, low)):
        _accuracy_bars(top, bins, width)
        low.bar(
            [left for left, *_ in bins],
            [count for *_, count in bins],
            width=width * 0.92,
            align="edge",
            color=GREY,
            alpha=0.6,
        )
        low.set(xlabel="confidence", ylabel="images")
        for axis in (top.yaxis, low.xaxis):
            axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return svg_of(figure, "accuracy against confidence")


def _accuracy_bars(
    axes: Axes, bins: Sequence[tuple[float, float, float, int]], width: float
) -> None:
    """Draws the accuracy of each bin (left edge, accuracy, mean confidence, images)."""
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
    axes.bar(
        [left for left, *_ in bins],
        [accuracy for _, accuracy, _, _ in bins],
        width=width * 0.92,
        align="edge",
        color=ACCENT,
        alpha=0.75,
    )
    axes.plot(
        [confidence for _, _, confidence, _ in bins],
        [accuracy for _, accuracy, _, _ in bins],
        color=SECOND,
        marker="o",
        markersize=3,
        linewidth=1,
    )
    axes.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
