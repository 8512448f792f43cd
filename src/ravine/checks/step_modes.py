"""The modes in which a network trains: those of the user's step, where it is seen."""

from ravine.checks.context import CheckContext
from ravine.nn.freezing import training_mode_


def train_as_in_step_(context: CheckContext) -> None:
    """Puts the network into training mode, and its parts into those that the user's step sets.

    A step may leave a frozen body in evaluation mode, or norms that are not to move.
    """
    training_mode_(context.model)
    pair = context.measured.steps
    modes = () if pair is None else pair.first.modes
    for module, is_training in zip(context.model.modules(), modes, strict=False):
        module.training = is_training
