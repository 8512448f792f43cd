"""Progressive resizing: small images first, full ones for the rest of a run.

Small images take less time, so that a budget holds more steps; what they teach, the last steps
carry over to full images. Howard, "Training Imagenet in 3 hours for 25 minutes", 2018; Tan, Le,
"EfficientNetV2: smaller models and faster training", ICML 2021, section 4.

Shape letters: B batch, C channels, S image size.
"""

from dataclasses import dataclass, replace
from typing import final

import torch
import torch.nn.functional as F

from ravine.data.batches import Batch


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SmallImages:
    """The first part of a run, in which images are small.

    Attributes:
        size: pixels a side of the small images.
        share: of the run's steps that see them, in (0, 1).
    """

    size: int
    share: float

    def batch_at(self, progress: float, batch: Batch) -> Batch:
        """Returns the batch as a step at this progress in [0, 1] sees it."""
        return self.resized(batch) if progress < self.share else batch

    def resized(self, batch: Batch) -> Batch:
        """Returns the batch with small images (B, C, S, S): bilinear, each pixel counted."""
        size = (self.size, self.size)
        images = F.interpolate(
            batch.images, size=size, mode="bilinear", antialias=True, align_corners=False
        )
        return replace(batch, images=images.contiguous(memory_format=torch.channels_last))
