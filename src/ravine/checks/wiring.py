"""Checks of the wiring: the optimizer's parameters, gradients, modes, dropout."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext, layer_of
from ravine.checks.cut_columns import find_cut_columns
from ravine.checks.frozen_weights import is_as_drawn
from ravine.checks.made_up_outputs import REFUSALS
from ravine.core.nested import map_tensors
from ravine.core.preserve_state import preserve_state
from ravine.findings.finding import Finding
from ravine.findings.thresholds import STRONG_DROPOUT

_BY_MODE = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase)

_SIZES = (1.0, 3.0, 10.0, 1.0, 3.0, 10.0)  # of made-up inputs, over the deviation of the given


def check_optimizer(context: CheckContext) -> Iterator[Finding]:
    """Yields parameters that require gradients and that the optimizer does not hold.

    Those that a second optimizer steps in the user's step are not missing, nor what rests on
    purpose.
    """
    if context.optimizer is None:
        return
    steps, held = context.measured.steps, _held(context)
    held |= _moved_by_hand(context)
    learning = [p for p in context.model.parameters() if p.requires_grad]
    missing = [p for p in learning if id(p) not in held]
    if not missing or rest_on_purpose(context, missing):
        return
    all_of_them = len(missing) == len(learning)
    is_sure = all_of_them or steps is not None
    layers = list(dict.fromkeys(layer_of(context.model, p) for p in missing))
    shown = ", ".join(layers[:3]) + (f" and {len(layers) - 3} more" if len(layers) > 3 else "")
    yield Finding(
        severity="critical" if is_sure else "warning",
        code="not-in-optimizer",
        seen="the optimizer holds no parameter of this model"
        if all_of_them
        else f"the optimizer does not hold the parameters of {shown}",
        cause="it was made for another model, or before this one was made"
        if all_of_them
        else "they were left out, or the layer was put in after the optimizer was made"
        + ("" if is_sure else "; pass step to see whether a second optimizer holds them"),
        cure="make the optimizer from model.parameters() after the model is whole; freeze what "
        "shall not learn with requires_grad_(False)",
        layer=layers[0],
        evidence={"parameters": len(missing), "of": len(learning)},
    )


def _held(context: CheckContext) -> set[int]:
    """Returns the ids of the parameters that optimizers hold: the given one, or of the step."""
    parameters, steps = list(context.model.parameters()), context.measured.steps
    groups = [] if context.optimizer is None else context.optimizer.param_groups
    held = {id(p) for group in groups for p in group["params"]}
    return held | {id(parameters[n]) for n in (steps.first.held if steps else ())}


def _moved_by_hand(context: CheckContext) -> set[int]:
    """Returns the ids of the parameters that the step moves beside its optimizers.

    Copies of weights are written back after a step on others, or follow another network.
    """
    parameters, steps = list(context.model.parameters()), context.measured.steps
    return {id(parameters[n]) for n in (steps.by_hand if steps else ())}


def rest_on_purpose(context: CheckContext, weights: Sequence[Tensor]) -> bool:
    """Returns whether weights, of any shape, that learn get no gradient and no optimizer.

    A trained body in evaluation mode is passed under no_grad, and the optimizer is that of the
    head. Not so where they are still as torch drew them.
    """
    if context.optimizer is None:
        return False
    held, parameters = _held(context), list(context.model.parameters())
    steps = context.measured.steps
    reached = steps.reached if steps else set()
    unreached = {n for n in context.measured.without_gradient if n not in reached}
    are_both = all(
        any(parameters[n] is p for n in unreached) and id(p) not in held for p in weights
    )
    matrices = [p.detach() for p in weights if p.dim() > 1]
    return are_both and not (matrices and all(map(is_as_drawn, matrices)))


def check_mode(context: CheckContext) -> Iterator[Finding]:
    """Yields a model left in evaluation mode, where that matters and no step sets the mode.

    Layers that are frozen on purpose belong in evaluation mode.
    """
    if context.step is not None:
        return
    layers = learning_layers_with_modes(context.model)
    resting = [name for name in layers if not context.model.get_submodule(name).training]
    if resting and not context.model.training:
        yield eval_mode_finding(resting, whole=True)
    elif resting:
        yield eval_mode_finding(resting, whole=False)


def learning_layers_with_modes(model: nn.Module) -> list[str]:
    """Returns the layers whose mode matters and that are not part of something frozen.

    A norm is frozen where its own weights are; dropout and norms without weights where all of the
    weights of the module around them are.
    """
    found = []
    for name, module in model.named_modules():
        if not isinstance(module, _BY_MODE):
            continue
        own = list(module.parameters(recurse=False))
        around = own or list(model.get_submodule(name.rpartition(".")[0]).parameters())
        if not around or any(p.requires_grad for p in around):
            found.append(name)
    return found


def eval_mode_finding(layers: list[str], *, whole: bool) -> Finding:
    """Returns the finding that layers are in evaluation mode while they train."""
    return Finding(
        severity="critical" if whole else "note",
        code="eval-mode",
        seen=f"{len(layers)} layers with batch norm or dropout are in evaluation mode"
        + (", and so is the whole model" if whole else ""),
        cause="model.eval() was called and model.train() not after it"
        if whole
        else "these layers were set to evaluation mode alone, which may be meant",
        cure="call model.train() before every epoch of training",
        layer=layers[0],
        evidence={"layers": len(layers)},
    )


def _without_on_others(context: CheckContext, without: Sequence[Tensor]) -> Sequence[Tensor]:
    """Returns those of the parameters that the losses of other batches do not reach either.

    Where examples are sent different ways (experts, rare tokens), a batch uses some of the layers;
    an untrained router may send all that there is past some, and not what is made up.
    """
    others = (*context.samples[1:], *_made_up(context)) if without else ()
    for number, sample in enumerate(others):
        with suppress(*REFUSALS), preserve_state(context.model), torch.enable_grad():
            torch.manual_seed(number)  # layers that are passed over by chance come in turn
            found = torch.autograd.grad(context.value(sample), without, allow_unused=True)
            without = [p for p, slope in zip(without, found, strict=True) if slope is None]
        if not without:
            break
    return without


def _made_up(context: CheckContext) -> Iterator[CheckBatch]:
    """Yields the first batch with other floating inputs, of several sizes."""
    sample = context.samples[0]
    generator = torch.Generator().manual_seed(0)

    def drawn(t: Tensor, size: float) -> Tensor:
        if not t.is_floating_point() or t.dim() < 2:
            return t
        noise = torch.randn(t.shape, generator=generator, dtype=t.dtype)
        return size * t.std().clamp_min(1e-3) * noise.to(t)

    for size in _SIZES:
        inputs = map_tensors(sample.inputs, partial(drawn, size=size))
        yield replace(sample, inputs=inputs)


def check_dropout(context: CheckContext) -> Iterator[Finding]:
    """Yields dropout that leaves next to nothing."""
    for name, module in context.model.named_modules():
        p = getattr(module, "p", None)
        if "Dropout" in type(module).__name__ and isinstance(p, float) and p > STRONG_DROPOUT:
            yield Finding(
                severity="warning",
                code="dropout-too-strong",
                seen=f"dropout takes away {p:.0%} of the units",
                cause="p is the share that is dropped, not the share that is kept",
                cure=f"set p = {round(1 - p, 3)}" if p < 1 else "set p between 0.1 and 0.5",
                layer=name,
                evidence={"p": p},
                changes={"dropout": 0.3},
            )
            return


def check_gradients(context: CheckContext) -> Iterator[Finding]:
    """Yields parameters without a gradient, of the loss of the first batch or in the user's step.

    What the step adds to the loss (weights of its terms, a second head) counts too. So do columns
    of the output that are cut from all of them.
    """
    yield from find_cut_columns(context)
    model, steps = context.model, context.measured.steps
    learning = [p for p in model.parameters() if p.requires_grad]
    reached = steps.reached if steps else set()
    starved = steps.starved if steps and steps.first.optimizer else set()
    if steps is not None and starved:
        yield _starved(context, starved, len(steps.first.held))
        return
    parameters = list(model.parameters())
    without = _without_on_others(
        context, [parameters[n] for n in context.measured.without_gradient if n not in reached]
    )
    if not without or rest_on_purpose(context, without):
        return
    layers = list(dict.fromkeys(layer_of(model, p) for p in without))
    share = sum(p.numel() for p in without) / sum(p.numel() for p in learning)
    yield Finding(
        severity="critical" if len(without) > 2 or share > 0.1 else "warning",
        code="no-gradient",
        seen=f"{len(without)} of {len(learning)} parameters get no gradient "
        f"({share:.0%} of the weights), the last of them in {layers[-1]}",
        cause="the forward pass does not use them, or cuts the graph behind them "
        "(detach, no_grad, .data, argmax, numpy)",
        cure=f"inspect what follows {layers[-1]} in forward()",
        layer=layers[0],
        evidence={"parameters": len(without), "share": share},
    )


def _starved(context: CheckContext, without: set[int], held: int) -> Finding:
    parameters = list(context.model.parameters())
    layers = list(dict.fromkeys(layer_of(context.model, parameters[n]) for n in sorted(without)))
    return Finding(
        severity="critical",
        code="no-gradient",
        seen=f"an optimizer of the step steps, and none of its {len(without)} parameters has a "
        f"gradient (the optimizers hold {held}), the last of them in {layers[-1]}",
        cause="the loss that is differentiated for it does not reach them: its input was detached, "
        "computed under no_grad, or the gradients are cleared before its step",
        cure="detach in the other network's loss alone; call backward() on a loss that was "
        "computed through this network, and step before zero_grad",
        layer=layers[0],
        evidence={"parameters": float(len(without))},
    )
