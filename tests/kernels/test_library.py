import importlib
import os
import platform
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import ravine
from ravine.kernels import library

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="elsewhere it may lack"
)
def test_the_library_is_built_and_has_code_for_this_processor() -> None:
    found = library.load_library()
    assert found is not None
    flags = Path("/proc/cpuinfo").read_text()
    wanted = "avx512" if "avx512dq" in flags else "avx2" if "avx2" in flags else "base"
    if "avx512_bf16" in flags:  # where the compiler knows it too
        wanted = "amx" if "amx_bf16" in flags else "avx512-bf16"
    assert found.level_name == wanted


def test_the_library_shares_the_openmp_that_torch_has_loaded() -> None:
    if library.load_library() is None or not Path("/proc/self/maps").exists():
        pytest.skip("no library, or no list of what is loaded")
    maps = Path("/proc/self/maps").read_text().splitlines()
    assert len({line.split()[-1] for line in maps if "libgomp" in line}) <= 1


def test_without_the_library_steps_are_the_same_and_one_warning_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(library, "_find", lambda: None)
    library.load_library.cache_clear()
    try:
        w = torch.nn.Parameter(torch.ones(3))
        w.grad = torch.ones(3)
        optimizer = ravine.optim.Momentum([w], lr=1.0, momentum=0.0)
        with pytest.warns(UserWarning, match="without its C library.*C compiler"):
            optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            optimizer.step()
        assert w.tolist() == [-1.0, -1.0, -1.0]
        with pytest.raises(ravine.core.errors.SettingError, match="needs the C library"):
            ravine.optim.Momentum([w], implementation="fused").step()
    finally:
        library.load_library.cache_clear()


# A child for each value: torch is imported once, the library is loaded by each child.
_LEVELS = """
import os, sys
from ravine.kernels.library import load_library
for value in sys.argv[1:]:
    sys.stdout.flush()
    if not os.fork():
        os.environ["RAVINE_KERNELS"] = value
        library = load_library()
        print(value, library and (library.level_name, library.has_tiles))
        sys.stdout.flush()
        os._exit(0)
    if os.wait()[1]:
        sys.exit(f"failed: {value}")
"""
EMULATED = "amx-emulated"


def is_here(level: str) -> bool:
    found = library.load_library()
    return found is not None and found.level >= library.LEVELS.index(level)


@pytest.fixture(scope="module")
def switched() -> dict[str, str]:
    """Returns what a process with RAVINE_KERNELS=value loads, or None, by value."""
    levels = [level for level in ("base", "avx2", "avx512", "avx512-bf16") if is_here(level)]
    values = ["off", *levels, *([EMULATED] if is_here("avx512") else [])]
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", _LEVELS, *values],
        env={**os.environ, "RAVINE_KERNELS": "on", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split(" ", 1) for line in run.stdout.splitlines())


def test_the_environment_switches_it_off_without_a_warning(switched: dict[str, str]) -> None:
    assert switched["off"] == "None"


@pytest.mark.usefixtures("tiles")
def test_the_environment_switches_to_emulated_tiles(switched: dict[str, str]) -> None:
    assert switched[EMULATED] == "('amx-emulated', True)"


@pytest.mark.parametrize("level", ["base", "avx2", "avx512", "avx512-bf16"])
def test_the_environment_holds_the_code_down_to_a_level(
    switched: dict[str, str], level: str
) -> None:
    if level not in switched:
        pytest.skip(f"no {level} here")
    assert switched[level] == f"('{level}', False)"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("amx-emulated", "amx-emulated needs a processor with avx512; this one has avx2"),
        ("amx", "amx needs a processor with amx; this one has avx2"),
        ("avx", "RAVINE_KERNELS=avx is not known; use on, off or base, avx2,"),
    ],
)
def test_a_level_that_is_not_here_is_refused_in_one_line(
    value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAVINE_KERNELS", value)
    monkeypatch.setattr(library, "_find", lambda: Path("library"))
    old = SimpleNamespace(ravine_version=lambda: library._VERSION, ravine_level=lambda: 1)
    monkeypatch.setattr(library.ctypes, "CDLL", lambda _: old)
    library.load_library.cache_clear()
    try:
        with pytest.raises(ravine.core.errors.SettingError, match=message):
            library.load_library()
    finally:
        library.load_library.cache_clear()


def test_the_generated_files_are_what_the_rules_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    made = importlib.import_module("make_kernels")
    for file, text in made.sources().items():
        assert file.read_text() == text, f"{file.name} is old: make kernels"
