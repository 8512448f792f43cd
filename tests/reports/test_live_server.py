"""The live page's server: what it answers, and to whom."""

import http.client
import json
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from ravine.reports.live.downsample import downsampled, visible
from ravine.reports.live.guard import refusal
from ravine.reports.live.run_feed import RunFeed
from ravine.runs.folder import RunFolder
from ravine.runs.rows import append_row, read_rows, rewrite_rows, write_json

from .conftest import serving


def ask(
    port: int, path: str, *, method: str = "GET", **headers: str
) -> tuple[int, str, dict[str, str]]:
    """Returns status, text and headers of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.putrequest(method, path, skip_host="Host" in named)
    for name, value in named.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text, {k.lower(): v for k, v in answer.getheaders()}


def test_the_table_names_each_run_and_where_it_stands(port: int) -> None:
    status, text, _ = ask(port, "/api/runs")
    runs = {row["name"]: row for row in json.loads(text)["runs"]}

    assert status == 200
    assert (runs["ended"]["state"], runs["killed"]["state"]) == ("ended", "stopped")
    assert runs["ended"]["findings"] == [{"severity": "warning", "code": "overfitting"}]
    assert all(row["path"] is None for row in runs.values())


def test_what_a_page_has_already_is_not_sent_again(port: int) -> None:
    version = json.loads(ask(port, "/api/runs")[1])["version"]
    assert ask(port, f"/api/runs?version={version}")[0] == 204
    series = json.loads(ask(port, "/api/series?run=ended")[1])["version"]
    assert ask(port, f"/api/series?run=ended&version={series}")[0] == 204


def test_curves_are_those_of_the_file(port: int, folder: Path) -> None:
    found = json.loads(ask(port, "/api/series?run=killed&axis=elapsed&buckets=1000")[1])
    rows = read_rows(folder / "killed" / "history.jsonl")
    steps = [row for row in rows if row["kind"] == "step"]
    x, y = found["steps"]["loss"]

    assert x == pytest.approx([row["elapsed"] for row in steps], rel=1e-5)
    assert y == pytest.approx([row["loss"] for row in steps], rel=1e-5)
    assert found["rows"] == 300


def test_findings_stand_at_their_step_on_each_axis(port: int) -> None:
    for axis, x in (("step", 200), ("epoch", 10), ("elapsed", 20)):
        (row,) = json.loads(ask(port, f"/api/series?run=ended&axis={axis}")[1])["findings"]
        assert row["x"] == pytest.approx(x)


def test_layers_are_rows_by_snapshots(port: int) -> None:
    found = json.loads(ask(port, "/api/layers?run=ended&columns=10")[1])

    assert len(found["x"]) == 10
    assert np.array(found["output"]).shape == (16, 10)
    assert found["output"][3][0] == pytest.approx(0.15, abs=1e-3)  # log10 of √(10^0.3)


@pytest.mark.parametrize(
    "run",
    ["../ended", "ended/../../..", "/etc", "..%2f..%2fetc", "killed/", "nothing", "", "%00"],
)
@pytest.mark.parametrize("path", ["/api/series", "/api/layers", "/api/details", "/picture"])
def test_a_name_that_is_not_in_the_table_leads_nowhere(port: int, path: str, run: str) -> None:
    assert ask(port, f"{path}?run={run}")[:2] == (404, "there is no such run")


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/report.css", "/ended/recipe.toml"],
)
def test_no_address_becomes_a_path(port: int, path: str) -> None:
    status, text, _ = ask(port, path)

    assert status == 404
    assert "root:" not in text


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:80"},
        {"Host": "127.0.0.1:1"},
        {"Host": "127.0.0.1.evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1"},
        {"Sec_Fetch_Site": "cross-site"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/runs", "/watch.js"])
def test_who_is_not_this_page_is_refused(port: int, path: str, headers: dict[str, str]) -> None:
    status, text, _ = ask(port, path, **headers)

    assert status == 403
    assert text.startswith("refused: ")


def test_the_page_itself_may_ask_by_each_name_of_this_machine(port: int) -> None:
    for name in ("127.0.0.1", "localhost", "LOCALHOST"):
        host = f"{name}:{port}"
        assert ask(port, "/api/runs", Host=host, Origin=f"http://{host.lower()}")[0] == 200


def test_two_hosts_are_none() -> None:
    scope = {
        "method": "GET", "server": ("127.0.0.1", 8917),
        "headers": [(b"host", b"127.0.0.1:8917"), (b"host", b"evil.example")],
    }  # fmt: skip

    assert refusal(scope) == "the Host is not this machine"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_changed(port: int, method: str) -> None:
    assert ask(port, "/api/runs", method=method)[:2] == (403, "refused: this server only reads\n")


def test_an_answer_lets_nothing_in_from_elsewhere(port: int) -> None:
    for path in ("/", "/api/runs", "/picture?run=none", "/no-such-page"):
        policy = ask(port, path)[2]["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("file", ["evaluation.json", "mistakes/so-far.json"])
def test_only_pictures_of_mistakes_are_sent(tmp_path: Path, file: str) -> None:
    run = tmp_path / "runs" / "one"
    (run / "mistakes").mkdir(parents=True)
    (run / "recipe.toml").write_text('model = "m"\n')
    (tmp_path / "secret.png").write_bytes(b"secret")
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(run / "mistakes" / "00.png")
    (run / "mistakes" / "link.png").symlink_to(tmp_path / "secret.png")
    images = ["mistakes/00.png", "mistakes/link.png", "../../secret.png", "recipe.toml"]
    write_json(run / file, {"mistakes": [{"image": one} for one in images]})
    with serving(tmp_path / "runs") as port:
        kept = [ask_status(port, one) for one in [*images, "mistakes/01.png"]]

    assert kept == [200, 404, 404, 404, 404]


def ask_status(port: int, image: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", f"/picture?run=one&image={quote(image)}")
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_spike_of_one_step_is_not_lost() -> None:
    x = np.arange(100_000.0)
    y = np.sin(x / 1000)
    y[54_321], y[77_777] = 50.0, -50.0
    for buckets in (1, 7, 300, 1400):
        at, values = downsampled(x, y, buckets)
        assert len(at) <= 2 * buckets
        assert (values.max(), values.min()) == (50.0, -50.0)
        assert (np.diff(at) >= 0).all()


def test_each_bucket_has_its_least_and_its_largest_value() -> None:
    chance = np.random.default_rng(0)
    x, y = np.arange(1000.0), chance.normal(size=1000)
    y[chance.random(1000) < 0.3] = np.nan
    _, values = downsampled(x, y, 10)
    parts = np.array_split(y, 10)

    for part, pair in zip(parts, values.reshape(10, 2), strict=True):
        assert sorted(pair) == [np.nanmin(part), np.nanmax(part)]


def test_a_window_holds_the_points_on_its_edges_too() -> None:
    x = np.array([0.0, 10.0, 20.0, 30.0, 40.0])

    assert x[visible(x, 15, 25)].tolist() == [10, 20, 30]
    assert x[visible(x, -5, 100)].tolist() == x.tolist()


def test_a_feed_follows_a_file_that_grows_and_one_that_was_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    rows = [{"kind": "step", "step": k, "epoch": k / 10, "loss": 1.0 / k} for k in range(1, 6)]
    for row in rows:
        append_row(path, row)
    feed = RunFeed(RunFolder(tmp_path))
    feed.advance()
    append_row(path, {"kind": "step", "step": 5, "epoch": 0.5, "loss": 9.0})
    append_row(path, {"kind": "step", "step": 6, "epoch": 0.6, "loss": None})
    feed.advance()
    assert list(feed.column("step")) == [1, 2, 3, 4, 5, 6]
    rewrite_rows(path, [*rows[:2], {"kind": "rollback", "step": 2}])
    feed.advance()
    assert list(feed.column("step")) == [1, 2]
