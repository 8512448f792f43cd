"""What images, masks, values and mixed targets show by themselves: no network is trained."""

from collections.abc import Iterator

from ravine.checks.context import CheckContext
from ravine.checks.fed_examples import find_mirrored_in_step
from ravine.checks.fed_mixture import find_exchanged_in_step
from ravine.checks.fed_moves import find_moved_in_step
from ravine.checks.fed_values import find_changed_values
from ravine.checks.grid_alignment import check_grid
from ravine.checks.label_shortcut import check_shortcut
from ravine.checks.mask_alignment import check_alignment
from ravine.checks.mirrored_data import find_mirrored_in_data
from ravine.checks.mixed_targets import find_exchanged_shares
from ravine.findings.finding import Finding


def find_without_training(context: CheckContext) -> Iterator[Finding]:
    """Yields what images, masks and mixed targets show by themselves."""
    yield from check_shortcut(context)
    yield from check_alignment(context)
    yield from check_grid(context)
    yield from find_mirrored_in_step(context)
    yield from find_moved_in_step(context)
    yield from find_changed_values(context)
    yield from find_mirrored_in_data(context)
    yield from find_exchanged_shares(context.samples)
    yield from find_exchanged_in_step(context)
