"""A static file server that only this machine can reach."""

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from csnn_jax.errors import UserError

HOST = "127.0.0.1"


class Handler(SimpleHTTPRequestHandler):
    """Python's handler with the MIME types that browsers require, whatever the system's table says; logs nothing."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".json": "application/json",
        ".wasm": "application/wasm",
    }

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")  # the folder may be overwritten with another page
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Ignores browsers that disconnect in the middle of a file."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def bound(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server for a folder, which doesn't have to exist yet; port 0 is any free port.

    Raises:
        UserError: the port isn't available.
    """
    try:
        return Server((HOST, port), partial(Handler, directory=str(folder)))
    except OSError as error:
        raise UserError(f"--port {port}: {error.strerror}, expected a free port, or 0 for any") from None


def serve(server: ThreadingHTTPServer) -> None:
    """Prints the address and serves until Ctrl-C."""
    print(f"Serving http://{HOST}:{server.server_port}/ until Ctrl-C", flush=True)
    server.serve_forever()
