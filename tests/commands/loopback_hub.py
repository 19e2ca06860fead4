"""A hub on loopback: the requests by which a commit is made, and what they carried."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class LoopbackHub:
    """What the hub was sent. `refuse` makes it answer 403 to everything."""

    url: str = ""
    refuse: bool = False
    tokens: set[str] = field(default_factory=set)
    created: list[dict] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)


@contextmanager
def loopback_hub() -> Iterator[LoopbackHub]:
    hub = LoopbackHub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"] or 0))
            if self.path != "/api/validate-yaml":  # which anybody may ask
                hub.tokens.add(self.headers["authorization"])
            if hub.refuse:
                self._answer(403, {"error": "you may not write here"})
            elif self.path == "/api/repos/create":
                hub.created.append(json.loads(body))
                self._answer(200, {"url": f"{hub.url}/me/student"})
            elif self.path == "/api/validate-yaml":
                self._answer(200, {"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                files = json.loads(body)["files"]
                modes = [
                    {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for one in files
                ]
                self._answer(200, {"files": modes})
            elif "/commit/" in self.path:
                for line in body.decode().splitlines():
                    part = json.loads(line)
                    if part["key"] == "file":
                        value = part["value"]
                        hub.files[value["path"]] = base64.b64decode(value["content"])
                oid = "0" * 40
                url = f"{hub.url}/me/student/commit/{oid}"
                self._answer(200, {"commitOid": oid, "commitUrl": url, "success": True})
            else:
                self._answer(404, {"error": self.path})

        def do_GET(self) -> None:
            self._answer(404, {"error": self.path})

        def _answer(self, status: int, content: dict) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
