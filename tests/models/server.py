"""A web server on this machine that fails as it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """Files by path, and what to do with the next requests: a status, ``short`` or ``ok``; then all is well."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    failures: list[int | str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def serve() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.requests.append(self.path)
            failure = site.failures.pop(0) if site.failures else "ok"
            content = site.files.get(self.path.partition("?")[0])
            if isinstance(failure, int) or content is None:
                self.send_error(failure if isinstance(failure, int) else 404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if failure == "short" else content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
