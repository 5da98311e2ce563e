"""A server of static files on this machine alone."""

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from csnn_jax.errors import UserError

HOST = "127.0.0.1"


class Handler(SimpleHTTPRequestHandler):
    """Python's own, with the types that a browser insists on, whatever this system's table says; logs nothing."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".json": "application/json",
        ".wasm": "application/wasm",
    }

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")  # another page may be made in the same folder
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Says nothing of a browser that went away in the middle of a file."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def bound(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of a folder, which need not be there yet; 0 is any free port.

    Raises:
        UserError: the port can't be had.
    """
    try:
        return Server((HOST, port), partial(Handler, directory=str(folder)))
    except OSError as error:
        raise UserError(f"--port {port}: {error.strerror}, expected a free port, or 0 for any") from None


def serve(server: ThreadingHTTPServer) -> None:
    """Prints the address, and answers until Ctrl-C."""
    print(f"Serving http://{HOST}:{server.server_port}/ until Ctrl-C", flush=True)
    server.serve_forever()
