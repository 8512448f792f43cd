"""Which images have patches that stand in other images too, number by number, mirrored or not.

Cutting, moving, mirroring and erasing keep the numbers of whole patches, wherever they come to lie.
Patches of one number, and those that several images of a set share, tell nothing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_SIDE, _MOST = 3, 1 << 20  # pixels of a patch, and patches of a set
_TELLS, _LEAST = 0.25, 4  # share of an image's patches, and number of them, found again
_OWN = 0.5  # of the patches of a set, that stand in one of its images alone


def share_of_patches(one: Tensor, other: Tensor) -> float:
    """Returns the share of images (n, C, H, W) that hold patches of some of (N, C, H, W).

    0 where they are no images, or those of the one set have most patches in common.
    """
    if one.dim() != 4 or min(*one.shape[2:], *other.shape[2:]) < 2 * _SIDE:
        return 0.0
    kept = max(8, _MOST // one[0, 0].numel())
    one, other = one[:kept], other[:kept]
    keys, varied = _keys(one)
    numbers = torch.arange(len(one), device=one.device)[:, None].expand_as(keys)
    places, among = torch.unique(keys[varied], return_inverse=True)
    least = torch.full_like(places, len(one), dtype=torch.long)
    most = torch.zeros_like(least)
    least.scatter_reduce_(0, among, numbers[varied], "amin")
    most.scatter_reduce_(0, among, numbers[varied], "amax")
    shared, own = places[least < most], places[least == most]
    if len(own) < _OWN * len(places):
        return 0.0
    is_found = torch.zeros(len(other), dtype=torch.bool, device=other.device)
    for view in (other, other.flip(3)):
        keys, varied = _keys(view)
        tells = varied & ~torch.isin(keys, shared)
        again = (torch.isin(keys, own) & tells).sum(1)
        is_found |= (again >= _LEAST) & (again > _TELLS * tells.sum(1))
    return float(is_found.double().mean())


def _keys(images: Tensor) -> tuple[Tensor, Tensor]:
    """Returns a number for each patch of images (N, C, H, W), and whether it varies, (N, P) each.

    Equal patches have one number.
    """
    patches = F.unfold(images.double(), _SIDE)
    # Of integers, so that sums do not depend on the order in which they are made.
    bits = patches.contiguous().view(torch.int64)
    weights = torch.arange(1, bits.shape[1] + 1, device=bits.device) * 0x9E3779B97F4A7C1
    keys = ((bits ^ (bits >> 29)) * weights[:, None] ^ (bits >> 17)).sum(1)
    return keys, patches.amax(1) > patches.amin(1)
