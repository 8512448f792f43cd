"""Who may ask the live page's server: this machine's own browser, on the page's own address.

A page of another site can make a browser send requests to this machine (its Origin is foreign), and
a name of another site can be made to lead here (its Host is foreign): both are refused before
anything is read. What is answered loads nothing from elsewhere and runs in no frame.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, final

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOCAL: Final = ("127.0.0.1", "localhost", "[::1]")
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


@final
class LocalOnly:
    """Answers requests of this machine's browser by `app`, and refuses all others.

    Args:
        app: an ASGI application.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        why = refusal(scope) if scope["type"] == "http" else "only HTTP is spoken here"
        if why is not None:
            await _refuse(send, why)
            return

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        await self._app(scope, receive, with_headers)


def refusal(scope: Scope) -> str | None:
    """Returns why a request is refused; None where it is answered."""
    if scope["method"] not in ("GET", "HEAD"):
        return "this server only reads"
    headers: dict[bytes, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.lower(), []).append(value.decode("latin-1"))
    port = scope["server"][1]
    hosts = {f"{name}:{port}" for name in LOCAL} | (set(LOCAL) if port == 80 else set())
    if [h.lower() for h in headers.get(b"host", [])] not in [[host] for host in hosts]:
        return "the Host is not this machine"
    origins = headers.get(b"origin", [])
    if any(origin not in {f"http://{host}" for host in hosts} for origin in origins):
        return "the Origin is another site"
    if headers.get(b"sec-fetch-site", ["none"])[0] not in ("none", "same-origin"):
        return "the request comes from another site"
    return None


async def _refuse(send: Send, why: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *_HEADERS]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": f"refused: {why}\n".encode()})
