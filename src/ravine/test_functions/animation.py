"""The animation of a race on a function: map above, loss below, as GIF and MP4.

The height map is drawn once; each frame adds the paths. Early steps are shown more slowly than
late ones; every frame has the number of its step, and the last frame shows the last points of the
optimizers themselves.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image

from ravine.core.atomic import disk_error
from ravine.core.lazy import lazy_module
from ravine.test_functions.function_race import CandidateResult, FunctionRace
from ravine.test_functions.height_map import colours, height_map, shown

if TYPE_CHECKING:
    import imageio.v3 as imageio
else:
    imageio = lazy_module("imageio.v3")  # the extra video; only an MP4 needs it

Frame = NDArray[np.uint8]
_INK, _DIM, _PAPER, _FAINT = "#22303c", "#5b6872", "#ffffff", "#dfe5ea"
_STAR = "#ffd23f"
_HEIGHTS = LinearSegmentedColormap.from_list("heights", ["#a9c6d8", "#f6f8f9"])
_CASING = [withStroke(linewidth=3, foreground=_PAPER)]
_STYLE: Any = {
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": "#9aa7b1",
    "axes.linewidth": 0.8,
    "axes.labelcolor": _DIM,
    "xtick.color": _DIM,
    "ytick.color": _DIM,
    "path.simplify": False,
}
_SIZE = (8.2, 7.0)  # inches at 100 pixels each
_FRAMES, _PER_SECOND, _HOLD = 96, 16, 2.5
_COLOURS = 96  # of a GIF


def write_animation(race: FunctionRace, gif: Path | None, mp4: Path | None = None) -> None:
    """Writes the animation of a race, each file whole or not at all.

    Args:
        race: a finished race.
        gif: path of the GIF, None for none.
        mp4: path of the MP4, None for none.
    """
    frames = list(Picture(race).frames(shown_steps(race.steps)))
    own = colours(race)[:8]
    inks = [_INK, _STAR, _PAPER, *own, *(to_hex(_darker(ink)) for ink in own)]
    for path, write in ((gif, _write_gif), (mp4, _write_mp4)):
        if path is not None:
            part = path.with_name(f".{path.name}.part{path.suffix}")
            try:
                write(part, frames, inks)
                os.replace(part, path)
            except OSError as error:
                raise disk_error(path, error) from error
            finally:
                part.unlink(missing_ok=True)


def shown_steps(steps: int) -> list[int]:
    """Returns the steps with a frame: all of the first ones, then fewer and fewer.

    >>> shown_steps(300)[:4], shown_steps(300)[-1]
    ([0, 1, 2, 3], 300)
    """
    share = np.linspace(0, 1, _FRAMES)
    eased = np.maximum(share**1.8 * steps, np.arange(_FRAMES))
    return sorted({int(min(steps, round(at))) for at in eased})


@final
class Picture:
    """A race drawn up to any step.

    Args:
        race: a finished race.
    """

    def __init__(self, race: FunctionRace) -> None:
        self._race = race
        with mpl.rc_context(_STYLE):
            self._figure = Figure(figsize=_SIZE, dpi=100, facecolor=_PAPER)
            self._canvas = FigureCanvasAgg(self._figure)
            self._map = self._figure.add_axes((0.055, 0.365, 0.925, 0.53))
            self._loss = self._figure.add_axes((0.075, 0.075, 0.62, 0.24))
            self._write_title()
            self._draw_heights(self._map)
            self._scale_loss(self._loss)
            self._write_legend()
            self._add_moving()
            self._canvas.draw()
        self._empty = self._canvas.copy_from_bbox(self._figure.bbox)

    def frames(self, steps: Sequence[int]) -> Iterator[Frame]:
        """Yields a picture (height, width, 3) uint8 for each of `steps`."""
        for step in steps:
            yield self.frame(step)

    def frame(self, step: int) -> Frame:
        """Returns the picture of the race up to `step`, (height, width, 3) uint8."""
        self._canvas.restore_region(self._empty)
        self._place_labels(step)
        for result, path, loss, head in zip(
            self._race.results, self.paths, self._losses, self.heads, strict=True
        ):
            last = min(step, _last(result))
            path.set_data(*result.path[: last + 1].T)
            loss.set_data(np.arange(last + 1), self._gap(result.losses[: last + 1]))
            head.set_data(*result.path[last : last + 1].T)
            head.set_marker("X" if last < step else "o")
            self._map.draw_artist(path)
            self._loss.draw_artist(loss)
        self._now.set_data([step, step], [0, 1])
        self._loss.draw_artist(self._now)
        for artist in (*self._stars, *self._leaders, *self.heads, *self._labels):
            self._map.draw_artist(artist)
        self._step.set_text(f"step {step}")
        self._figure.draw_artist(self._step)
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()

    def _write_title(self) -> None:
        race, write = self._race, self._figure.text
        write(0.055, 0.962, race.problem.title, fontsize=15, fontweight="bold", va="center")
        write(0.055, 0.922, race.problem.text, fontsize=9.5, color=_DIM, va="center")
        self._step = write(
            0.98, 0.962, "", fontsize=13, ha="right", va="center", fontweight="bold", animated=True
        )
        searched = [result for result in race.results if result.found]
        how = f"best of {race.budget}" if searched else "learning rates η given"
        if 0 < len(searched) < len(race.results):
            how += "; * given"
        if race.problem.examples:
            how += f"; batches of {race.problem.examples.batch}, the same for all"
        write(0.055, 0.016, f"{how}. Exact gradients, nothing clipped.", fontsize=7.4, color=_DIM)

    def _draw_heights(self, axes: Axes) -> None:
        heights = height_map(self._race, nodes=201)
        height = np.ma.masked_invalid(heights.heights(heights.values))
        levels = np.linspace(0, float(height.max()) * 1.0001, 15)
        axes.set_facecolor(_PAPER)
        axes.contourf(heights.x, heights.y, height, levels=levels, cmap=_HEIGHTS)
        axes.contour(
            heights.x,
            heights.y,
            height,
            levels=levels[1:],
            colors="#7f97a6",
            linewidths=0.5,
            alpha=0.55,
        )
        (left, right), (bottom, top) = self._race.problem.domain
        axes.set(xlim=(left, right), ylim=(bottom, top))
        axes.tick_params(labelsize=7.5, length=2.5)
        axes.plot(*self._race.start, "o", color="none", markeredgecolor=_INK, markersize=8, mew=1.6)

    def _gap(self, losses: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.maximum(losses - self._race.lowest, self._floor)

    def _scale_loss(self, axes: Axes) -> None:
        race = self._race
        self._floor = max((race.target - race.lowest) * 1e-4, 1e-300)
        gaps = np.concatenate(
            [self._gap(result.losses[: _last(result) + 1]) for result in race.results]
        )
        first = float(self._gap(race.results[0].losses[:1])[0])
        high = min(float(gaps.max()), 1e3 * first) * 1.6
        low = min(float(gaps.min()), race.target - race.lowest) / 1.6
        axes.set(yscale="log", xlim=(0, race.steps), ylim=(low, high))
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=7.5, length=2.5, which="both")
        axes.minorticks_off()
        axes.grid(color=_FAINT, linewidth=0.7)
        axes.set_axisbelow(True)
        what = "minimum" if race.problem.lowest is not None else "lowest found"
        axes.set_title(
            f"loss above the {what}, by step", fontsize=8.5, loc="left", color=_DIM, pad=4
        )
        axes.axhline(race.target - race.lowest, color=_DIM, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.annotate(
            "reached", (0.995, race.target - race.lowest), (0, 2), fontsize=7.2, color=_DIM,
            ha="right", xycoords=("axes fraction", "data"), textcoords="offset points",
        )  # fmt: skip

    def _write_legend(self) -> None:
        """Writes rate and settings next to the end of each curve."""
        results = list(enumerate(self._race.results))
        ends = {
            index: float(self._gap(result.losses[_last(result) : _last(result) + 1])[0])
            for index, result in results
        }
        results.sort(key=lambda pair: -ends[pair[0]])
        low, high = np.log(self._loss.get_ylim())
        spacing = min(0.19, 1.12 / len(results))
        wanted = [(np.log(ends[index]) - low) / (high - low) for index, _ in results]
        positions = _spread([min(1.0, max(0.0, at)) for at in wanted], spacing, low=0.02, high=0.98)
        searched = any(result.found for _, result in results)
        inks = colours(self._race)
        for (index, result), height in zip(results, positions, strict=True):
            star = "*" if searched and result.found is None else ""
            edge = " (edge of the range)" if result.found and result.found.at_edge else ""
            line = {"arrowstyle": "-", "color": inks[index], "linewidth": 0.8, "alpha": 0.6}
            self._loss.annotate(
                "", (_last(result), ends[index]), (1.035, height), textcoords="axes fraction",
                arrowprops=line, annotation_clip=False,
            )  # fmt: skip
            at: Any = {"transform": self._loss.transAxes, "va": "center", "clip_on": False}
            self._loss.plot(
                1.045, height, "o", color=inks[index], markersize=6, clip_on=False,
                transform=self._loss.transAxes,
            )  # fmt: skip
            name = f"{result.candidate.label}  η {shown(result.lr)}{star}{edge}"
            self._loss.text(1.065, height + 0.035, name, fontsize=8.2, fontweight="bold", **at)
            settings = result.candidate.shown_settings()
            if result.diverged_at is not None:
                settings = f"non-finite at step {result.diverged_at}"
            self._loss.text(1.065, height - 0.05, settings, fontsize=6.3, color=_DIM, **at)

    def _add_moving(self) -> None:
        """Adds the artists that change from frame to frame, and the stars above all paths."""
        self._stars = [
            self._map.plot(x, y, "*", color=_STAR, mec=_INK, markersize=15, mew=0.9, animated=True)[
                0
            ]
            for x, y in self._race.problem.minima
        ]
        self.paths: list[Line2D] = []
        self.heads: list[Line2D] = []
        self._losses: list[Line2D] = []
        self._leaders: list[Line2D] = []
        self._labels: list[Text] = []
        inks = colours(self._race)
        for index, result in enumerate(self._race.results):
            ink = inks[index]
            line: Any = {"color": ink, "animated": True, "linestyle": "-" if index < 8 else "--"}
            (path,) = self._map.plot([], [], linewidth=1.9, path_effects=_CASING_OF_PATH, **line)
            (loss,) = self._loss.plot([], [], linewidth=1.5, **line)
            (leader,) = self._map.plot([], [], linewidth=0.8, alpha=0.6, **line)
            (head,) = self._map.plot(
                [], [], "o", color=ink, markersize=8, mec=_PAPER, mew=1.3, animated=True
            )
            label = self._map.text(
                0, 0, result.candidate.label, fontsize=8.6, va="center", animated=True,
                path_effects=_CASING, clip_on=True, color=_darker(ink), fontweight="bold",
            )  # fmt: skip
            self.paths.append(path)
            self._losses.append(loss)
            self._leaders.append(leader)
            self.heads.append(head)
            self._labels.append(label)
        (self._now,) = self._loss.plot(
            [], [], color=_DIM, linewidth=0.8, transform=self._loss.get_xaxis_transform(),
            animated=True,
        )  # fmt: skip

    def _place_labels(self, step: int) -> None:
        """Puts the names next to the heads, one under the other where they would overlap."""
        to_pixels, to_data = self._map.transData, self._map.transData.inverted()
        box = self._map.get_window_extent()
        heads = []
        for index, result in enumerate(self._race.results):
            x, y = to_pixels.transform(result.path[min(step, _last(result))])
            heads.append((index, _within(x, box.x0, box.x1), _within(y, box.y0, box.y1)))
        heads.sort(key=lambda one: (one[2], -one[0]))
        wanted = [y + 10 for _, _, y in heads]
        positions = _spread(wanted, 14.5, low=box.y0 + 8, high=box.y1 - 8)
        for (index, x, y), height in zip(heads, positions, strict=True):
            width = self._labels[index].get_window_extent(self._canvas.get_renderer()).width
            side = -1 if x + 24 + width > box.x1 else 1
            self._labels[index].set_position(tuple(to_data.transform((x + 14 * side, height))))
            self._labels[index].set_horizontalalignment("left" if side > 0 else "right")
            ends = to_data.transform([(x, y), (x + 11 * side, height)])
            self._leaders[index].set_data(*ends.T)


_CASING_OF_PATH = [withStroke(linewidth=3.4, foreground="#ffffffcc")]


def _darker(ink: str) -> tuple[float, float, float]:
    """Returns a colour in which small letters can be read on a light background."""
    red, green, blue = to_rgb(ink)
    return (0.72 * red, 0.72 * green, 0.72 * blue)


def _last(result: CandidateResult) -> int:
    """Returns the last step of a candidate with finite numbers."""
    ended = result.diverged_at
    return len(result.losses) - 1 if ended is None else max(0, ended - 1)


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low + 4), high - 4)


def _spread(wanted: Sequence[float], gap: float, *, low: float, high: float) -> list[float]:
    """Returns positions at least `gap` apart, near those wanted and in their order.

    >>> _spread([0.0, 0.0, 5.0], 1.0, low=0.0, high=10.0)
    [0.0, 1.0, 5.0]
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed: dict[int, float] = {}
    floor = low
    for i in order:
        placed[i] = max(wanted[i], floor)
        floor = placed[i] + gap
    ceiling = high
    for i in reversed(order):
        placed[i] = min(placed[i], ceiling)
        ceiling = placed[i] - gap
    return [placed[i] for i in range(len(wanted))]


def _write_gif(path: Path, frames: Sequence[Frame], inks: Sequence[str]) -> None:
    # One palette for all frames: still pixels are the same bit for bit, which makes small files.
    palette = _palette(frames[-1], inks)
    pictures = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    each = round(1000 / _PER_SECOND)
    durations = [each] * (len(pictures) - 1) + [round(1000 * _HOLD)]
    pictures[0].save(
        path, format="GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0
    )


def _palette(frame: Frame, inks: Sequence[str]) -> Image.Image:
    """Returns a palette of the colours of a frame and, exactly, of the inks."""
    # Quantising would average the few pixels of ink: two candidates would share a colour.
    colours = Image.fromarray(frame).quantize(_COLOURS, dither=Image.Dither.NONE).getpalette()
    assert colours is not None
    exact = [round(255 * part) for ink in inks for part in to_rgb(ink)]
    palette = Image.new("P", (1, 1))
    palette.putpalette(exact + colours[: 3 * _COLOURS])
    return palette


def _write_mp4(path: Path, frames: Sequence[Frame], _: Sequence[str]) -> None:
    held = [*frames, *[frames[-1]] * round(_PER_SECOND * _HOLD)]
    imageio.imwrite(
        path, np.stack(held), plugin="FFMPEG", fps=_PER_SECOND, codec="libx264",
        macro_block_size=2, output_params=["-crf", "20", "-preset", "veryfast"],
    )  # fmt: skip
