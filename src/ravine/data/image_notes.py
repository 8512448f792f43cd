"""What cutting out the middle loses of the images, where that was asked for.

Shape letters: N images.
"""

import numpy as np

from ravine.data.decoded_cache import DecodedCache
from ravine.data.fit_choice import MOST_CUT, cut_share
from ravine.data.image_file import ImageFormat


def image_notes(decoded: DecodedCache, image_format: ImageFormat) -> list[str]:
    """Returns warnings in sentences; none where little is lost.

    Args:
        decoded: of N images, with their sizes.
        image_format: that they are brought to.
    """
    sizes = decoded.sizes[decoded.readable]
    if image_format.fit != "crop" or not len(sizes):
        return []
    lost = cut_share(sizes)
    many = int((lost > MOST_CUT).sum())
    if not many:
        return []
    return [
        f"the middle is cut out, and {many:,} of {len(lost):,} images lose more than a fifth of "
        f"their area, the median of all {100 * float(np.median(lost)):.0f} %; --fit pad or "
        "--fit squash keeps all of it"
    ]
