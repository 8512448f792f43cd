"""The Python in the documentation runs as it stands there."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import ravine

DOCS = Path(__file__).parents[2] / "docs"


@dataclass
class LabelledBatch:
    images: torch.Tensor
    targets: torch.Tensor


def run_code_of(page: str, **given: Any) -> dict[str, Any]:
    """Runs all indented lines of a page, one after another, and returns what they made."""
    lines = (DOCS / page).read_text().splitlines()
    code = "\n".join(line[4:] for line in lines if line.startswith("    "))
    exec(compile(code, page, "exec"), given)
    return given


def test_the_parts_work_in_a_loop_as_the_page_says(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8) % 10
    made = run_code_of(
        "own-loop.md",
        images=images,
        labels=labels,
        folder=tmp_path,
        loss_fn=torch.nn.functional.cross_entropy,
        batches=[LabelledBatch(images, labels)] * 3,
        loader=[(images, labels)] * 3,
    )

    assert bool(made["decision"].ok)
    assert made["found"].suggestion > 0
    decayed, spared = made["optimizer"].param_groups  # as the last of 1000 steps had them
    p = 0.999
    assert decayed["lr"] == pytest.approx((1 + math.cos(math.pi * (p - 0.2) / 0.8)) / 2)
    assert decayed["momentum"] == pytest.approx(0.85 + 0.1 * (p - 0.2) / 0.8)
    assert decayed["weight_decay"] == pytest.approx(5e-4 * 0.001)
    assert spared["weight_decay"] == 0
    assert max(group["lr"] for group in made["finetuner"].param_groups) == 0.001
    depth = sum(p.dim() > 1 for p in made["model"].parameters()) - 1
    assert made["groups"][0]["lr"] == pytest.approx(0.001 * 0.1 * 0.9**depth)
    assert made["converted"].param_groups[0]["lr"] == pytest.approx(1.0)
    assert set(made["norms"]) == {name for name, _ in made["model"].named_parameters()}
    printed = capsys.readouterr().out
    assert "= torch SGD lr 0.1," in printed
    assert "3 steps, 3 clipped, 0 skipped" in printed


def test_the_readme_checks_and_watches_a_loop_as_it_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = (DOCS.parent / "README.md").read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("    print(ravine.check("))
    code = "\n".join(line[4:] for line in lines[first : first + 4])
    loop = "optimizer.zero_grad(); loss = loss_fn(model(x), y); loss.backward(); optimizer.step()"
    loop += "; monitor.record(loss=loss)"
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(64, 8, generator=generator), torch.arange(64) % 2
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    given = {"ravine": ravine, "model": model, "x": x, "y": y, "loader": [(x, y)] * 2}
    given |= {"loss_fn": torch.nn.functional.cross_entropy}
    given |= {"optimizer": torch.optim.SGD(model.parameters(), lr=0.1)}
    exec(compile(code.replace("...", loop), "README.md", "exec"), given)

    assert given["monitor"].step == 1
    assert len(capsys.readouterr().out.splitlines()) >= 2


def test_an_optimizer_walks_down_a_test_function_as_its_card_says() -> None:
    x, y = run_code_of("methods/test-functions.md")["point"].tolist()

    assert (1 - x) ** 2 + 100 * (y - x**2) ** 2 < 1
