"""Healthy runs of the zoo's sixth part, the counterparts of `faults_of_measures.py` among them."""

import torch
import torch.nn.functional as F
from faults_of_measures import adapted, contrasted, focal, in_parts, two_heads
from situation import Batch, Row, Situation, adam, convnet, mlp, usual
from torch import Tensor, nn


def _thawed(seed: int) -> Situation:
    """A trained body, frozen in training mode for 40 steps, then trained with a tenth."""
    one = usual(seed, model := convnet())
    for batch in one.batches[:60]:
        one.plain_step(batch)
    body, head = model[:-1], model[-1]
    assert isinstance(head, nn.Linear)
    head.reset_parameters()
    body.requires_grad_(False)
    one.optimizer = torch.optim.AdamW(
        [{"params": head.parameters(), "lr": 3e-3}, {"params": body.parameters(), "lr": 3e-4}]
    )
    calls = [0]

    def step(batch: Batch) -> Tensor:
        calls[0] += 1
        if calls[0] == 40:
            body.requires_grad_(True)
        return one.plain_step(batch)

    one.step = step
    return one


def _twice(seed: int) -> Situation:
    """Two passes with dropout that are to agree."""
    model = mlp(dropout=0.3)
    one = usual(seed, model, adam(model))

    def step(batch: Batch) -> Tensor:
        model.train()
        first, second = (model(batch[0]).log_softmax(1) for _ in range(2))
        apart = (first.exp() - second.exp()) * (first - second)
        loss = F.nll_loss(first, batch[1]) + F.nll_loss(second, batch[1]) + apart.sum(1).mean()
        one.optimizer.zero_grad()
        loss.backward()
        one.optimizer.step()
        return loss.detach()

    one.step = step
    return one


HEALTHY_MEASURES = (
    Row(name="a body that is thawed", make=_thawed),
    Row(name="two noisy passes agree", make=_twice),
    Row(name="two heads of one body", make=lambda seed: two_heads(seed, cut=False)),
    Row(name="a focal loss", make=lambda seed: usual(seed, convnet(), loss=focal(-1.0))),
    Row(name="rates by layer", make=lambda seed: adapted(seed, turned_round=False)),
    Row(name="parts of a batch", make=lambda seed: in_parts(seed, each=False)),
    Row(
        name="contrast, and the amount with it",
        make=lambda seed: contrasted(seed, moves_targets=True),
    ),
)
