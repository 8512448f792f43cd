"""Training by two processes on this machine, through torchrun and gloo."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

import ravine
from ravine.core.errors import SettingError
from ravine.core.events import Event, Notice, StepDone
from ravine.core.ranks import Ranks
from ravine.data.augment_settings import AugmentSettings
from ravine.data.batches import Batch, TrainingBatches, shard_indices
from ravine.data.dataset import Dataset, Preprocessing
from ravine.runs.rows import read_json, read_rows
from ravine.training.distributed import GradientSync
from ravine.training.loss import cross_entropy, least_cross_entropy
from ravine.training.stop import Interrupted

# Without batch norm two halves of a batch give the gradient of the whole, but for rounding, which
# a small rate does not amplify: of 15 images one has 7 and the other 8.
SETTINGS: dict[str, Any] = {
    "model": "resnet-cifar-8", "norm": "none", "lr": 0.01, "epochs": 8.0, "batch": 15,
    "precision": "float32", "threads": 1, "augment": "crop", "convolution": "guess",
}  # fmt: skip
WORDS = [word for name, value in SETTINGS.items() for word in (f"--{name}", value)]


TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node")
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def striped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chance = np.random.default_rng(0)
    labels = np.arange(240) % 2
    images = chance.integers(0, 200, (240, 8, 8, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[(slice(None, None, 2), slice(None))[:: 1 - 2 * label]] += 40
    path = tmp_path_factory.mktemp("striped") / "stripes.npz"
    np.savez(path, images=images, labels=labels)
    return path


# Starts processes as torchrun does, of one that has torch imported: seconds for each of them.
FORKED = """
import os, runpy, socket, sys
import ravine.workflows.resume

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = str(free.getsockname()[1])
count, sys.argv = int(sys.argv[1]), sys.argv[2:]
children = []
for rank in range(count):
    children.append(os.fork())
    if not children[-1]:
        names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
        os.environ.update(zip(names, map(str, (rank, rank, count, count)), strict=True))
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        if sys.argv[0].endswith(".py"):
            runpy.run_path(sys.argv[0], run_name="__main__")
        else:
            runpy.run_module("ravine", run_name="__main__")
        os._exit(0)
ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
sys.exit(max(map(abs, ended)))
"""


def run_forked(count: int, *words: object) -> tuple[int, str, str]:
    """Runs a script, or `ravine WORDS`, in so many processes; returns code, output, errors."""
    program = words if str(words[0]).endswith(".py") else ("ravine", *words)
    done = subprocess.run(
        [sys.executable, "-c", FORKED, str(count), *map(str, program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    return done.returncode, done.stdout, done.stderr


# Both wait at the fourth step for the signal that one sends to torchrun, which hands it on.
STOPPED = """
import os, signal, sys, time
import ravine
from ravine.core.events import StepDone

def stop(event):
    if not isinstance(event, StepDone) or event.step != 4 or os.environ["RANK"] != "0":
        return
    came, ask = [], signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *given: (came.append(given), ask(*given)))
    os.kill(os.getppid(), signal.SIGTERM)
    while not came:
        time.sleep(0.01)

ravine.train(sys.argv[1], out=sys.argv[2], observers=[stop], **{settings})
"""


def start(*words: object) -> subprocess.Popen[str]:
    """Starts two processes of a script, or of `ravine WORDS`."""
    program = words if str(words[0]).endswith(".py") else ("-m", "ravine", *words)
    command = [sys.executable, "-m", *TORCHRUN, "2", *map(str, program)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def run(*words: object) -> tuple[int, str, str]:
    process = start(*words)
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def runs(striped: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run by one process (`one`, this one) and by two (`two`)."""
    place = tmp_path_factory.mktemp("runs")
    ravine.train(striped, out=place / "one", **SETTINGS)
    code, out, err = run("train", striped, *WORDS, "--out", place / "two")
    assert code == 0, err
    (place / "two.txt").write_text(out)
    return place


def curve(folder: Path, name: str = "loss") -> list[float]:
    rows = read_rows(folder / "history.jsonl")
    return [row[name] for row in rows if row["kind"] == "epoch"]


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(runs: Path) -> None:
    for name in ("loss", "train_loss"):
        np.testing.assert_allclose(curve(runs / "two", name), curve(runs / "one", name), rtol=1e-5)
    one, two = (load_file(runs / name / "model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-5)
    assert read_json(runs / "two" / "environment.json")["processes"] == 2


@pytest.mark.slow
def test_one_of_them_talks_and_the_metrics_are_those_of_all(runs: Path) -> None:
    told = (runs / "two.txt").read_text()
    assert told.count("training resnet-cifar-8") == 1
    assert told.count("accuracy ") == 1
    one, two = (ravine.Run.load(runs / name).result for name in ("one", "two"))
    assert two["count"] == one["count"] == 24
    assert two["accuracy"] == pytest.approx(one["accuracy"], abs=1 / 24)
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
    assert np.sum(two["confusion"]) == 24


@pytest.fixture(scope="module")
def stopped(striped: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that were stopped on the way: of this process (`1`), and of two (`2`)."""
    place = tmp_path_factory.mktemp("stopped")

    def stop(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == 4:
            signal.raise_signal(signal.SIGTERM)

    often = {"checkpoint_every": 0.1}
    with pytest.raises(Interrupted):
        ravine.train(striped, out=place / "1", observers=[stop], **SETTINGS, **often)
    script = place / "stopped.py"
    script.write_text(STOPPED.format(settings={**SETTINGS, **often}))
    process = start(script, striped, place / "2")
    process.communicate(timeout=600)
    assert process.returncode != 0
    return place


@pytest.mark.parametrize(("first", "then"), [(2, 1), (1, 2), (2, 2)])
@pytest.mark.slow
def test_another_number_of_processes_goes_on(
    stopped: Path, runs: Path, tmp_path: Path, first: int, then: int
) -> None:
    out = shutil.copytree(stopped / str(first), tmp_path / "run")
    assert not (out / "evaluation.json").exists(), "it was too quick to be stopped"
    told: list[Event] = []
    if then == 1:
        ravine.resume(out, observers=[told.append])
        said = " ".join(event.text for event in told if isinstance(event, Notice))
    else:
        code, said, err = run_forked(2, "resume", out)
        assert code == 0, err
    assert ("no longer bitwise" in said) == (first != then)
    np.testing.assert_allclose(curve(out), curve(runs / "one"), rtol=1e-5)
    if first == then:
        files = [folder / "model.safetensors" for folder in (out, runs / "two")]
        assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow
def test_a_mistake_is_told_in_one_line(striped: Path, tmp_path: Path) -> None:
    code, _, err = run("train", striped, "--model", "resnet-cifar-9", "--out", tmp_path / "run")
    assert code != 0
    # The lines of two processes may run into each other.
    told = "ravine: resnet-cifar-9: the depth must be 6N+2, got 9; nearest that work: 8 and 14"
    assert told in err
    assert "src/ravine" not in err
    assert not (tmp_path / "run").exists()


@given(count=st.integers(0, 1000), size=st.integers(1, 9))
def test_parts_are_even_and_leave_nothing_out(count: int, size: int) -> None:
    parts = [Ranks(rank=rank, size=size).shard(count) for rank in range(size)]
    assert [first for first, _ in parts] == [0, *(last for _, last in parts[:-1])]
    assert parts[-1][1] == count
    lengths = {last - first for first, last in parts}
    assert max(lengths) - min(lengths) <= 1


def network(dtype: torch.dtype) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 3)).to(dtype).eval()


@given(
    cut=st.integers(1, 10),
    weights=st.none() | st.lists(st.floats(0.1, 9), min_size=3, max_size=3),
    mixed=st.booleans(),
    smoothing=st.sampled_from([0.0, 0.2]),
)
@settings(max_examples=30, deadline=None)
def test_unequal_parts_add_up_to_the_whole_batch(
    cut: int, weights: list[float] | None, mixed: bool, smoothing: float
) -> None:
    x, labels = torch.randn(11, 5), torch.arange(11) ** 2 % 3
    targets = torch.randn(11, 3).softmax(1) if mixed else labels
    factors = None if weights is None else torch.tensor(weights)
    loss_of = cross_entropy(label_smoothing=smoothing, class_weights=factors)
    sent: list[torch.Tensor] = []

    def all_reduce_sum(_: Ranks, values: torch.Tensor) -> None:
        sent.append(values.clone())
        values.copy_(torch.stack(sent).sum(0))

    for rank, part in enumerate((slice(0, cut), slice(cut, 11))):
        model = network(torch.float32)
        logits = model(x[part])
        loss = loss_of(logits, targets[part])
        loss.backward()
        model[1].running_mean.fill_(rank)  # type: ignore[union-attr, operator]
        batch = Batch(
            images=x[part], targets=targets[part], labels=labels[part], global_labels=labels
        )
        correct = (logits.argmax(1) == labels[part]).sum()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Ranks, "all_reduce_sum", all_reduce_sum)
            sync = GradientSync(Ranks(rank=rank, size=2), model, class_weights=factors)
            least = least_cross_entropy(label_smoothing=smoothing, class_weights=factors)
            floor = least(targets[part], 3)
            found = sync.merge(loss.detach(), correct, floor, batch)

    exact = network(torch.float64)
    logits = exact(x.double())
    by_class = None if factors is None else factors.double()
    wanted = nn.functional.cross_entropy(
        logits, targets.double() if mixed else targets, weight=by_class, label_smoothing=smoothing
    )
    wanted.backward()
    assert float(found[0]) == pytest.approx(float(wanted.detach()), rel=1e-5)
    assert int(found[1]) == int((logits.argmax(1) == labels).sum())
    floor = least_cross_entropy(label_smoothing=smoothing, class_weights=factors)(targets, 3)
    assert float(found[2]) == pytest.approx(float(floor), rel=1e-5, abs=1e-6)
    for mine, reference in zip(model.parameters(), exact.parameters(), strict=True):
        assert mine.grad is not None
        assert reference.grad is not None
        torch.testing.assert_close(mine.grad.double(), reference.grad, rtol=1e-4, atol=1e-6)
    mean = torch.full((7,), (11 - cut) / 11)  # by images, whatever the loss weighs
    torch.testing.assert_close(model[1].running_mean, mean)


SUMS = """
import sys
from pathlib import Path
import torch
from ravine.training import shared_memory_sum as shared_sum
from ravine.core.launch import exit_process
from ravine.core.ranks import join_ranks

ranks = join_ranks()
place, reserve = Path(sys.argv[1]), shared_sum._reserve
shared_sum._FOLDER = place / "memory"
for memory in ("room", "no room"):
    shared_sum._reserve = reserve if memory == "room" else lambda size: "-"
    total, results = shared_sum.SharedSum(ranks, 1001, torch.device("cpu")), []
    assert total.is_in_memory == (memory == "room")
    for step in range(3):
        chance = torch.Generator().manual_seed(10 * step + ranks.rank)
        total.mine.copy_(torch.randn(1001, generator=chance))
        results.append(total.all_reduce_sum().clone())
    torch.save(results, place / f"{memory} {ranks.rank}.pt")
exit_process(0)
"""


@pytest.mark.parametrize("processes", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_sums_through_memory_are_the_sums_the_same_bits_for_all(
    processes: int, tmp_path: Path
) -> None:
    """With room for it, and without: then they are gloo's."""
    script = tmp_path / "sums.py"
    script.write_text(SUMS)
    (tmp_path / "memory").mkdir()
    code, _, err = run_forked(processes, script, tmp_path)
    assert code == 0, err
    for memory in ("room", "no room"):
        found = [torch.load(tmp_path / f"{memory} {rank}.pt") for rank in range(processes)]
        for step in range(3):
            drawn = [
                torch.randn(1001, generator=torch.Generator().manual_seed(10 * step + rank))
                for rank in range(processes)
            ]
            wanted = torch.stack(drawn).double().sum(0)
            torch.testing.assert_close(found[0][step].double(), wanted, rtol=1e-5, atol=1e-6)
            assert all(torch.equal(found[0][step], other[step]) for other in found)
    assert not list((tmp_path / "memory").iterdir())


@given(
    size=st.integers(1, 4),
    batch=st.integers(8, 45),
    step=st.integers(0, 20),
    mixup=st.sampled_from([0.0, 0.4]),
    cutmix=st.sampled_from([0.0, 0.5]),
)
@settings(max_examples=30, deadline=None)
def test_the_parts_of_a_batch_are_the_batch_whatever_their_number(
    size: int, batch: int, step: int, mixup: float, cutmix: float
) -> None:
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (45, 6, 6, 1), dtype=np.uint8)
    dataset = Dataset(
        images=images,
        labels=np.arange(45) % 3,
        classes=("a", "b", "c"),
        splits={"train": np.arange(45)},
        names=[str(n) for n in range(45)],
        preprocessing=Preprocessing(image_size=6, channels=1, mean=(0.5,), std=(0.25,)),
        audit={},
        fingerprint="",
    )
    chosen = {"augment": "flip,crop,jitter,cutout,erase", "mixup": mixup, "cutmix": cutmix}

    def batches(ranks: Ranks) -> TrainingBatches:
        settings = AugmentSettings.of(chosen)
        device = torch.device("cpu")
        return TrainingBatches(dataset, settings, batch=batch, seed=1, device=device, ranks=ranks)

    def rows(part: Batch) -> list[tuple[bytes, bytes]]:
        pairs = zip(part.images, part.targets, strict=True)
        return [(image.numpy().tobytes(), target.numpy().tobytes()) for image, target in pairs]

    whole = batches(Ranks()).batch_at(step)
    parts = [batches(Ranks(rank=rank, size=size)).batch_at(step) for rank in range(size)]
    assert sorted(row for part in parts for row in rows(part)) == sorted(rows(whole))
    for part in parts:
        assert part.count == whole.count == batch
        assert part.global_labels is None or torch.equal(part.global_labels, whole.labels)


def test_a_batch_too_small_for_all_is_refused_with_the_remedy() -> None:
    with pytest.raises(SettingError, match="batch 5 is too small for 4 processes"):
        shard_indices(5, Ranks(size=4))
