#!/bin/bash
# Lightning 2.6.6: the last step of an epoch is smaller where accumulation does not divide it.
#
# `Trainer(accumulate_grad_batches=4)` divides each batch's loss by 4 and steps after four batches,
# and after the last batch of an epoch. An epoch of 10 batches ends with a step on 2 of them, whose
# gradients were divided by 4 all the same: half the mean. With momentum or plain SGD the last step
# of each epoch has half the learning rate; an epoch of 9 batches ends with a quarter. Nothing is
# printed. (A gradient of 1 in each batch, so that each step should see 1.)
#
# Seen on an AMD EPYC, November 2026; gradients that the optimizer gets in an epoch:
#   10 batches: 1.0, 1.0, 0.5
#   9 batches: 1.0, 1.0, 0.25
#
# Ends with 0 if that is seen again, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check \
    torch==2.14.1 pytorch-lightning==2.6.6 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import warnings

import pytorch_lightning as lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")


class OneWeight(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.gradients: list[float] = []

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        return (self.weight * batch[0].mean()).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_before_optimizer_step(self, _: torch.optim.Optimizer) -> None:
        self.gradients.append(float(self.weight.grad))


def gradients(batches: int) -> list[float]:
    model = OneWeight()
    trainer = lightning.Trainer(
        max_epochs=1, accumulate_grad_batches=4, accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(TensorDataset(torch.ones(batches, 1)), batch_size=1))
    return model.gradients


ten, nine = gradients(10), gradients(9)
print(f"10 batches: {ten}\n9 batches: {nine}")
sys.exit(not (ten == [1.0, 1.0, 0.5] and nine == [1.0, 1.0, 0.25]))
PYTHON
