"""The server sends the types that a browser insists on, and nothing outside its folder."""

import socket
import struct
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest
from demos import served


def test_types_of_modules_and_webassembly(tmp_path):
    names = {"a.js": "text/javascript", "a.mjs": "text/javascript", "a.wasm": "application/wasm"}
    (tmp_path / "page").mkdir()
    for name in names:
        (tmp_path / "page" / name).write_text(name)
    (tmp_path / "secret").write_text("secret")
    with served(tmp_path / "page") as address:
        for name, kind in names.items():
            with urllib.request.urlopen(address + name) as answer:
                assert answer.headers["Content-Type"] == kind and answer.headers["Cache-Control"] == "no-cache"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{address}../secret")


def test_a_browser_that_goes_away_is_no_news(tmp_path, capsys):
    (tmp_path / "large").write_bytes(bytes(1 << 24))
    with served(tmp_path) as address:
        host, port = urlsplit(address).hostname, urlsplit(address).port
        with socket.create_connection((host, port)) as browser:
            browser.sendall(b"GET /large HTTP/1.0\r\n\r\n")
            browser.recv(1)
            browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets
        time.sleep(0.5)
        with urllib.request.urlopen(f"{address}large") as answer:
            assert len(answer.read()) == 1 << 24
    assert capsys.readouterr().err == ""
