"""The token of a Ray cluster: it is sent where it lies, and named where a cluster refuses it."""

import os
import sys
from pathlib import Path

import pytest

from ravine.core.captured import captured_stderr
from ravine.core.ray_token import reason_of_refusal, send_token_that_is_there

REFUSED = "Failed to connect\ngcs_client.cc:210: Unauthenticated: RPC error: InvalidAuthToken: x"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a token, in a process that has not imported Ray."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    return tmp_path


def _keep_token(home: Path) -> None:
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("abc")


def test_a_token_at_home_is_sent(home: Path) -> None:
    send_token_that_is_there()
    assert "RAY_AUTH_MODE" not in os.environ

    _keep_token(home)
    send_token_that_is_there()

    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_a_mode_that_the_user_chose_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _keep_token(home)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")

    send_token_that_is_there()

    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert "RAY_AUTH_MODE=disabled does not send: unset" in reason_of_refusal(REFUSED)


def test_a_refusal_names_what_is_missing_or_wrong(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "there is none: copy ~/.ray/auth_token from its head" in reason_of_refusal(REFUSED)

    _keep_token(home)
    assert "imported without RAY_AUTH_MODE=token" in reason_of_refusal(REFUSED)

    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert reason_of_refusal(REFUSED).startswith("refuses the token of ~/.ray/auth_token: ")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "def")
    assert reason_of_refusal(REFUSED).startswith("refuses the token of RAY_AUTH_TOKEN: ")


def test_a_cluster_that_is_gone_has_refused_nothing() -> None:
    assert reason_of_refusal("Failed to connect\nTimed out while waiting for GCS") == ""


def test_what_is_printed_past_python_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    with captured_stderr() as printed:
        os.write(2, b"from C++\n")
        kept = printed()
    os.write(2, b"after\n")

    assert kept == "from C++\n"
    assert capfd.readouterr().err == "after\n"
