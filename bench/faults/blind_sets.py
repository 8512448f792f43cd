"""The sets of situations that were written blind, in words: what is special in each.

What each showed in numbers is in bench/results/faults-blind.jsonl; `page.py` puts both on the page.
"""

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BlindSet:
    """A set of situations.

    Attributes:
        name: of its column.
        number: in the rows of the results.
        special: in what it is unlike the others.
        alarms: what healthy runs were falsely charged with.
        mended: what was put into the detectors after it had been scored.
    """

    name: str
    number: int
    special: str
    alarms: str
    mended: str


BLIND_SETS = (
    BlindSet(
        name="first of them",
        number=2,
        special="one seed; 6 of 36 faults without a code",
        alarms="one of two heads is used; a signal too weak to learn; a crash under autocast",
        mended="leaks, order, masks, slipped labels, wrong signs, drowned tasks",
    ),
    BlindSet(
        name="second",
        number=3,
        special="one seed; 5 of 28 faults without a code",
        alarms="none",
        mended="the future seen, accuracies that do not fit, frozen layers at random",
    ),
    BlindSet(
        name="third",
        number=4,
        special="one seed; wider in kind than the first two: language models, several losses, "
        "averages, metrics",
        alarms="masked words as a leak; an equation as loss; experts that get no example",
        mended="terms without targets, copies, views of validation, collapse: tried, not guessed",
    ),
    BlindSet(
        name="fourth",
        number=5,
        special="one seed; two thirds are image classifiers; who widened the detectors meanwhile "
        "had seen some of its names",
        alarms="none",
        mended="attention along the batch, boxes in pixels, mirrors that change the class, "
        "exchanged shares of mixup, copies augmented before the split",
    ),
    BlindSet(
        name="fifth",
        number=6,
        special="two seeds, as all from here on; loops, samplers, several tasks",
        alarms="labels of −1 that the loss passes over; neighbours among training images as a "
        "measure",
        mended="gradients dropped between batches, idle clipping, statistics of other inputs, "
        "encodings of the own row, padding that counts as right",
    ),
    BlindSet(
        name="sixth",
        number=7,
        special="a code for each fault; its writer had put 14 further ones aside, most of old "
        "kinds, before it ran",
        alarms="wrong labels that were put in, called healthy since 30 % of them do little harm; "
        "a body frozen for a while, whose statistics move",
        mended="tasks whose gradient is cut, losses that explode, statistics on their way, rates "
        "turned round, validation on another scale, masks that do not move with their pictures",
    ),
    BlindSet(
        name="seventh",
        number=8,
        special="a code for each fault; its kinds (loops, losses, data, networks on small images) "
        "are nearer to those that the detectors know, so part of the rise is the set's",
        alarms="all critical, in networks whose parts take turns: layers left out at random, one "
        "of two tasks in a step, experts chosen for an example; a crash where the inputs are one "
        "pair",
        mended="parts that take turns or stop to learn, meters that are never reset, targets that "
        "are the inputs, training on the easiest examples, probabilities inside a step",
    ),
    BlindSet(
        name="eighth",
        number=9,
        special="two writers, 24 and 20 faults, 14 and 13 healthy; image classifiers and what is "
        "built around them, then other tasks too; both chose kinds that people often meet",
        alarms="embeddings whose batches hold some of the classes, by design; a likelihood that is "
        "maximised; a frozen body that the step keeps in evaluation mode; a long tail that the "
        "loss corrects by its prior",
        mended="labels that are numbers or names, losses that compare examples, likelihoods that "
        "climb, priors in the logits, bodies that rest, classes in another mixture; softmax and "
        "other ends over one output",
    ),
    BlindSet(
        name="ninth",
        number=10,
        special="two writers, 16 and 12 faults, 14 and 14 healthy; image classifiers and what is "
        "built around them, then other tasks; that images are mirrored and their masks are left "
        "was said by labels-unrelated, which is right elsewhere on this page, and is counted as "
        "missed since its writer had named other codes",
        alarms="master copies of the weights that the optimizer holds; batches of several views "
        "of each image; a slow copy that the step moves by hand (two findings); a critic beside "
        "the watched network, with an optimizer of its own",
        mended="the four false alarms; outputs of two views that collapse, similarities that are "
        "multiplied by their temperature, clipping before unscaling at a high rate",
    ),
    BlindSet(
        name="tenth",
        number=11,
        special="two writers, 16 and 12 faults, 14 and 14 healthy; they had been told which kinds "
        "the set before had, and took others; for four kinds (weights of rare labels turned "
        "round, boxes averaged over empty cells, a teacher's images prepared twice, a focal loss "
        "turned round) they thought that no code fits exactly, and named lenient ones",
        alarms="two networks that compete under one optimizer, whose judge is frozen for the "
        "maker's pass; episodes in which classes are numbered anew",
        mended="both false alarms; teachers that a step trains as its targets, an eps of 0 in half "
        "precision (a check crashed on it), schedules whose factor is the learning rate",
    ),
    BlindSet(
        name="eleventh",
        number=12,
        special="two new writers, 28 faults and 28 healthy kinds each, two seeds; image "
        "classifiers and what is built around them, then other tasks; 7 of 56 faults without a "
        "code; that images are mirrored and their points are left was said by labels-unrelated, "
        "and is counted as missed since its writer had named other codes",
        alarms="segmentation whose rims are passed over, and a policy whose loss comes back to 0 "
        "(critical); weights and units of one bit; a logarithm of a rate behind an average over "
        "places; a policy over real actions whose validation is no loss; crashes: a graph that "
        "takes no part of its batch, and a monitor without an optimizer",
        mended="all of these; heads that are reshaped and not turned, bodies that are drawn anew "
        "after loading, signals whose order is not read, value functions that are no labels",
    ),
    BlindSet(
        name="twelfth",
        number=13,
        special="two new writers, 20 faults and 20 healthy kinds each, two seeds; image "
        "classifiers and what is built around them (38 of 38 with a code), then other tasks (26 "
        "of 36); they chose what people meet, so many kinds are near to those of earlier sets; 3 "
        "of 40 faults without a code",
        alarms="a frozen body and a head that a step calls one by one: the monitor's own passes "
        "had moved the statistics between two of its looks",
        mended="that; derivatives that are trained without a graph of their own, outputs behind "
        "an end that the loss's best answer is beyond, tables of vectors that hold none, pairs of "
        "one kind, losses of −500,000",
    ),
    BlindSet(
        name="thirteenth",
        number=14,
        special="two new writers, 20 faults and 20 healthy kinds each, two seeds; images and what "
        "is built around them (33 of 40 with a code), then half other tasks (28 of 38); 1 of 40 "
        "faults without a code",
        alarms="none",
        mended="inputs of a pair that are not read, networks linear in one of several inputs, a "
        "teacher in the optimizer, views that collapse by the loss, rewards that fall while the "
        "loss does, weights that come back again and again, cosines in retrieval",
    ),
    BlindSet(
        name="fourteenth",
        number=15,
        special="two new writers, 20 faults and 20 healthy kinds each, two seeds; image "
        "classifiers and what is built around them (36 of 38 with a code), then half other tasks "
        "(30 of 40); 1 of 40 faults without a code",
        alarms="segmentation with a loss of minus dice, which is said to pass examples over",
        mended="that; a policy whose loss draws was said to be turned round; numbers that meet a "
        "column inside a loss or a step, averages that validation leaves in, cosines of two "
        "networks times their temperature, distances without a hinge",
    ),
)
COLUMNS = ("set", "special in it", "false alarms", "mended after it")


def blind_table() -> str:
    """Returns the table of the sets, in words."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    lines += [
        f"| {s.name} (set {s.number}) | {s.special} | {s.alarms} | {s.mended} |" for s in BLIND_SETS
    ]
    return "\n".join(lines) + "\n\n"
