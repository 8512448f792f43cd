"""Optimizer steps: Ravine against torch.optim, interleaved, and against the memory's speed.

    python bench/optim.py [--rounds 15] [--compiled] [--only 1000x128]

Every round runs each of torch's implementations (for-loop, foreach, fused where torch has it) and
Ravine once, in a new random order, with gradients that are new tensors, as autograd makes them; a
ratio is that of the medians over the rounds. The floor is an in-place pass over as many bytes as
the rule must move (half read, half written), interleaved with the rest. Torch's nearest rule is
compared with ours: SGD with momentum, Adagrad, RMSprop, Adam, NAdam.

With `--compiled` torch.compile(optimizer.step) runs too, where it compiles within minutes: the
8 large tensors.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from results import keep, processor_kind
from torch import nn

import ravine
from ravine.kernels.library import load_library
from ravine.optim import AdaGrad, Adam, Momentum, Nadam, RMSProp, Transaction
from ravine.optim.base import RuleOptimizer

Params = list[nn.Parameter]
Step = Callable[[], object]

RULES: dict[str, tuple[Callable[..., RuleOptimizer], Callable, int, bool]] = {
    # ours, torch's, bytes per element, whether torch has a fused one on the CPU
    "Momentum": (Momentum, lambda p, **o: torch.optim.SGD(p, 1e-4, 0.9, **o), 20, True),
    "AdaGrad": (AdaGrad, lambda p, **o: torch.optim.Adagrad(p, 1e-4, **o), 20, True),
    "RMSProp": (RMSProp, lambda p, **o: torch.optim.RMSprop(p, 1e-4, **o), 20, False),
    "Adam": (Adam, lambda p, **o: torch.optim.Adam(p, 1e-4, **o), 28, True),
    "Nadam": (Nadam, lambda p, **o: torch.optim.NAdam(p, 1e-4, **o), 28, False),
}


def sizes_of(case: str) -> list[torch.Size]:
    """Returns the shapes of the parameters of a case."""
    if case == "wrn-28-10":
        model = ravine.models.build("wrn-28-10", classes=10, channels=3, image_size=32)
        return [p.shape for p in model.parameters()]
    count, n = case.split("x")
    size = 2**20 if n == "1M" else int(n)
    return [torch.Size([size])] * int(count)


def parameters(shapes: Sequence[torch.Size]) -> Params:
    """Returns parameters with gradients, each a tensor of its own as autograd leaves them."""
    held = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    for p in held:
        p.grad = torch.randn(p.shape)
    return held


def torch_implementations(fused: bool) -> dict[str, dict[str, bool]]:
    """Returns the options of torch's eager implementations."""
    options = {"for-loop": {"foreach": False}, "foreach": {"foreach": True}}
    return {**options, "fused": {"fused": True}} if fused else options


@dataclass(frozen=True)
class Contender:
    """A step, and the parameters that get new gradients before it."""

    step: Step
    held: Params


def interleaved(contenders: dict[str, Contender], rounds: int) -> dict[str, float]:
    """Returns the median milliseconds of each."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in range(rounds + 2):
        for name in random.Random(round_).sample(list(contenders), len(contenders)):
            for p in contenders[name].held:
                p.grad = torch.randn_like(p)
            start = time.perf_counter()
            contenders[name].step()
            if round_ >= 2:  # the first ones create state and touch memory
                times[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(all_) for name, all_ in times.items()}


def floor(elements: int, bytes_: int) -> Contender:
    """Returns a pass that reads and writes, in place, as many bytes as a rule must."""
    one = torch.zeros(elements * bytes_ // 8)
    return Contender(lambda: one.mul_(1.0), [])


def contender(make: Callable, shapes: Sequence[torch.Size], **options: bool) -> Contender:
    """Returns the step of an optimizer on parameters of its own."""
    held = parameters(shapes)
    return Contender(make(held, **options).step, held)


def compare(case: str, rounds: int, compiled: bool) -> dict[str, dict[str, float | str]]:
    """Returns the rows of one case."""
    shapes = sizes_of(case)
    elements = sum(shape.numel() for shape in shapes)
    rows: dict[str, dict[str, float | str]] = {}
    for rule, (ours, theirs, bytes_, fused) in RULES.items():
        contenders = {
            name: contender(theirs, shapes, **options)
            for name, options in torch_implementations(fused).items()
        }
        if compiled and case == "8x1M":
            plain = contender(theirs, shapes)
            contenders["compiled"] = Contender(torch.compile(plain.step), plain.held)
        contenders["ravine"] = contender(lambda p, ours=ours: ours(p, 1e-4), shapes)
        contenders["floor"] = floor(elements, bytes_)
        times = interleaved(contenders, rounds)
        eager = {n: t for n, t in times.items() if n in ("for-loop", "foreach", "fused")}
        best = min(eager, key=eager.__getitem__)
        rows[rule] = {
            **{name: round(t, 3) for name, t in times.items()},
            "best of torch": best,
            "times faster": round(eager[best] / times["ravine"], 2),
            "share of the bandwidth": round(times["floor"] / times["ravine"], 2),
        }
        print(case, rule, rows[rule], flush=True)
    return rows


def compare_transactions(case: str, rounds: int) -> dict[str, dict[str, float | str]]:
    """Clip, finite check and step against clip_grad_norm_, isfinite and the fused step."""
    shapes, loss = sizes_of(case), torch.tensor(1.0)
    rows: dict[str, dict[str, float | str]] = {}
    for rule, (ours, theirs, _, fused) in RULES.items():
        held = parameters(shapes)
        optimizer = theirs(held, **({"fused": True} if fused else {"foreach": True}))

        def stock(optimizer=optimizer, held=held) -> None:  # type: ignore[no-untyped-def]
            norm = torch.nn.utils.clip_grad_norm_(held, 1e9)
            if norm.isfinite():
                optimizer.step()

        mine = parameters(shapes)
        transaction = Transaction(ours(mine, 1e-4), clip=1e9)
        contenders = {
            "torch": Contender(stock, held),
            "ravine": Contender(partial(transaction.step, loss), mine),
        }
        times = interleaved(contenders, rounds)
        rows[rule] = {
            **{name: round(t, 3) for name, t in times.items()},
            "times faster": round(times["torch"] / times["ravine"], 2),
        }
        print(case, "transaction", rule, rows[rule], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--only", choices=["8x1M", "1000x128", "wrn-28-10"])
    options = parser.parse_args()
    library = load_library()
    figures: dict[str, object] = {
        "threads": torch.get_num_threads(),
        "library": library.level_name if library else "none",
    }
    for case in [options.only] if options.only else ["8x1M", "1000x128", "wrn-28-10"]:
        rounds = options.rounds if case != "wrn-28-10" else max(5, options.rounds // 2)
        figures[case] = compare(case, rounds, options.compiled)
        figures[f"{case}, clip + skip + step"] = compare_transactions(case, rounds)
    if not options.only:
        keep(f"optim-{processor_kind()}", "python bench/optim.py", figures)


if __name__ == "__main__":
    main()
