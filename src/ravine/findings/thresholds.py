"""The thresholds of checks and detectors.

Each was set on one half of the fault zoo (bench/faults) and is reported on the other one.
"""

from typing import Final

# Inputs: root mean square over a batch. Pixels in [0, 1] have 0.3, normalised ones 1.
LARGE_INPUTS: Final = 8.0
SMALL_INPUTS: Final = 0.01
# Counts of the commonest over the rarest class, from so many labels on.
IMBALANCE: Final = 10.0
IMBALANCE_FROM: Final = 300
# χ² of labels by batch over its degrees of freedom; 1 where batches are shuffled.
UNSHUFFLED: Final = 3.0
# Initial loss above ln K, as a factor and in nats.
INITIAL_LOSS: Final = 2.0
INITIAL_LOSS_NATS: Final = 2.0
# Ratio of variances between the first and the last hidden layer.
EXPLODING: Final = 1e4
VANISHING: Final = 1e-5
# Standard deviation of the logits at the start.
LARGE_LOGITS: Final = 10.0
# Share of a layer's units that are 0, or saturated, on the whole batch.
DEAD: Final = 0.5
SATURATED: Final = 0.5
# Units of a layer, fewer of which make no share; input variance of an activation over that of the
# first layer, below which its units are dead because the signal has faded.
FEW_UNITS: Final = 8
FADED: Final = 0.02
# Share of the loss of eight examples that must be gone, where there is no accuracy.
OVERFIT: Final = 0.5
# The learning rate over the one that the range test suggests, and over the one at which the loss
# explodes, both to be exceeded; over the one at which the loss begins to fall, and over the
# suggested one. From RATE_DOUBTFUL times the suggested one on a short training decides: the fall
# of its loss, over that with the suggested one: of one that is too high, and too low.
RATE_HIGH: Final = 10.0
RATE_NEAR: Final = 0.5
RATE_DOUBTFUL: Final = 3.0
RATE_LOW: Final = 1 / 100
RATE_FAR: Final = 1 / 1000
RATE_KEEPS_UP: Final = 0.67
RATE_MOVES: Final = 0.1
# Cosine of a step's update with the gradient of the loss, above which it climbs; of its gradient,
# below which it may follow something else. Share of updates that are rounded away. Norm of the
# gradient that reaches the optimizer over that of the loss, and its inverse.
CLIMBS: Final = 0.3
UNRELATED_STEP: Final = 0.7
ROUNDED_AWAY: Final = 0.5
GRADIENT_CUT: Final = 0.03
# Decay of a step over the whole of training; and dropout.
STRONG_DECAY: Final = 0.05
STRONG_DROPOUT: Final = 0.8
# Agreement of labels with inputs, in standard deviations of permuted labels.
LABELS_RELATED: Final = 4.0
SCORE_RELATED: Final = 2.5
# Share of labels that look drawn at random.
LABEL_NOISE: Final = 0.15
# What labels are worth of as many right ones, less of which noise costs much: (1 − η)² of a share η
# of random ones, since the mean gradient shrinks by 1 − η and its noise does not.
NOISE_WORTH: Final = 0.5
# Loss of a batch with running statistics over that with its own, and their difference.
NORM_LOSS: Final = 2.0
NORM_LOSS_NATS: Final = 0.7
# Over a run: the loss at its end over ln K, and that of any row.
DIVERGED: Final = 1.3
BLOWN: Final = 100.0
# Share of ln K below which something was learnt; at AT_CHANCE again it is forgotten.
LEARNT: Final = 0.85
AT_CHANCE: Final = 0.93
# Validation loss over its least, and training over validation loss.
OVERFIT_RISE: Final = 1.15
OVERFIT_GAP: Final = 0.5
# Training loss over ln K, above which it is high; learning rate over its peak, below which
# nothing is learnt any more.
UNDERFIT: Final = 0.35
RATE_FELL: Final = 0.01

# In a row, on other examples each, after which a unit that was 0 in all counts as dead.
SNAPSHOTS: Final = 8
# Noise of the output in evaluation mode, and influence of other examples on it, over its standard
# deviation.
NOISY: Final = 0.01
MIXED: Final = 0.05
# Root mean square of the targets of a regression.
LARGE_TARGETS: Final = 30.0
# Distance of an image of validation from one of training over that from the nearest twentieth.
COPIED: Final = 0.35
# Standard errors by which mixed targets fit better with their shares exchanged.
EXCHANGED: Final = 5.0
# Loss at the best value outside a part's range over the least inside, below which it is out of
# reach.
OUT_OF_RANGE: Final = 0.7
# Share of a constant answer's loss that the best network could take away.
UNINFORMATIVE: Final = 0.05
# Gradient past the outputs over that through them.
PENALTY: Final = 2.0
# Standard deviation of the inputs over their mean's size.
FLAT_INPUTS: Final = 0.1
# Correlation of the outputs with those of standardised inputs, below which their scale matters.
SAME_OUTPUTS: Final = 0.9
# Roughness of images that are read in another order of axes, over their own.
SCRAMBLED: Final = 0.8
# Labels, in all and of each class, fewer of which do not decide whether they belong to the inputs.
FEW_LABELS: Final = 80
FEW_PER_CLASS: Final = 20
# p of McNemar's test, below which a network is worse than a baseline; steps of a run that are few.
BELOW_BASELINE: Final = 0.05
FEW_STEPS: Final = 300
# Share of training passes in evaluation mode.
RESTING: Final = 0.5
# Change of the weights without the optimizer, over their norm.
OUTSIDE: Final = 0.1
# Inputs of validation against those of training: shift of the mean over the standard deviation,
# factor between the standard deviations, and standard errors of the examples' means.
SHIFTED: Final = 0.5
STRETCHED: Final = 1.5
SHIFTED_CERTAIN: Final = 5.0
# Share of equal answers in training and evaluation mode.
AGREES: Final = 0.5
# The same on validation, where norms alone change their statistics.
NORMS_AGREE: Final = 0.7
# Share of the way that running statistics have come to those of a batch, and of answers that stay
# when norms take those.
FOLLOWED: Final = 0.5
STAYS: Final = 0.9
# Update of a parameter group over its weights' norm, of one step: it rests, it leaps.
GROUP_RESTS: Final = 3e-6
GROUP_LEAPS: Final = 1.0
# Loss that logits of limited size leave, over that of equal ones; size of logits that a loss needs.
LIMITED: Final = 0.1
FAR_LOGITS: Final = 50.0
# Labels that a small part of the picture tells, and that the middle one of such parts tells.
SHORTCUT: Final = 0.97
SHORTCUT_BESIDE: Final = 0.8
# Weights of two classes, and their counts, from which on they are compared.
WEIGHED_APART: Final = 2.0
# Share of pictures whose mask fits better in another position.
MISALIGNED: Final = 0.25
# Correlation of what cells show with their targets in another position, and in their own over that.
GRID_FITS: Final = 0.2
GRID_APART: Final = 0.5
# Share of a mask's pixels that are others than in one moved with its picture, over that by chance.
MASK_LEFT: Final = 0.25
# Variance between examples behind a layer over that before it, and of outputs over all of theirs.
ALIKE: Final = 1e-5
# Share of targets that are the next input, above which a network must not see it; of a column's
# variance that lies within the classes, or is not the target's, below which it tells them.
NEXT_IN_INPUT: Final = 0.95
COLUMN_TELLS: Final = 0.02
VALUES_TOLD: Final = 2e-3
# Share of a probe's errors that the order of positions takes away, where labels depend on it.
ORDER_TELLS: Final = 0.3
# Gradient that one task has in shared weights over another's.
DROWNED: Final = 200.0
# The same ratio, from which on the small task is trained with and without the others; what must be
# learnt of it alone, of its first loss, and the share of that beside them which is too little.
SMALL_SAY: Final = 4.0
LEARNABLE_TASK: Final = 0.1
SLOW_TASK: Final = 0.35
# Gradient of terms that do not depend on the targets over that of those that do, from which on a
# trial decides; and the share of what these can gain alone, less of which the whole loss gains.
DROWNS: Final = 3.0
DROWNED_GAIN: Final = 0.3
# Kolmogorov's distance of weights from evenly drawn ones, times the root of their number: 1 % of
# those that are drawn so lie above.
DRAWN_EVENLY: Final = 1.63
# Share of validation that was trained on; variation of images whose range is a circle, over that
# of validation, and standard errors between; difference of an accuracy from the mean probability
# of the answers.
SEEN: Final = 0.25
REDRAWN: Final = 0.2  # share of validation that was augmented by another draw
WRAPPED: Final = 0.9
WRAPPED_CERTAIN: Final = 4.0
ACCURACY_OFF: Final = 0.2
# Share of the first steps that add to the gradients of the step before.
LEFT_IN_STEPS: Final = 0.8
# A recorded loss below 0, over its first size, and the last fall of it over the one before.
RUNS_OFF: Final = 10.0
FALLS_FASTER: Final = 2.0
BEYOND_MEASURE: Final = 1e4  # or so many times
# Share of outputs' directions that varies between examples, and loss over its first, below which
# outputs have collapsed.
COLLAPSED: Final = 0.02
COLLAPSED_LOSS: Final = 0.2
# Distance of validation from training in the network's responses: as they are, at least; in
# another view, at most, and over that as they are.
FAR_AS_IS: Final = 2.0
NEAR_EFFECT: Final = 0.05  # in variances of the responses, among equal answers
NEAR_IN_VIEW: Final = 0.5
# The same among equal answers, and in variances of the responses, where no view is nearer.
RESPONDS_APART: Final = 8.0
RESPONDS_OTHERWISE: Final = 0.1
# Error of a linear map over the variance, above which it does not predict a value; on images that
# may be mirrored, over that on those given, and over that with the other mirror.
UNPREDICTED: Final = 0.7
MIRRORED: Final = 0.5
MIRRORED_BESIDE: Final = 0.6
# Share of labels whose example another part of the targets gives one other class, and the share of
# that which has the label's own.
RENUMBERED: Final = 0.6
RENUMBERED_BESIDE: Final = 0.5
# Share of a neighbourhood that two labels have, and that one has, in all but a fifth of those of a
# label that is mixed with another.
DOUBLED: Final = 0.9
DOUBLED_PURE: Final = 0.72
# Spread of groups' mean targets about a column over what chance makes of it, and standard
# deviations below 1: it knows their chance.
OWN_LABEL: Final = 0.85
OWN_LABEL_CERTAIN: Final = 4.5
# Slope of outputs by a step of a sequence over the largest, below which it is not seen; and share
# of labels that what is not seen tells.
UNSEEN: Final = 1e-6
UNSEEN_TELLS: Final = 0.08
# Share of changed inputs that leave the output as it was.
IGNORED: Final = 0.95
# Slope of the outputs by what stands at a position where that is padding, over where it is not.
PADDING_READ: Final = 20.0
# Examples with values, fewer of which do not decide whether they belong to the inputs.
FEW_VALUES: Final = 400
# Rate at which a loss grows with a wrong logit, in e-folds for each: 1 is an exponential.
GROWS_BY: Final = 0.8
# Kullback-Leibler divergence of a batch's statistics from a frozen norm's, in nats a channel, below
# which the norm sees what it was trained on.
SAME_STATISTICS: Final = 0.05
# Share of values' variance that a linear map of the inputs leaves: it tells them, it does not.
TOLD: Final = 0.1
UNTOLD: Final = 0.12
# Outputs of another network that a step asks, in training mode over those in evaluation mode, in
# their deviations.
TEACHER_NOISE: Final = 0.2
# Divergence of images at a trained network's first norm, in nats a channel, from which on other
# forms of them are tried, and below which one is right; and the share that it leaves at most.
OTHER_FORM: Final = 0.15
OTHER_FORM_LEFT: Final = 0.2
