"""A race on a local Ray cluster of two nodes: the same results, also where a node dies."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ray = pytest.importorskip("ray")

from ravine.workflows.race import Race, race  # noqa: E402
from ravine.workflows.race_worker.packed_folder import pack, unpack  # noqa: E402

SETTINGS: dict[str, Any] = {
    "model": "resnet-cifar-8",
    "batch": 16,
    "threads": 1,
    "convolution": "guess",
}
RULES = {"trials": 1, "seeds": 1, "epochs": 2.0}


@pytest.fixture(scope="module")
def striped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chance = np.random.default_rng(0)
    labels = np.arange(240) % 2
    images = chance.integers(0, 200, (240, 8, 8, 1), dtype=np.uint8)
    images[labels == 1, ::2] += 40
    images[labels == 0, :, ::2] += 40
    path = tmp_path_factory.mktemp("striped") / "stripes.npz"
    np.savez(path, images=images, labels=labels)
    return path


def weights(done: Race) -> dict[str, bytes]:
    paths = sorted((done.path / "runs").glob("*/model.safetensors"))
    return {path.parent.name: path.read_bytes() for path in paths}


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_the_same_weights_though_a_node_dies(
    striped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAVINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    two = {"optimizers": ["momentum", "adam"], "rules": RULES, **SETTINGS}
    here = race(striped, out=tmp_path / "here", jobs=1, **two)

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    other = cluster.add_node(num_cpus=1)
    out = tmp_path / "there"

    def kill_when_busy() -> None:
        while not list(out.glob("outcomes/*-trial-*.json")):
            time.sleep(0.05)
        cluster.remove_node(other, allow_graceful=False)

    killer = threading.Thread(target=kill_when_busy, daemon=True)
    try:
        killer.start()
        there = race(striped, out=out, ray=cluster.address, **two)
        killer.join(timeout=10)
        assert not killer.is_alive(), "the node was to die on the way"
        assert sum(node["Alive"] for node in ray.nodes()) == 1
    finally:
        ray.shutdown()
        cluster.shutdown()

    assert weights(there) == weights(here)
    assert [row["results"] for row in there.table] == [row["results"] for row in here.table]


def test_a_run_folder_travels_whole(tmp_path: Path) -> None:
    before = tmp_path / "before"
    (before / "checkpoints").mkdir(parents=True)
    (before / "checkpoints" / "a").write_bytes(os.urandom(100))
    unpack(pack(before), tmp_path / "after")
    (found,) = [p for p in (tmp_path / "after").rglob("*") if p.is_file()]
    assert found.read_bytes() == (before / "checkpoints" / "a").read_bytes()
    assert pack(tmp_path / "nowhere") == b""
