"""Where the time of a compiled inference goes: each kind of layer, against what bounds it.

    python bench/profile_inference.py [--network preact-164:32:3] [--precision bfloat16]
        [--images 8] [--rounds 15] [--library FILE.so ...] [--no-keep]

A network's steps are run one by one, in order and on the same workspace as in a whole pass. Layers of
the same shape and way are one row: milliseconds for a group of images, the time of their products at
the rate of a long product of matrices, and the bytes that they read and write by the copying rate of
the second cache. With several builds of the C library each has its column, and they take turns.
"""

import argparse
import ctypes
import time
from collections import defaultdict
from pathlib import Path

import torch
from inference import network_of

from ravine.kernels.convolve import ConvolveJob, convolve, kernel_bytes
from ravine.kernels.inference_steps import CONVOLUTION, InferenceJob, Step, run_inference
from ravine.kernels.library import Library, load_library
from ravine.ops.fused_graph import Layer, fuse
from ravine.ops.inference_program import InferenceProgram, constants_of, make_program
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


def compiled(
    library: Library, graph: TracedGraph, dtype: torch.dtype, images: int
) -> tuple[list[Layer], InferenceProgram]:
    """Returns a network's layers, and its program for so many images."""
    layers = fuse(graph)
    constants = [constants_of(layer) for layer in layers]
    return layers, make_program(library, graph, layers, constants, dtype, images, images)


class Pass:
    """One program with its memory, run a step at a time."""

    def __init__(self, program: InferenceProgram, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        count = program.images
        self.program = program
        self.images = torch.randn(count, *shape).to(dtype, memory_format=torch.channels_last)
        self.result = torch.empty(count, 1000, dtype=dtype)
        self.workspace = torch.empty(program.workspace_bytes, dtype=torch.uint8)
        self.workspace.zero_()

    def milliseconds(self) -> list[float]:
        """Returns each step's time, and last that of all in one call."""
        found = []
        first, each = ctypes.addressof(self.program.steps), ctypes.sizeof(Step)
        jobs = [(first + each * k, 1) for k in range(len(self.program.steps))]
        for address, count in [*jobs, (first, len(jobs))]:
            job = InferenceJob(
                steps=address, count=count, images=self.images.data_ptr(),
                result=self.result.data_ptr(), workspace=self.workspace.data_ptr(),
                workspace_bytes=self.program.workspace_bytes, groups=1,
            )  # fmt: skip
            start = time.perf_counter()
            run_inference(self.program.library, job)
            found.append(1000 * (time.perf_counter() - start))
        return found


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
    """Returns an image's products, as its way takes them, and the bytes that it reads and writes."""
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
    kernels = torch.empty(kernel_bytes(library, job) + 64, dtype=torch.uint8)
    job.kernels = (kernels.data_ptr() + 63) // 64 * 64
    convolve(library, job)
    after = _AfterNothing(shift)
    job.packed, job.after = True, after.address
    times = []
    for _ in range(200):
        start = time.perf_counter()
        convolve(library, job)
        times.append(time.perf_counter() - start)
    return rows * inner * outer / (1000 * min(times))


class _AfterNothing:
    def __init__(self, shift: torch.Tensor) -> None:
        from ravine.kernels.inference_steps import AfterJob

        self.job = AfterJob(shift=shift.data_ptr(), activation=1)
        self.address = ctypes.addressof(self.job)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="preact-164:32:3")
    parser.add_argument("--precision", choices=list(DTYPES), default="bfloat16")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--library", type=Path, action="append", default=[])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    name, size, channels = asked.network.split(":")
    shape, dtype = (int(channels), int(size), int(size)), DTYPES[asked.precision]
    graph = trace(network_of(name, int(size), int(channels)), shape)
    passes, layers = {}, []
    for label, library in libraries(asked.library).items():
        layers, program = compiled(library, graph, dtype, asked.images)
        passes[label] = Pass(program, shape, dtype)
    times = {label: [one.milliseconds()] for label, one in passes.items()}
    for _ in range(asked.rounds):
        for label, one in passes.items():
            times[label].append(one.milliseconds())
    best = {label: torch.tensor(found).median(0).values.tolist() for label, found in times.items()}
    first = next(iter(passes.values())).program
    rate = products_per_ms(first.library, dtype)
    print(f"long products: {rate / 1e6:.1f} thousand million multiply-adds a second")
    rows: dict[str, list[float]] = defaultdict(lambda: [0.0] * (3 + len(passes)))
    for at, layer in enumerate(layers):
        row = rows[kind_of(layer, first.steps[at], graph)]
        products, data = work_of(layer, first.steps[at], graph, dtype.itemsize)
        row[0] += 1
        row[1] += products * asked.images / rate
        row[2] += data * asked.images / 1e6
        for k, label in enumerate(passes):
            row[3 + k] += best[label][at]
    print(f"{'layers of a kind':58} {'n':>3} {'bound':>6} {'MB':>6} ", *[f"{k:>8}" for k in passes])
    for kind, row in sorted(rows.items(), key=lambda item: -item[1][3]):
        print(f"{kind:58} {row[0]:3.0f} {row[1]:6.2f} {row[2]:6.1f} ", *[f"{v:8.2f}" for v in row[3:]])
    print("sum of steps, and in one call", *[f"{sum(v[:-1]):.2f} {v[-1]:.2f}" for v in best.values()])


if __name__ == "__main__":
    main()
