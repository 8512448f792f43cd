"""A linear map from small images to values, fitted to one half and asked for the other.

The plainest network there is: what it finds of targets needs no training and no user's network.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_SIDE = 12  # pixels, to which larger images are reduced
_RIDGE = 0.03  # of the mean square of a feature


def small_images(images: Tensor) -> Tensor:
    """Returns images (N, C, H, W) in grey and at most 12 pixels wide and high."""
    height, width = images.shape[2:]
    size = (min(height, _SIDE), min(width, _SIDE))
    grey = images.double().mean(1, keepdim=True)  # with colours the fits take seconds
    return F.adaptive_avg_pool2d(grey, size).cpu()


def pixels_and_constant(images: Tensor) -> Tensor:
    """Returns the pixels of (N, …) and a constant, (N, D)."""
    flat = images.flatten(1)
    return torch.cat([flat, flat.square().mean().sqrt().expand(len(flat), 1)], 1)


def linear_answers(views: Tensor, y: Tensor, choice: Tensor) -> Tensor:
    """Returns what a map says of each view (V, N, D) that is fitted on the other half, (V, N, k).

    Args:
        views: of the inputs.
        y: values (N, k).
        choice: the view of each example (N,) that is fitted to.
    """
    chosen = views[choice, torch.arange(len(y))]
    halves = torch.arange(len(y)) % 2
    out = torch.empty(len(views), *y.shape, dtype=torch.float64)
    for half in (0, 1):
        x, theirs = chosen[halves == half], y[halves == half]
        gram = x.T @ x
        gram += _RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
        out[:, halves != half] = views[:, halves != half] @ torch.linalg.solve(gram, x.T @ theirs)
    return out


def linear_errors(views: Tensor, y: Tensor, choice: Tensor) -> Tensor:
    """Returns the squared error of `linear_answers`, (V, N), the mean over values."""
    return (linear_answers(views, y, choice) - y).square().mean(2)
