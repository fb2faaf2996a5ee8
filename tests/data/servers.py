"""A small http server that serves a folder, well or badly."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Server:
    """What a test sees of the server.

    ``faults`` says for a file what happens when it is asked for: a number is the status, ``drop`` closes the connection
    in the middle, ``stall`` says nothing more from the middle on, ``trickle`` sends a byte at a time. A list gives the
    faults of the first requests, one each; after these all is well.
    """

    def __init__(self, root: Path, address: str) -> None:
        self.root, self.address = root, address
        self.faults: dict[str, Any] = {}
        self.requests = Counter[str]()
        self.headers: dict[str, dict[str, str]] = {}  # that a file has beside its length
        self.asked = Counter[str]()  # requests for headers alone
        self.answer_to_asking: int | str = 200  # a status, or ``stall``
        self.closing = threading.Event()

    def fault_of(self, name: str) -> Any:
        """What happens to this request."""
        self.requests[name] += 1
        fault = self.faults.get(name)
        if isinstance(fault, list):
            return fault.pop(0) if fault else None
        return fault


@contextmanager
def serve(root: Path) -> Iterator[Server]:
    """Serves the files of a folder while the context lasts."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    http.daemon_threads = True
    http.handle_error = lambda *_: None  # type: ignore[method-assign, assignment] - clients that leave early are meant
    server = Server(root, f"http://127.0.0.1:{http.server_address[1]}")
    http.franca = server  # type: ignore[attr-defined]
    threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.closing.set()
        http.shutdown()
        http.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Server = self.server.franca  # type: ignore[attr-defined]
        name = self.path.lstrip("/")
        fault = server.fault_of(name)
        path = server.root / name
        if isinstance(fault, int) or not path.is_file():
            self.send_error(fault or 404)
            return
        data = path.read_bytes()
        self.send_response(200)
        self._send_headers(len(data))
        if fault is None:
            self.wfile.write(data)
            return
        self.wfile.write(data[: len(data) // 2])
        if fault == "stall":
            server.closing.wait(20)
        while fault == "trickle" and not server.closing.wait(0.05):
            self.wfile.write(b"x")
        self.close_connection = True

    def do_HEAD(self) -> None:
        server: Server = self.server.franca  # type: ignore[attr-defined]
        name = self.path.lstrip("/")
        server.asked[name] += 1
        if server.answer_to_asking == "stall":
            server.closing.wait(20)
        path = server.root / name
        self.send_response(int(server.answer_to_asking) if path.is_file() else 404)
        self._send_headers(path.stat().st_size if path.is_file() else 0)

    def _send_headers(self, num_bytes: int) -> None:
        self.send_header("Content-Length", str(num_bytes))
        for header in self.server.franca.headers.get(self.path.lstrip("/"), {}).items():  # type: ignore[attr-defined]
            self.send_header(*header)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass
