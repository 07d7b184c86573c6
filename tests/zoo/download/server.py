"""A file server on 127.0.0.1 that can misbehave in every way that mirrors do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic, sleep  # these, since tests take the client's sleep away

ETAG = '"one"'

Behavior = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers with whatever the server's `behavior` for the path does; `whole` unless one was set."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append((self.command, self.path, dict(self.headers)))
        queue = self.server.behaviors.get(self.path, [])
        behavior = queue.pop(0) if len(queue) > 1 else queue[0] if queue else whole
        try:
            behavior(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, status: int, body: bytes = b"", **headers: object) -> None:
        """One complete response; underscores in header names become dashes."""
        self.send_response(status)
        for name, value in {"Content_Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Serves `content` at every path. behaviors: path -> what to do at each request in turn, the last one for ever."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.behaviors: dict[str, list[Behavior]] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are what is tested here."""

    def url(self, path: str = "/file.pth") -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def gets(self) -> list[dict[str, str]]:
        """Headers of the GET requests so far."""
        return [headers for method, _, headers in self.requests if method == "GET"]


@contextmanager
def serving(content: bytes) -> Iterator[Server]:
    """A running server."""
    server = Server(content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def whole(handler: Handler, etag: str = ETAG) -> None:
    """The file, or the range that was asked for, as a good server does."""
    content, start = handler.server.content, 0
    asked = handler.headers.get("Range")
    if asked and handler.headers.get("If-Range") == etag:
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.reply(206, content[start:], ETag=etag, Content_Range=span)
    else:
        handler.reply(200, content, ETag=etag)


def status(code: int, **headers: object) -> Behavior:
    """An error."""
    return lambda handler: handler.reply(code, b"no", **headers)


def ignores_ranges(handler: Handler) -> None:
    """Always the whole file."""
    handler.reply(200, handler.server.content, ETag=ETAG)


def body(content: bytes, **headers: object) -> Behavior:
    """Something else with status 200."""
    return lambda handler: handler.reply(200, content, **headers)


def begin(handler: Handler, etag: str) -> tuple[bytes, int]:
    """The header of the file, or of the range that was asked for. Returns the file, and where the answer starts."""
    content, start = handler.server.content, 0
    if handler.headers.get("Range") and handler.headers.get("If-Range") == etag:
        start = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-"))
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    else:
        handler.send_response(200)
    handler.send_header("Content-Length", str(len(content) - start))
    handler.send_header("ETag", etag)
    handler.end_headers()
    return content, start


def cut(count: int, etag: str = ETAG) -> Behavior:
    """`count` bytes of what was asked for, then the connection closes."""

    def behavior(handler: Handler) -> None:
        content, start = begin(handler, etag)
        handler.wfile.write(content[start : start + count])
        handler.wfile.flush()
        handler.close_connection = True

    return behavior


def hangs(handler: Handler) -> None:
    """Headers, then silence."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(handler.server.content)))
    handler.end_headers()
    handler.wfile.flush()
    sleep(5)


def stalls(count: int) -> Behavior:
    """`count` bytes of what was asked for, then silence."""

    def behavior(handler: Handler) -> None:
        cut(count)(handler)
        sleep(2)

    return behavior


def slow(pause: float, block: int = 4096) -> Behavior:
    """The file with pauses, ranges honored."""

    def behavior(handler: Handler) -> None:
        content, start = begin(handler, ETAG)
        for position in range(start, len(content), block):
            handler.wfile.write(content[position : position + block])
            handler.wfile.flush()
            sleep(pause)

    return behavior


def raw(*pieces: bytes, pause: float = 0.0) -> Behavior:
    """Bytes as they are, status line and all, then the end of the connection."""

    def behavior(handler: Handler) -> None:
        for piece in pieces:
            handler.wfile.write(piece)
            handler.wfile.flush()
            sleep(pause)
        handler.close_connection = True

    return behavior


def endless(start: bytes, piece: bytes, pause: float = 0.05, most: float = 20.0) -> Behavior:
    """`start`, then `piece` again and again, for as long as the client stays, at most `most` seconds."""

    def behavior(handler: Handler) -> None:
        end = monotonic() + most
        handler.wfile.write(start)
        while monotonic() < end:
            handler.wfile.write(piece)
            handler.wfile.flush()
            sleep(pause)
        handler.close_connection = True

    return behavior
