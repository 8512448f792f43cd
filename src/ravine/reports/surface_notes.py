"""Notes on a picture of a surface: what it shows and what it leaves out, in words."""

import math
from collections.abc import Sequence

import numpy as np

from ravine.runs.surface import Surface


def seen_in(surface: Surface) -> str:
    """Returns what a surface shows, in a sentence: how much the loss rises, and how far away."""
    x, y, lowest = surface.minimum
    known = surface.height[np.isfinite(surface.height)]
    if not len(known) or lowest <= 0:
        return "The loss around the network"
    rise = float(known.max()) / lowest
    far = np.hypot(surface.x[None, :] - x, surface.y[:, None] - y)
    steep = far[np.isfinite(surface.height) & (surface.height > 10 * lowest)]
    if rise < 2:
        return f"Flat: the loss stays within a factor of {rise:.2g} of its least, {lowest:.3g}"
    if not len(steep):
        return f"A gentle slope: the loss rises {rise:.2g}-fold from its least, {lowest:.3g}"
    return (
        f"Steep walls: the loss is ten times its least, {lowest:.3g}, at a distance of "
        f"{float(steep.min()):.2g}, and {rise:,.0f} times at the most"
    )


def notes(surface: Surface) -> list[str]:
    """Returns what a surface leaves out, a line each: kind, policy, centre, nodes, holes, slice."""
    about = surface.about
    norm = "no batch norm"
    if about.get("batch_norm"):
        norm = f"batch norm: {about.get('policy_text')}"
    lines = [
        f"{about.get('kind')}; {norm}",
        _centre(surface),
        _nodes(surface),
        *_explained(surface),
    ]
    lines += [part for part in (_holes(surface), roughness_note(surface)) if part]
    return [*lines, _slice(surface)]


def notes_of_several(surfaces: Sequence[Surface]) -> list[str]:
    """Returns the notes that several policies share, then those of each."""
    first = surfaces[0]
    lines = [str(first.about.get("kind")), _nodes(first), *_explained(first)]
    for surface in surfaces:
        own = [_centre(surface), roughness_note(surface), _holes(surface)]
        text = surface.about.get("policy_text")
        lines.append(f"batch norm, {text}: " + "; ".join(part for part in own if part))
    return [*lines, _slice(first)]


def _centre(surface: Surface) -> str:
    about = surface.about
    text = f"loss at the centre {about.get('centre_loss', math.nan):.3g}"
    error = about.get("centre_error")
    if error is None or not math.isfinite(error):
        return text
    return f"{text} ± {error:.2g} (standard error, {about.get('count')} values)"


def _nodes(surface: Surface) -> str:
    about = surface.about
    text = f"{about.get('nodes')} of {about.get('of_nodes')} nodes computed"
    if about.get("nodes") != about.get("of_nodes"):
        text += ", the rest interpolated"
    return f"{text}; {about.get('precision')}"


def _explained(surface: Surface) -> list[str]:
    if "explained" not in surface.about:
        return []
    off = np.asarray(surface.trajectory["off_plane"])
    return [
        f"the plane holds {100 * sum(surface.about['explained']):.1f} % of the trajectory's "
        f"squared length; points lie up to {100 * off.max():.0f} % off it (larger dots), "
        f"the first {100 * off[0]:.0f} %"
    ]


def _holes(surface: Surface) -> str:
    holes = int((~np.isfinite(surface.height)).sum())
    return f"{holes} nodes are holes (hatched): the loss there is not finite" if holes else ""


def _slice(surface: Surface) -> str:
    slices = 2 if len(surface.y) > 1 else 1
    return f"a {slices}-dimensional slice of {surface.about.get('parameters', 0):,} parameters"


def roughness_note(surface: Surface) -> str:
    """Returns the roughness in words; empty if the surface is too small to have one."""
    rough = surface.roughness
    if not math.isfinite(rough["non_convex"]):
        return ""
    what = "plane" if len(surface.y) > 1 else "line"
    text = f"not convex on {100 * rough['non_convex']:.1f} % of the {what}"
    if math.isfinite(rough["log_range"]):
        axes = [surface.x, surface.y] if len(surface.y) > 1 else [surface.x]
        radius = min(1.0, *(max(-axis[0], axis[-1]) for axis in axes))
        text += f"; log₁₀ loss ranges over {rough['log_range']:.2f} within radius {radius:.3g}"
    return text
