"""What a monitor saw of the loop around a network, as plain numbers: optimizers, modes, validation.

`loop_detectors.py` derives findings from it; `ravine.monitor` fills it in.
"""

import math
from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideChange:
    """A change of the weights between two steps that no optimizer made.

    Attributes:
        step: after which it came.
        relative: its norm over that of the weights, on a sample of them.
        of_update: its norm over that of the optimizer's update before it; NaN where unknown.
        again: number of the state, among those that changes ended at, where it ends at an earlier
            one; None where it is a new one.
    """

    step: int
    relative: float
    of_update: float = math.nan
    again: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SwappedWeights:
    """Weights that a validation put in, and that training went on from.

    They lie back on the way that training had come since it went on last, as averages do.

    Attributes:
        times: that it was so.
        followed: validations, from the first of them on, that training followed.
        relative: largest change, over the norm of the weights, on a sample of them.
    """

    times: int
    followed: int
    relative: float


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedPart:
    """Parameters that learnt in all steps up to one, and in none since.

    Attributes:
        step: last one in which any of them learnt, where others did not any more.
        tensors: how many.
        share: of the weights that they are.
        moments: different last steps among them.
        is_frozen: none of them requires gradients.
        validation: number of the one in which they were first seen frozen, after a step in which
            they learnt; 0 where it was elsewhere, or not the same of all.
    """

    step: int
    tensors: int
    share: float
    moments: int
    is_frozen: bool
    validation: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class InputShift:
    """Inputs of validation against those of training, of one channel: the one that differs most.

    Attributes:
        trained: mean and standard deviation in training.
        validated: mean and standard deviation in validation.
        deviations: difference of the means of examples, in standard errors.
        correlation: of the mean example of validation with that of training, over all places.
        halves: the same of the two halves of the examples of training.
        evened: whether all examples of one of both have one standard deviation, and those of the
            other have not.
    """

    trained: tuple[float, float]
    validated: tuple[float, float]
    deviations: float
    correlation: float
    halves: float = 0.0
    evened: bool = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BetterView:
    """The view in which images of validation are nearest to training, by the network's responses.

    Attributes:
        name: of the view, in words.
        as_is: distance of the images as they are, near 1 where both are drawn alike.
        nearest: that in the view.
    """

    name: str
    as_is: float
    nearest: float


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseShift:
    """Responses of a trained network's units to validation, beside those to training.

    Attributes:
        distance: mean squared difference of their means, in squared standard errors; near 1 where
            both are drawn alike.
        effect: what is above 1 in it, in variances of the responses.
    """

    distance: float
    effect: float


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAnswers:
    """Answers for the tokens of validation that are no padding.

    Attributes:
        sure: mean largest probability.
        doubt: mean entropy, in nats.
        padding: share of all places that are padding.
        classes: K.
    """

    sure: float
    doubt: float
    padding: float
    classes: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class UnreachedPart:
    """Parameters that an optimizer holds and that had no gradient in any step.

    Attributes:
        steps: that were made.
        tensors: number of them.
        share: of the numbers that the optimizer holds.
    """

    steps: int
    tensors: int
    share: float


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LoopRecord:
    """What happened around a network.

    Attributes:
        steps: of the watched optimizer.
        is_foreign: the watched optimizer holds no parameter of the network.
        losses: training losses that were recorded.
        left_out: numbers of the network's weights that get gradients and that no optimizer which
            steps holds; and of those that the watched one held at the beginning.
        planned: learning rate that a schedule multiplies; 0 where none is attached.
        other_steps: steps of other optimizers on the same weights.
        other_optimizers: how many different ones, one after the other.
        steps_of_others: whether other optimizers step other weights of the network.
        calls: forward passes with gradients.
        resting_calls: those in evaluation mode, where layers that learn have a mode.
        resting_from: step from which on they are in evaluation mode; None where they end in
            training mode.
        outside: changes of weights that no optimizer made.
        kept_in: weights of validations that training went on from; None where it did not.
        stopped: parameters that learn no more; None where there are none.
        unreached: parameters without a gradient in any step; None where there are none.
        uncleared: steps that began with the gradients of the one before, and steps of which that
            is known.
        validations: recorded losses of held-out data, by step.
        validated: examples of the first pass of the last one, and its passes.
        pass_sizes: examples of each of them.
        trained: examples of the last pass with gradients, and passes of a step.
        elsewhere: those before which the watched network made no forward pass without gradients.
        in_training_mode: those whose passes ran in training mode, where layers have a mode.
        swapped: those whose passes ran with other weights than the last step left.
        shift: inputs of validation against those of training; None where they were not seen.
        wrapping: factor to the variation of images of training, and of validation, when the range
            of their values is a circle, and standard errors between; None where not known.
        redrawn: share of examples of validation that are other forms of what they were in the
            validation before.
        seen_in_training: share of examples of validation that were trained on.
        sure_in_training: mean largest probability on a batch of training, in evaluation mode.
        sure_while_training: the same in training mode.
        sure_in_validation: the same on one of validation, in evaluation mode.
        doubt_in_validation: mean entropy of those probabilities, in nats.
        loss_bounds: mean cross-entropy of the answers with the likeliest label of each, with one
            drawn at random, and with the least likely; None where there are none.
        classes: K of the logits; None where they are no (N, K).
        modes_agree: share of examples of a training batch with the same answer in both modes;
            NaN where it is not known.
        own_norms_agree: share of examples of a training batch with the same answer in evaluation
            mode where batch norms alone take the statistics of the batch; NaN where not known.
        norms_agree: share of examples of validation with the same answer where batch norms take
            the statistics of the batch; NaN where it is not known.
        followed: share of the way from where running statistics began to those of a batch; NaN
            where it is not known.
        doubt_by_batch: mean entropy of the answers then.
        probabilities_doubt: mean entropy of outputs on training that are probabilities themselves;
            NaN where they are none.
        influence: change of outputs of training when half of the batch is left out, in evaluation
            mode, over their deviation.
        apart: share of the outputs' directions that varies between examples of training, in
            evaluation mode; NaN where they are fewer than 8 numbers each, or a step sends one
            batch through the network that has one output of its shape.
        tokens: answers for padded sequences of validation; None where there are none.
        response: of the network to validation; None where it is no worse than training, or too few.
        view: of validation that is nearest to training; None where inputs are no images.
        copy_differs: distance of the outputs of another copy of the network from its own, over
            their deviation: with the copy's running statistics, and with those of the batch; None
            where none with batch norm was found, or the network itself is evaluated.
        noise: difference of two passes in evaluation mode, over the output's standard deviation.
    """

    steps: int = 0
    is_foreign: bool = False
    losses: int = 0
    left_out: tuple[int, int] = (0, 0)
    planned: float = 0.0
    other_steps: int = 0
    other_optimizers: int = 0
    steps_of_others: bool = False
    calls: int = 0
    resting_calls: int = 0
    resting_from: int | None = None
    outside: tuple[OutsideChange, ...] = ()
    kept_in: SwappedWeights | None = None
    stopped: StoppedPart | None = None
    unreached: UnreachedPart | None = None
    uncleared: tuple[int, int] = (0, 0)
    validations: int = 0
    validated: tuple[int, int] = (0, 0)
    pass_sizes: tuple[int, ...] = ()
    trained: tuple[int, int] = (0, 0)
    elsewhere: int = 0
    in_training_mode: int = 0
    swapped: int = 0
    shift: InputShift | None = None
    wrapping: tuple[float, float, float] | None = None
    redrawn: float = 0.0
    seen_in_training: float = 0.0
    sure_in_training: float = math.nan
    sure_while_training: float = math.nan
    sure_in_validation: float = math.nan
    doubt_in_validation: float = math.nan
    loss_bounds: tuple[float, float, float] | None = None
    classes: int | None = None
    modes_agree: float = math.nan
    own_norms_agree: float = math.nan
    norms_agree: float = math.nan
    followed: float = math.nan
    doubt_by_batch: float = math.nan
    probabilities_doubt: float = math.nan
    influence: float = 0.0
    apart: float = math.nan
    tokens: TokenAnswers | None = None
    response: ResponseShift | None = None
    view: BetterView | None = None
    copy_differs: tuple[float, float] | None = None
    noise: float = math.nan
