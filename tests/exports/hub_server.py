"""A stand-in for the hub: its HTTP calls to make a repository, commit into it and read it.

As of huggingface_hub 2.4: https://huggingface.co/docs/hub/api, and Git LFS's batch API for large
files. It keeps what was uploaded, and every call, in memory.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c" * 40
TOKEN = "hf_of_the_test"


class Hub:
    """What the stand-in holds.

    Attributes:
        url: of the server.
        files: content by path, of the one repository.
        calls: method and path of each request.
        repository: its name; "" before it is made.
        private: whether it was made so.
    """

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, bytes] = {}
        self.calls: list[str] = []
        self.repository = ""
        self.private = False
        self.objects: dict[str, bytes] = {}

    def create(self, asked: dict[str, Any]) -> tuple[int, Any]:
        self.repository = f"{asked.get('organization') or 'me'}/{asked['name']}"
        self.private = bool(asked.get("private")) or asked.get("visibility") == "private"
        return 200, {"url": f"{self.url}/{self.repository}"}

    def modes(self, asked: dict[str, Any]) -> tuple[int, Any]:
        rows = [
            {
                "path": one["path"],
                "uploadMode": "regular" if one["path"].endswith((".md", ".json", ".py")) else "lfs",
                "shouldIgnore": False,
                "oid": None,
            }
            for one in asked["files"]
        ]
        return 200, {"files": rows}

    def batch(self, asked: dict[str, Any]) -> tuple[int, Any]:
        rows = [
            {**one, "actions": {"upload": {"href": f"{self.url}/objects/{one['oid']}"}}}
            for one in asked["objects"]
        ]
        return 200, {"transfer": "basic", "objects": rows}

    def commit(self, lines: list[dict[str, Any]]) -> tuple[int, Any]:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[value["path"]] = self.objects[value["oid"]]
        return 200, {"commitOid": COMMIT, "commitUrl": f"{self.url}/{self.repository}/commit/x"}

    def info(self) -> tuple[int, Any]:
        siblings = [{"rfilename": path} for path in sorted(self.files)]
        return 200, {"id": self.repository, "sha": COMMIT, "siblings": siblings, "private": False}

    def tree(self) -> tuple[int, Any]:
        rows = [
            {"type": "file", "path": path, "size": len(content), "oid": _digest(content)}
            for path, content in sorted(self.files.items())
        ]
        return 200, rows


def _digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Runs the stand-in on a free port of this machine."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Prints nothing."""

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def _json(self, status: int, value: Any) -> None:
            self._answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def _do(self) -> None:
            path, body = unquote(urlsplit(self.path).path), self._body()
            hub.calls.append(f"{self.command} {path}")
            if self.headers.get("Authorization") != f"Bearer {TOKEN}" and self.command == "POST":
                self._json(401, {"error": "Invalid username or password."})
            elif path.startswith("/objects/"):
                hub.objects[path.rpartition("/")[2]] = body
                self._json(200, {})
            elif "/resolve/" in path:
                self._resolve(path.split("/resolve/")[1].partition("/")[2])
            else:
                self._json(*self._api(path, body))

        def _resolve(self, name: str) -> None:
            if name not in hub.files:
                self._answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
                return
            content = hub.files[name]
            headers = {"ETag": f'"{_digest(content)}"', "X-Repo-Commit": COMMIT}
            self._answer(200, content, headers)

        def _api(self, path: str, body: bytes) -> tuple[int, Any]:
            if path == "/api/repos/create":
                return hub.create(json.loads(body))
            if path == "/api/validate-yaml":
                return 200, {"errors": [], "warnings": []}
            if path == "/api/whoami-v2":
                return 200, {"name": "me", "type": "user", "orgs": []}
            if "/preupload/" in path:
                return hub.modes(json.loads(body))
            if path.endswith("/info/lfs/objects/batch"):
                return hub.batch(json.loads(body))
            if "/commit/" in path:
                return hub.commit([json.loads(line) for line in body.splitlines()])
            if "/tree/" in path:
                return hub.tree()
            if path.startswith("/api/models/"):
                return hub.info()
            return 404, {"error": f"the stand-in knows no {path}"}

        do_GET = do_HEAD = do_POST = do_PUT = _do

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
