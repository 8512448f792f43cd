"""Where the time of a compiled inference goes: each kind of layer, against what bounds it.

    python bench/profile_inference.py [--network preact-164:32:3] [--precision bfloat16]
        [--images 8] [--rounds 15] [--library FILE.so]…

A network's steps are run one by one, in order and on the same workspace as in a whole pass. Layers
of the same shape and way are one row: how many there are, the milliseconds of their products at the
rate of a long product of matrices, the megabytes of values that they read and write, and the
milliseconds that they took for a group of images (medians). With several builds of the C library
each has its column, and they take turns.
"""

import argparse
import ctypes
import time
from collections import defaultdict
from pathlib import Path

import torch
from inference import network_of

from ravine.kernels.convolve import ConvolveJob, convolve, kernel_bytes
from ravine.kernels.inference_steps import (
    CONVOLUTION,
    AfterJob,
    InferenceJob,
    Step,
    run_inference,
)
from ravine.kernels.library import Library, load_library
from ravine.ops.fused_graph import Layer, fuse
from ravine.ops.inference_program import constants_of, make_program
from ravine.ops.trace import trace
from ravine.ops.traced_graph import Convolution, TracedGraph

WAYS = {2: "F(2×2)", 4: "F(4×4)", 5: "products"}
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def libraries(paths: list[Path]) -> dict[str, Library]:
    """Returns the builds by name; without paths the installed one."""
    installed = load_library()
    assert installed is not None
    if not paths:
        return {"installed": installed}
    return {path.stem: Library(ctypes.CDLL(str(path)), installed.level) for path in paths}


class Pass:
    """A network's program by one build, with its memory, run a step at a time."""

    def __init__(
        self, library: Library, graph: TracedGraph, dtype: torch.dtype, count: int
    ) -> None:
        self.layers = fuse(graph)
        constants = [constants_of(layer) for layer in self.layers]
        made = make_program(library, graph, self.layers, constants, dtype, count, count)
        self.program = made
        self.images = torch.randn(count, *graph.shapes[0]).to(
            dtype, memory_format=torch.channels_last
        )
        self.result = torch.empty(count, graph.shapes[graph.output][0], dtype=dtype)
        self.workspace = torch.zeros(made.workspace_bytes, dtype=torch.uint8)

    def milliseconds(self) -> list[float]:
        """Returns each step's time, and last that of all in one call."""
        first, count = ctypes.addressof(self.program.steps), len(self.program.steps)
        found = [self._time(first + ctypes.sizeof(Step) * k, 1) for k in range(count)]
        return [*found, self._time(first, count)]

    def _time(self, steps: int, count: int) -> float:
        job = InferenceJob(
            steps=steps, count=count, images=self.images.data_ptr(),
            result=self.result.data_ptr(), workspace=self.workspace.data_ptr(),
            workspace_bytes=self.program.workspace_bytes, groups=1,
        )  # fmt: skip
        start = time.perf_counter()
        run_inference(self.program.library, job)
        return 1000 * (time.perf_counter() - start)


def kind_of(layer: Layer, step: Step, graph: TracedGraph) -> str:
    """Returns what a row is about: shape, way, and what follows."""
    channels, height, width = graph.shapes[layer.node.x]
    if not isinstance(layer.node, Convolution):
        return f"window {channels}, {height}×{width}"
    c = step.convolution
    extras = "+skip" * (layer.residual is not None) + "+second" * (layer.second is not None)
    extras += "" if layer.y_is_read else " alone"
    return (
        f"{c.kernel}×{c.kernel} {channels}→{c.out_channels}, {height}×{width}, "
        f"stride {c.stride}, {WAYS[c.algorithm]}{extras}"
    )


def work_of(layer: Layer, step: Step, graph: TracedGraph, element: int) -> tuple[float, float]:
    """Returns an image's products, as its way takes them, and the bytes it reads and writes."""
    size = {v: s[0] * s[1] * s[2] for v, s in graph.shapes.items()}
    data = element * sum(size[v] for v in [*layer.reads, *layer.writes])
    if step.kind != CONVOLUTION:
        return 0.0, data
    c = step.convolution
    products = c.out_height * c.out_width * c.out_channels * c.channels * c.kernel**2
    return products * {2: 16 / 36, 4: 36 / 144, 5: 1}[c.algorithm], data


def products_per_ms(library: Library, dtype: torch.dtype) -> float:
    """Returns the rate of a long product of matrices whose operands stay in the second cache."""
    inner, outer, rows = 512, 32, 192
    x, y = torch.randn(rows, inner).to(dtype), torch.empty(rows, outer, dtype=dtype)
    weight, shift = torch.randn(outer, inner), torch.zeros(outer)
    job = ConvolveJob(
        x=x.data_ptr(), y=y.data_ptr(), w=weight.data_ptr(), images=rows, height=1, width=1,
        channels=inner, out_height=1, out_width=1, out_channels=outer, kernel=1, stride=1,
        algorithm=5, is_float32=dtype is torch.float32,
    )  # fmt: skip
    kernels = torch.empty(kernel_bytes(library, job), dtype=torch.uint8)
    job.kernels = kernels.data_ptr()
    convolve(library, job)
    after = AfterJob(shift=shift.data_ptr(), activation=1)
    job.packed, job.after = True, ctypes.addressof(after)
    times = []
    for _ in range(200):
        start = time.perf_counter()
        convolve(library, job)
        times.append(time.perf_counter() - start)
    return rows * inner * outer / (1000 * min(times))


def print_table(
    graph: TracedGraph, passes: dict[str, Pass], best: dict[str, list[float]], rate: float
) -> None:
    """Prints a row for each kind of layer, the longest first, and the times of a whole pass."""
    one = next(iter(passes.values()))
    rows: dict[str, list[float]] = defaultdict(lambda: [0.0] * (3 + len(passes)))
    for at, (layer, step) in enumerate(zip(one.layers, one.program.steps, strict=True)):
        row = rows[kind_of(layer, step, graph)]
        products, data = work_of(layer, step, graph, one.images.itemsize)
        count = one.program.images
        times = (found[at] for found in best.values())
        new = [1, products * count / rate, data * count / 1e6, *times]
        row[:] = [a + b for a, b in zip(row, new, strict=True)]
    print(f"{'layers of a kind':58} {'n':>3} {'bound':>6} {'MB':>6} ", *(f"{k:>9}" for k in passes))
    for kind, row in sorted(rows.items(), key=lambda item: -item[1][3]):
        times = (f"{value:9.2f}" for value in row[3:])
        print(f"{kind:58} {row[0]:3.0f} {row[1]:6.2f} {row[2]:6.1f} ", *times)
    for label, found in best.items():
        print(f"{label}: {sum(found[:-1]):.2f} step by step, {found[-1]:.2f} in one call")


def main() -> None:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="preact-164:32:3")
    parser.add_argument("--precision", choices=list(DTYPES), default="bfloat16")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--library", type=Path, action="append", default=[])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    name, size, channels = asked.network.split(":")
    dtype = DTYPES[asked.precision]
    graph = trace(network_of(name, int(size), int(channels)), (int(channels), int(size), int(size)))
    built = libraries(asked.library)
    passes = {label: Pass(one, graph, dtype, asked.images) for label, one in built.items()}
    times: dict[str, list[list[float]]] = defaultdict(list)
    for _ in range(asked.rounds):
        for label, one in passes.items():
            times[label].append(one.milliseconds())
    best = {k: torch.tensor(found).median(0).values.tolist() for k, found in times.items()}
    rate = products_per_ms(next(iter(built.values())), dtype)
    print(f"long products: {rate / 1e6:.1f} thousand million multiply-adds a second")
    print_table(graph, passes, best, rate)


if __name__ == "__main__":
    main()
