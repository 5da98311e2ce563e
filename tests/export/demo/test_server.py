"""The server sends the types that a browser insists on, and nothing outside its folder."""

import urllib.error
import urllib.request

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
