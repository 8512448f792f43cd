"""Draws the pictures of docs/: `make pictures`.

Curves come from Ravine's own pure functions where it has them, so that a picture cannot drift
away from the code; the rest is drawn from the formulas. One function per picture.
"""

import runpy
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle

from ravine.data.augment_operations import cutout, flip_and_crop, random_erasing
from ravine.data.mixing import cutmix, mixup
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings
from ravine.optim.adagrad import adagrad
from ravine.optim.adam import adam
from ravine.optim.momentum import momentum
from ravine.optim.rmsprop import rmsprop
from ravine.schedules import (
    SCHEDULES,
    between,
    chain,
    cosine,
    level,
    linear,
    mirrored_cycle,
    reverse,
    with_floor,
    with_warmup,
)

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
INK, FAINT, PAPER = "#22303c", "#9aa7b1", "#ffffff"
BLUE, ORANGE, GREEN, RED, VIOLET = "#2b6cb0", "#dd7a1f", "#2f855a", "#c53030", "#6b46c1"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6eaee",
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "lines.linewidth": 2.2,
    "figure.facecolor": PAPER,
    "savefig.dpi": 130,
}


def schedules() -> Figure:
    """Factor against progress: the five schedules, made-up ones, and momentum's mirrored cycle."""
    figure, axes = plt.subplots(2, 4, figsize=(12, 4.8), sharex=True)
    progress = np.linspace(0, 1, 1001)
    curves = {
        **SCHEDULES,
        "cosine, warm-up 0.1": with_warmup(cosine, share=0.1),
        "chain: rise, cosine, level": chain(
            (0.1, reverse(linear)), (0.6, with_floor(cosine, floor=0.2)), (0.3, level(0.2))
        ),
        "momentum's one-cycle": between(0.85, 0.95, mirrored_cycle).value_at,
    }
    for ax, (name, factor) in zip(axes.flat, curves.items(), strict=True):
        values = [factor(float(p)) for p in progress]
        is_factor = not name.startswith("momentum")
        colour = BLUE if is_factor else ORANGE
        ax.plot(progress, values, color=colour)
        ax.fill_between(progress, values, color=colour, alpha=0.1, linewidth=0)
        ax.set(title=name, xlim=(0, 1), ylim=(0, 1.08) if is_factor else (0.8, 1.0))
    for ax in axes[1]:
        ax.set_xlabel("progress")
    for ax in axes[:, 0]:
        ax.set_ylabel("factor of the rate")
    axes[1, 3].set(ylabel="momentum", yticks=[0.8, 0.85, 0.9, 0.95, 1])
    return figure


def ravine() -> Figure:
    """Gradient descent and momentum on a quadratic with curvatures 1 and 40."""
    low, high = 1.0, 40.0
    curvature = torch.tensor([low, high], dtype=torch.float64)
    best = 2 / (low + high)  # of plain gradient descent; from 2/high on it diverges
    paths = {
        f"gradient descent, 25 steps at its best rate, η = {best:.3f}": (
            RED,
            _path(curvature, η=best, γ=0.0),
        ),
        "momentum, 25 steps, γ = 0.8, η = 0.12": (BLUE, _path(curvature, η=0.12, γ=0.8)),
    }
    figure, axes = plt.subplots(2, 1, figsize=(9, 4.8), sharex=True, sharey=True)
    x, y = np.meshgrid(np.linspace(-10.6, 2.2, 300), np.linspace(-1.6, 1.6, 200))
    height = np.sqrt(0.5 * (low * x**2 + high * y**2))
    for ax, (name, (colour, path)) in zip(axes, paths.items(), strict=True):
        ax.contourf(x, y, height, levels=22, cmap="Greens_r", alpha=0.5)
        ax.plot(*path.T, color=colour, marker="o", markersize=3.5, linewidth=1.5)
        ax.plot(0, 0, marker="+", color=INK, markersize=12, markeredgewidth=2)
        ax.set_title(name, loc="left")
        ax.set(xlim=(-10.6, 2.2), ylim=(-1.6, 1.6), yticks=[-1, 0, 1])
        ax.grid(visible=False)
    return figure


def _path(curvature: torch.Tensor, *, η: float, γ: float) -> np.ndarray:
    w = torch.tensor([-10.0, 1.2], dtype=torch.float64)
    v, points = torch.zeros_like(w), [w]
    for _ in range(25):
        w, v = momentum(w, curvature * w, v, η=η, γ=γ, nesterov=False)
        points.append(w)
    return torch.stack(points).numpy()


def adaptive_rates() -> Figure:
    """Length of a step under gradients of size 1, in units of the rate."""
    steps = 1000
    g, zero = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    lengths: dict[str, list[float]] = {"AdaGrad": [], "RMSProp": [], "Adam": []}
    grown = mean = v = square = zero
    for k in range(1, steps + 1):
        step, grown = adagrad(zero, g, grown, η=1.0, ε=1e-8)
        lengths["AdaGrad"].append(-float(step))
        step, mean = rmsprop(zero, g, mean, η=1.0, α=0.99, ε=1e-8)
        lengths["RMSProp"].append(-float(step))
        at = torch.tensor(float(k), dtype=torch.float64)
        step, v, square = adam(zero, g, v, square, at, η=1.0, γ=0.9, α=0.999, ε=1e-8)
        lengths["Adam"].append(-float(step))
    figure, ax = plt.subplots(figsize=(8, 3.9))
    for (name, values), colour in zip(lengths.items(), (ORANGE, BLUE, GREEN), strict=True):
        ax.loglog(range(1, steps + 1), values, color=colour, label=name)
    ax.text(4.5, 8.2, "averages over zeros: 10 times too far at first", color=BLUE, va="center")
    ax.text(120, 0.135, "G only grows: 1/√k", color=ORANGE)
    ax.text(5.5, 0.7, "corrected: 1 from the first step", color=GREEN, va="center")
    ax.set(xlabel="step k", ylabel="length of a step / η", xlim=(1, steps))
    ax.set_title("Gradients of size 1: how far each rule moves a weight", loc="left")
    ax.legend(frameon=False, loc="lower left")
    return figure


def initial_variance() -> Figure:
    """Second moment of activations through a plain network of 50 layers of 256 neurons."""
    width, depth, tries = 256, 50, 10
    schemes: Mapping[str, tuple[str, Callable[[np.random.Generator], np.ndarray]]] = {
        "He": (BLUE, lambda r: r.normal(0, np.sqrt(2 / width), (width, width))),
        "orthogonal, gain √2": (
            GREEN,
            lambda r: np.sqrt(2) * np.linalg.qr(r.normal(size=(width, width)))[0],
        ),
        "Xavier": (ORANGE, lambda r: r.normal(0, np.sqrt(1 / width), (width, width))),
        "torch's constructor": (
            RED,
            lambda r: r.uniform(-(width**-0.5), width**-0.5, (width, width)),
        ),
    }
    figure, ax = plt.subplots(figsize=(8, 4.2))
    for name, (colour, draw) in schemes.items():
        runs = np.array([_second_moments(draw, seed, width, depth) for seed in range(tries)])
        ax.semilogy(np.median(runs, 0), color=colour, label=name)
        ax.fill_between(range(depth + 1), runs.min(0), runs.max(0), color=colour, alpha=0.18)
    ax.set(xlabel="layer", ylabel="mean of the squared activation", xlim=(0, depth))
    ax.set_title("ReLU, 256 neurons a layer; median and range of 10 draws", loc="left")
    ax.legend(frameon=False, loc="lower left")
    return figure


def _second_moments(
    draw: Callable[[np.random.Generator], np.ndarray], seed: int, width: int, depth: int
) -> list[float]:
    chance = np.random.default_rng(seed)
    x = np.abs(chance.normal(size=(64, width)))
    moments = [1.0]
    start = (x**2).mean()
    for _ in range(depth):
        x = np.maximum(x @ draw(chance).T, 0)
        moments.append((x**2).mean() / start)
    return moments


def dropout() -> Figure:
    """Both forms in both stages: which neurons are on, and by what they are multiplied."""
    figure, axes = plt.subplots(2, 2, figsize=(8.4, 4.2))
    on = [True, False, True, True, False, True, False, True]
    factors = {
        ("classic", "learning"): "on × 1",
        ("classic", "application"): "all × (1 − p)",
        ("inverted", "learning"): "on × 1/(1 − p)",
        ("inverted", "application"): "all × 1",
    }
    for ax, ((form, stage), factor) in zip(axes.flat, factors.items(), strict=True):
        learning = stage == "learning"
        shade = {"on × 1/(1 − p)": 1.0, "all × (1 − p)": 0.3}.get(factor, 0.6)
        for index, lit in enumerate(on):
            alive = lit or not learning
            ax.add_patch(
                Circle(
                    (index, 0),
                    0.38,
                    facecolor=(*matplotlib.colors.to_rgb(BLUE), shade) if alive else PAPER,
                    edgecolor=BLUE if alive else FAINT,
                    linewidth=1.6,
                    linestyle="-" if alive else "--",
                )
            )
            if not alive:
                ax.plot(index, 0, marker="x", color=FAINT, markersize=9)
        ax.set_title(f"{form}, {stage} stage", loc="left")
        ax.text(3.5, -0.85, factor, ha="center", va="center", color=BLUE, fontsize=12)
        _bare(ax, (-0.6, 7.6), (-1.1, 0.6))
    return figure


def convolution() -> Figure:
    """Three pairs of stride and padding on a 5×5 image with a 3×3 filter."""
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.5))
    for ax, (stride, padding) in zip(axes, [(1, 0), (1, 1), (2, 1)], strict=True):
        size = (5 + 2 * padding - 3) // stride + 1
        at = (0, 1)  # the position in the output that is lit
        if padding:
            frame = 5 + 2 * padding
            for row in range(frame):
                for column in range(frame):
                    if not (padding <= row < 5 + padding and padding <= column < 5 + padding):
                        _cell(ax, column - padding, row - padding, PAPER, FAINT, dashed=True)
        _grid(ax, 0.0, 0.0, 5, BLUE)
        left, top = at[1] * stride - padding, at[0] * stride - padding
        ax.add_patch(Rectangle((left, top), 3, 3, facecolor=ORANGE, alpha=0.35, linewidth=0))
        ax.add_patch(Rectangle((left, top), 3, 3, fill=False, edgecolor=ORANGE, linewidth=2.5))
        across, down = 8.0, 2.5 - size / 2
        _grid(ax, across, down, size, GREEN)
        ax.add_patch(
            Rectangle((across + at[1], down + at[0]), 1, 1, facecolor=ORANGE, edgecolor=ORANGE)
        )
        ax.add_patch(
            FancyArrowPatch((6.3, 2.5), (7.7, 2.5), arrowstyle="-|>", mutation_scale=16, color=INK)
        )
        ax.set_title(f"stride {stride}, padding {padding}:  5×5 → {size}×{size}")
        _bare(ax, (-1.4, 13.4), (6.4, -1.4))
    return figure


def _grid(ax: Axes, x: float, y: float, size: int, colour: str) -> None:
    for row in range(size):
        for column in range(size):
            _cell(ax, x + column, y + row, (*matplotlib.colors.to_rgb(colour), 0.16), colour)


def _cell(ax: Axes, x: float, y: float, face: object, edge: str, *, dashed: bool = False) -> None:
    style = (0, (3, 2)) if dashed else "-"
    ax.add_patch(
        Rectangle((x, y), 1, 1, facecolor=face, edgecolor=edge, linewidth=1, linestyle=style)
    )


def blocks() -> Figure:
    """What stands in a block of four families, from top to bottom."""
    conv, norm, act, drop = "3×3 convolution", "batch norm", "ReLU", "dropout"
    families = {
        "plain": [conv, norm, act, conv, norm, act],
        "ResNet": [conv, norm, act, conv, norm, "+", act],
        "pre-activation": [norm, act, conv, norm, act, conv, "+"],
        "WideResNet": [norm, act, conv, norm, act, drop, conv, "+"],
    }
    figure, axes = plt.subplots(1, 4, figsize=(10.5, 6))
    for ax, (title, layers) in zip(axes, families.items(), strict=True):
        wide = title == "WideResNet"
        _draw_block(ax, layers, note="k times the channels" if wide else "")
        ax.set_title(title, fontweight="bold")
        _bare(ax, (-1.35, 2.1), (-9.4, 1.0))
    return figure


def _draw_block(ax: Axes, layers: list[str], *, note: str) -> None:
    colours = {"3×3 convolution": BLUE, "batch norm": GREEN, "ReLU": ORANGE, "dropout": VIOLET}
    ax.text(0, 0.72, "x", ha="center", va="center", fontsize=13, style="italic")
    below, sum_at = 0.45, None
    for index, layer in enumerate(layers):
        y = -0.35 - 1.12 * index
        _arrow(ax, below, y + (0.26 if layer == "+" else 0.36))
        if layer == "+":
            ax.add_patch(Circle((0, y), 0.26, facecolor=PAPER, edgecolor=RED, linewidth=2))
            ax.text(0, y - 0.02, "+", ha="center", va="center", color=RED, fontsize=15)
            sum_at, below = y, y - 0.26
            continue
        shade = (*matplotlib.colors.to_rgb(colours[layer]), 0.16)
        ax.add_patch(
            FancyBboxPatch(
                (-1.15, y - 0.32),
                2.3,
                0.64,
                boxstyle="round,pad=0.02,rounding_size=0.15",
                facecolor=shade,
                edgecolor=colours[layer],
                linewidth=1.4,
            )
        )
        ax.text(0, y, layer, ha="center", va="center", fontsize=10)
        below = y - 0.36
    _arrow(ax, below, below - 0.55)
    ax.text(0, below - 0.8, note, ha="center", va="center", fontsize=9.5, color=BLUE)
    if sum_at is not None:
        ax.plot([0.0, 1.6, 1.6, 0.42], [0.32, 0.32, sum_at, sum_at], color=RED, linewidth=2)
        ax.plot(0.36, sum_at, marker="<", color=RED, markersize=7)
        ax.text(1.86, sum_at / 2, "skip", color=RED, rotation=90, ha="center", va="center")


def _arrow(ax: Axes, start: float, end: float) -> None:
    ax.add_patch(
        FancyArrowPatch(
            (0, start),
            (0, end),
            arrowstyle="-|>",
            mutation_scale=10,
            color=INK,
            shrinkA=0,
            shrinkB=0,
        )
    )


def augmentation() -> Figure:
    """What each operation makes of six images of the sample."""
    data = open_dataset(DataSettings(data="@fashion", cache=False, validation=0.0), seed=0)
    train = data.splits["train"]
    wanted = [5, 1, 9, 8, 7, 2]  # each is mixed with the one across the middle
    chosen = [int(train[np.flatnonzero(data.labels[train] == k)[3]]) for k in wanted]
    labels = torch.tensor(wanted)
    raw = torch.from_numpy(data.images[chosen].copy()).permute(0, 3, 1, 2)
    mean, std = data.preprocessing.mean[0], data.preprocessing.std[0]
    images = (raw.float() / 255 - mean) / std
    chance = torch.Generator().manual_seed(4)
    mixed, shares = mixup(images, labels, 10, lam=0.6)
    boxed, parts = cutmix(images, labels, 10, lam=0.7, centre=(0.5, 0.6))
    moved = flip_and_crop(raw, chance, flips=True, padding=4).float() / 255
    rows = {
        "image": images,
        "flip and crop": (moved - mean) / std,
        "cutout": cutout(images, chance, size=9),
        "random erasing": random_erasing(images, chance, probability=1.0),
        "mixup": mixed,
        "cutmix": boxed,
    }
    figure, axes = plt.subplots(len(rows), len(wanted), figsize=(7.6, 8.0))
    targets = {"mixup": shares, "cutmix": parts}
    for line, (name, batch) in zip(axes, rows.items(), strict=True):
        pixels = (batch * std + mean).clamp(0, 1)
        for index, (ax, image) in enumerate(zip(line, pixels, strict=True)):
            ax.imshow(1 - image[0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            ax.grid(visible=False)
            ax.spines[:].set_visible(True)
            text = _target(targets[name][index], data.classes) if name in targets else ""
            ax.set_xlabel(data.classes[wanted[index]] if name == "image" else text, fontsize=8.5)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11, labelpad=10)
    return figure


def _target(shares: torch.Tensor, classes: tuple[str, ...]) -> str:
    held = [int(k) for k in shares.argsort(descending=True) if shares[k] > 0]
    return "\n".join(f"{float(shares[k]):.2f} {classes[k]}" for k in held)


def _bare(ax: Axes, x: tuple[float, float], y: tuple[float, float]) -> None:
    ax.set(xlim=x, ylim=y, aspect="equal")
    ax.axis("off")


SENTENCES = {
    "cli": "the commands: parse, call, print",
    "workflows": "one file per command: where rooms meet",
    "training": "loop, step, plan",
    "monitor": "snapshots",
    "checks": "before training",
    "landscapes": "loss surfaces",
    "tournament": "fair races",
    "test_functions": "rollouts, theory",
    "reports": "pages, figures",
    "exports": "other formats",
    "trackers": "TensorBoard, …",
    "data": "disk to batches",
    "models": "networks",
    "optim": "update rules, steps",
    "schedules": "curves of progress",
    "weights": "trained weights",
    "runs": "the run folder",
    "findings": "what is wrong",
    "propagation": "variance theory",
    "nn": "layers, initial weights",
    "ops": "autograd functions over the C library",
    "kernels": "plain C and Triton",
    "core": "errors, checks, seeds, events, device",
}


def floors() -> Figure:
    """The eight floors of the package, from import-linter's contract."""
    rooms_of = runpy.run_path(str(ROOT / "scripts" / "make_map.py"))["floors"]()
    figure, ax = plt.subplots(figsize=(12.5, 6.4))
    colours = [BLUE, BLUE, ORANGE, GREEN, VIOLET, VIOLET, VIOLET, INK]
    for height, (rooms, colour) in enumerate(zip(rooms_of, colours, strict=True)):
        bottom = len(rooms_of) - height
        ax.text(-0.35, bottom + 0.42, str(bottom), ha="right", va="center", color=FAINT)
        for number, room in enumerate(rooms):
            width = 12 / len(rooms)
            _room(ax, number * width, bottom, width, colour, room)
    ax.annotate(
        "imports", xy=(12.35, 1.0), xytext=(12.35, 8.9), color=FAINT, ha="center",
        arrowprops={"arrowstyle": "->", "color": FAINT},
    )  # fmt: skip
    ax.set(xlim=(-0.8, 12.8), ylim=(0.9, 9.1))
    ax.axis("off")
    return figure


def _room(ax: Axes, left: float, bottom: float, width: float, colour: str, room: str) -> None:
    box = (left + 0.04, bottom + 0.06), width - 0.08, 0.8
    style = "round,pad=0,rounding_size=0.08"
    ax.add_patch(FancyBboxPatch(*box, boxstyle=style, fc=colour, ec="none", alpha=0.13))
    middle = left + width / 2
    ax.text(middle, bottom + 0.58, f"{room}/", ha="center", va="center", weight="bold", size=10.5)
    ax.text(middle, bottom + 0.27, SENTENCES[room], ha="center", va="center", size=8.2)


DRAWINGS: Mapping[str, Callable[[], Figure]] = {
    "schedules": schedules,
    "ravine": ravine,
    "adaptive-rates": adaptive_rates,
    "initial-variance": initial_variance,
    "dropout": dropout,
    "convolution": convolution,
    "blocks": blocks,
    "augmentation": augmentation,
    "floors": floors,
}


def main() -> None:
    """Draws the pictures that are named on the command line, or all."""
    PICTURES.mkdir(exist_ok=True)
    for name in sys.argv[1:] or DRAWINGS:
        with plt.rc_context(STYLE):
            figure = DRAWINGS[name]()
            figure.tight_layout()
            # No software version inside: the same picture is the same file.
            figure.savefig(
                PICTURES / f"{name}.png",
                metadata={"Software": None},
                bbox_inches="tight",
                pad_inches=0.15,
            )
            plt.close(figure)
        print(PICTURES / f"{name}.png")


if __name__ == "__main__":
    main()
