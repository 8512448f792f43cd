"""MLflow's store, wandb's offline files and trackio's store, read back by themselves.

These packages are large and no part of the tests' environment: each test says so and is skipped.
"""

import json
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ravine.trackers.follower import log_run

from .conftest import LOSSES

pytestmark = pytest.mark.filterwarnings("default")  # theirs


def test_mlflow_holds_metrics_settings_and_the_report(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    pytest.importorskip("sqlalchemy", reason="mlflow's SQLite store is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    log_run(run, "mlflow")
    client = mlflow.MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name("ravine").experiment_id])
    history = client.get_metric_history(found.info.run_id, "train/loss")

    assert [(one.step, one.value) for one in history] == list(
        zip((10, 20, 30), LOSSES, strict=True)
    )
    assert found.info.status == "FINISHED"
    assert (found.data.params["lr"], found.data.metrics["result/accuracy"]) == ("0.25", 0.5)
    assert "critical plateau" in found.data.tags["findings"]
    names = {one.path for one in client.list_artifacts(found.info.run_id)}
    assert names == {"report.html", "mistakes"}


def wandb_records(path: Path) -> Iterator[bytes]:
    """Yields the records of a .wandb file: LevelDB's log of blocks of 32 KiB, after 7 bytes."""
    content = path.read_bytes()
    at, whole = 7, b""
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield whole
            whole = b""


def test_wandb_offline_holds_metrics_and_settings(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    log_run(run, "wandb")
    (path,) = (run / "wandb").glob("offline-run-*/run-*.wandb")
    records = []
    for _ in range(600):  # its service writes the last rows when the client has gone already
        records = [wandb_internal_pb2.Record.FromString(one) for one in wandb_records(path)]
        if any(one.WhichOneof("record_type") == "exit" for one in records):
            break
        time.sleep(0.1)
    rows = [
        {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in one.history.item}
        for one in records
        if one.WhichOneof("record_type") == "history"
    ]
    losses = [(row["step"], row["train/loss"]) for row in rows if "train/loss" in row]

    assert losses == list(zip((10, 20, 30), LOSSES, strict=True))
    keys = {key for row in rows for key in row}
    assert any(key.startswith("weights/log10 update_ratio") for key in keys)
    config = {
        "/".join(one.nested_key) or one.key: one.value_json
        for record in records
        for one in [*record.config.update, *record.run.config.update]
    }
    assert config["lr"] == "0.25"


def test_wandb_online_without_a_key_is_a_line(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    from ravine.core.errors import RunError

    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(run))
    monkeypatch.setenv("NETRC", str(run / "netrc"))
    with pytest.raises(RunError, match="nobody is logged in: wandb login, or WANDB_MODE=offline"):
        log_run(run, "wandb")


def test_trackio_holds_metrics(run: Path, tmp_path: Path) -> None:
    if "TRACKIO_DIR" not in os.environ:
        pytest.skip("trackio keeps its folder from its import on: set TRACKIO_DIR to a new one")
    pytest.importorskip("trackio", reason="trackio is not installed")
    from trackio.sqlite_storage import SQLiteStorage

    log_run(run, "trackio")
    rows = SQLiteStorage.get_logs("ravine", "one")
    losses = [(row["step"], row["train/loss"]) for row in rows if "train/loss" in row]

    assert losses == list(zip((10, 20, 30), LOSSES, strict=True))
