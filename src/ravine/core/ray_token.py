"""The token of a Ray cluster, and why a cluster refuses a client.

A head that is started where a token lies (`ray get-auth-token --generate` writes ~/.ray/auth_token)
asks each client for it. Ray's client sends it to an address that it is given only where
RAY_AUTH_MODE is `token` when Ray is imported: https://docs.ray.io/en/latest/ray-security/token-auth.html
"""

import os
import sys
from pathlib import Path

_MODE = "RAY_AUTH_MODE"
_REFUSED = ("InvalidAuthToken", "Unauthenticated", "authentication token")  # Ray's own words


def send_token_that_is_there() -> None:
    """Lets Ray send the user's token to the cluster, unless RAY_AUTH_MODE says otherwise."""
    if _MODE not in os.environ and "ray" not in sys.modules and _source():
        os.environ[_MODE] = "token"


def reason_of_refusal(printed: str) -> str:
    """Returns what a cluster asks for, as the end of a sentence; nothing if it refused nothing.

    Args:
        printed: by Ray, when it did not connect.
    """
    if not any(words in printed for words in _REFUSED):
        return ""
    mode, source = os.environ.get(_MODE), _source()
    if not source:
        return (
            "asks for a token, and there is none: copy ~/.ray/auth_token from its head, or set "
            "RAY_AUTH_TOKEN"
        )
    if mode is None:
        return f"asks for a token, and Ray was imported without {_MODE}=token: set it before"
    if mode.lower() != "token":
        return f"asks for a token, which {_MODE}={mode} does not send: unset {_MODE}"
    return f"refuses the token of {source}: copy ~/.ray/auth_token from its head"


def _source() -> str:
    """Returns where Ray finds a token, in its own order; nothing where there is none."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        if os.environ.get(name):
            return name
    file = Path.home() / ".ray" / "auth_token"
    return "~/.ray/auth_token" if file.is_file() else ""
