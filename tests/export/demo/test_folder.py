"""The folder of a demonstration holds the page, the network and ONNX Runtime Web, and a licence for that."""

import re

from demos import unpacked

from export.demo import facts, folder, ort_web


def test_every_file_that_the_page_names_is_there(small_bundle, tmp_path):
    (tmp_path / "demo").mkdir()
    runtime = ort_web.load(unpacked(tmp_path / "package"))
    size = folder.write(tmp_path / "demo", facts.read(small_bundle, None), runtime)
    found = {path.relative_to(tmp_path / "demo").as_posix(): path for path in (tmp_path / "demo").rglob("*")}
    assert size == sum(path.stat().st_size for path in found.values() if path.is_file())
    texts = [path.read_text() for name, path in found.items() if name.endswith((".html", ".js"))]
    named = {name for text in texts for name in re.findall(r'(?:from|href=|src=|bytes\(|fetched\()\s*"([^"]+)"', text)}
    assert {"main.js", "./trial.js", "./ort/ort.js", "step.onnx", "draws.bin"} <= named
    assert {name.removeprefix("./") for name in named} - set(found) == {"draws.bin"}  # for the rate encoding
    assert "Microsoft" in found["onnxruntime-LICENSE.txt"].read_text()
    assert not any("://" in text.replace("http://www.w3.org/2000/svg", "") for text in texts)
