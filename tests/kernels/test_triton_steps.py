"""The Triton kernels where there is no GPU: interpreted, and compiled for one.

Triton reads TRITON_INTERPRET when it is imported: both run in processes of their own.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).resolve().parents[1] / "optim" / "triton_cases.py"
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed here"
)

_COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ravine.kernels import triton_rules, triton_steps
from ravine.kernels.variants import VARIANTS

POINTERS = dict(
    table="*i64", gradients="*i64", pieces="*i64", hyper="*fp64", tickets="*i32", first="i32",
    flag="*u8", partial="*fp64", parts="i32", loss="*fp32", limit="*fp64", record="*fp64",
    counters="*i64",
)

def compiled(kernel, **constants):
    signature = {n: "constexpr" if n in constants else POINTERS[n] for n in kernel.arg_names}
    places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(kernel, signature=signature, constexprs=places)
    made = triton.compile(
        source, target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": False}
    )
    return made.asm["ptx"]

text = compiled(triton_steps.squares, MIXED=False, ALIGNED=True, BLOCK=1024)
assert "ld.global.v4" in text, "whole blocks are not read 16 bytes at a time"
for rule, mode, mixed in (
    ("momentum", "always", False), ("adagrad_eps_in_root", "flagged", False),
    ("adam", "decides", True), ("nadam_dozat", "decides", False),
):
    text = compiled(
        triton_steps.step, RULE=getattr(triton_rules, rule), TWO=len(VARIANTS[rule]) > 1,
        PRODUCT=rule == "nadam_dozat", MODE=triton_steps.MODES.index(mode), MIXED=mixed,
        ALIGNED=True, BLOCK=1024, PARTS=1024,
    )
    assert "ld.global.v4" in text and "st.global.v4" in text, rule
    assert "sqrt.approx" not in text and "div.full" not in text, rule
    assert "fma.rn.f32" not in text, rule
    assert ("cvt.rn.bf16" in text) == mixed, rule
    assert "atom.global.gpu.acq_rel" in text or "atom.acq_rel.gpu.global" in text, rule
print("compiled")
"""


def run(*arguments: str, **environment: str) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "TRITON"))}
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**kept, **environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]


@pytest.mark.slow
def test_every_case_of_the_gpu_path_holds_in_the_interpreter() -> None:
    run("-m", "pytest", "-p", "no:cacheprovider", str(CASES), TRITON_INTERPRET="1")


@pytest.mark.slow
def test_the_kernels_compile_for_a_gpu(tmp_path: Path) -> None:
    script = tmp_path / "compile.py"  # Triton reads the sources of what it compiles
    script.write_text(_COMPILE)
    run(str(script), TRITON_CACHE_DIR=str(tmp_path / "cache"))


def test_without_triton_or_its_interpreter_the_cpu_is_left_to_others() -> None:
    """Without Triton nothing of the path is imported either; the process that forks has torch."""
    code = (
        "import os, sys, torch\n"
        "if not os.fork():\n"
        "    sys.modules['triton'] = None\n"
        "    import ravine.optim.triton_engine as path\n"
        "    assert 'ravine.kernels.triton_table' not in sys.modules\n"
        "    assert path.load_triton() is None\n"
        "    assert not path.can_step_on(torch.device('cpu'))\n"
        "    sys.exit()\n"
        "assert os.wait()[1] == 0\n"
        "from ravine.kernels.triton_library import can_step_on, load_triton\n"
        "assert load_triton() is not None\n"
        "assert not can_step_on(torch.device('cpu')) and can_step_on(torch.device('cuda'))"
    )
    run("-W", "error", "-c", code)
